"""Whether to train now: what the nights say, the other triggers, and what speaks against it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from aeflow.retraining.judgement import Outcome
from aeflow.wording import counted

if TYPE_CHECKING:
    from datetime import datetime

    from aeflow.config import Retraining
    from aeflow.retraining.judgement import Judgement


@dataclass(frozen=True)
class Circumstances:
    """What else bears on it. Times are aware; None: never, or there is no champion.

    asked_at: since when a retraining is asked for without an answer; vetoed_at: the last no of a person.
    """

    trained_at: datetime | None
    new_verdicts: int = 0
    last_retraining_at: datetime | None = None
    asked_at: datetime | None = None
    vetoed_at: datetime | None = None


@dataclass(frozen=True)
class RetrainingDecision:
    """One decision. trigger: drift, verdicts, age, request, or "" where nothing is to be trained.
    waits_for: person or veto where a retraining (person: or a recalibration) is due and yet must not begin.
    new_normal_since: a training is to learn what came from this batch on as what is normal now; None: no batch is that."""

    outcome: Outcome
    reasons: tuple[str, ...]
    trigger: str = ""
    since: str | None = None
    waits_for: str = ""
    new_normal_since: str | None = None

    def sentence(self) -> str:
        """The decision with its reasons, for a person."""
        return f"{self.outcome}: {' '.join(self.reasons)}"


def decide_retraining(
    judged: Judgement,
    known: Circumstances,
    rule: Retraining,
    *,
    now: datetime,
    wanted: Outcome | None = None,
    reason: str = "",
) -> RetrainingDecision:
    """Whether to train now: what the nights say, the other triggers, and what speaks against it.

    wanted: RETRAIN or RECALIBRATE where somebody wants that: neither cool-down nor approval is asked for.
    reason: what they say.
    """
    if wanted is not None:
        why = reason or "It was asked for by a person."
        # Since when something else is so is not since when the calibration is stale.
        since = judged.since if judged.outcome == wanted else None
        return RetrainingDecision(wanted, (why,), "request", since, new_normal_since=_new_normal(judged))
    if known.trained_at is None:
        return RetrainingDecision(Outcome.RETRAIN, ("There is no champion yet.",), "request")
    trigger, reasons = _trigger(judged, known, rule, now)
    if not trigger:
        return _without_trigger(judged, known, rule, now)
    return _unless_held(trigger, reasons, judged, known, rule, now)


def _trigger(
    judged: Judgement, known: Circumstances, rule: Retraining, now: datetime
) -> tuple[str, tuple[str, ...]]:
    """What a retraining is due for, if for anything. While a sensor or a machine is at fault, or something is
    waited for, neither verdicts nor age are."""
    if judged.outcome == Outcome.RETRAIN and rule.on_drift:
        return "drift", judged.reasons
    if judged.outcome not in {Outcome.OK, Outcome.RECALIBRATE, Outcome.RETRAIN}:
        return "", ()
    if rule.on_verdicts is not None and known.new_verdicts >= rule.on_verdicts:
        return "verdicts", (
            (
                f"Given since the champion was trained: {counted(known.new_verdicts, 'verdict')}; retraining.on_verdicts asks "
                f"for {rule.on_verdicts}."
            ),
        )
    assert known.trained_at is not None
    age = (now - known.trained_at) / timedelta(days=1)
    if rule.on_age_days is not None and age >= rule.on_age_days:
        return "age", (
            f"The champion is {counted(round(age), 'day')} old; retraining.on_age_days allows {rule.on_age_days:g}.",
        )
    return "", ()


def _without_trigger(
    judged: Judgement, known: Circumstances, rule: Retraining, now: datetime
) -> RetrainingDecision:
    if judged.outcome == Outcome.RETRAIN:
        why = "retraining.on_drift is off, so nothing is trained for it."
        return RetrainingDecision(Outcome.HOLD, (*judged.reasons, why), since=judged.since)
    if judged.outcome == Outcome.RECALIBRATE and (left := _cooling(known, rule, now)):
        return RetrainingDecision(Outcome.HOLD, (*judged.reasons, left), since=judged.since)
    if judged.outcome == Outcome.RECALIBRATE and rule.approval == "person":
        why = "It waits for a person: aeflow retrain CONFIG --recalibrate."
        return RetrainingDecision(
            Outcome.HOLD, (*judged.reasons, why), since=judged.since, waits_for="person"
        )
    return RetrainingDecision(judged.outcome, judged.reasons, since=judged.since)


def _unless_held(
    trigger: str,
    reasons: tuple[str, ...],
    judged: Judgement,
    known: Circumstances,
    rule: Retraining,
    now: datetime,
) -> RetrainingDecision:
    def hold(why: str, waits_for: str = "") -> RetrainingDecision:
        return RetrainingDecision(
            Outcome.HOLD, (*reasons, why), trigger, since=judged.since, waits_for=waits_for
        )

    cool_down = timedelta(days=rule.cool_down_days)
    if left := _cooling(known, rule, now):
        return hold(left)
    if known.vetoed_at is not None and now - known.vetoed_at < cool_down:
        return hold(f"Somebody said no at {known.vetoed_at:%Y-%m-%d %H:%M} UTC.")
    if rule.approval == "person":
        return hold("It waits for a person: aeflow retrain CONFIG --force.", "person")
    begins = (known.asked_at or now) + timedelta(hours=rule.veto_hours)
    if now < begins:
        return hold(
            f"It begins with the first nightly run after {begins:%Y-%m-%d %H:%M} UTC unless somebody says no: aeflow "
            "retrain CONFIG --veto.",
            "veto",
        )
    return RetrainingDecision(
        Outcome.RETRAIN, reasons, trigger, judged.since, new_normal_since=_new_normal(judged)
    )


def _new_normal(judged: Judgement) -> str | None:
    return judged.since if judged.new_normal else None


def _cooling(known: Circumstances, rule: Retraining, now: datetime) -> str:
    """Why it is too soon after the last one; empty if it is not."""
    last = known.last_retraining_at
    if last is None or now - last >= timedelta(days=rule.cool_down_days):
        return ""
    return (
        f"The last one was at {last:%Y-%m-%d %H:%M} UTC; retraining.cool_down_days asks for "
        f"{rule.cool_down_days:g} days between two."
    )
