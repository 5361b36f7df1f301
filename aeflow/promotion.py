"""Whether a new detector goes live: a pure decision with its reasons in writing.

All detectors are measured on the same held-out part of the history, which is normal, on the same seeded faults
planted into it, and on the flags that people have judged. What is held against a detector that is better by
chance is the interval of the difference. No clock and no file here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from aeflow.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aeflow.numerics.paired import Difference

MOST_UNSTABLE = 1e-4
"""Scores of the same items in other portions may differ by this share of them and no more."""
SLOWER_TIMES = 5.0
"""A challenger that takes this many times as long for an item as the champion is too slow ..."""
SLOW_SECONDS = 1e-3
"""... where it takes at least so long for one."""
_LITTLE = 0.005
"""An AUROC or a share that is lower by this at most is not lower: planted faults are a sample."""


@dataclass(frozen=True)
class Figures:
    """How a detector did on held-out normal data, on faults planted into it, and on judged flags.

    items: held-out items. finite: whether each has a score that is a number, and not all the same.
    unstable: largest relative difference of scores in other portions. shifted: whether the bulk of the held-out
    scores lies higher than the calibration's (`numerics.exchangeability`).
    false_flag_share: of the items that would be flagged. promised_share: what the promise allows.
    false_flags: flags on them; most_false_flags: the most that chance brings, were the promise kept; None with
    a false-discovery rate.
    planted_auroc: chance that a planted fault scores above a normal item, mean over the kinds of faults.
    found_share: of the planted faults, those above the detector's own cut.
    auroc_of: kind of fault -> its AUROC. verdict_auroc: chance that a flag called true scores above one called
    false. seconds_per_item: of the processor. None where there was nothing to measure on.
    """

    items: int
    false_flag_share: float | None
    promised_share: float | None
    planted_auroc: float | None
    found_share: float | None = None
    false_flags: int | None = None
    most_false_flags: int | None = None
    finite: bool = True
    unstable: float = 0.0
    shifted: bool = False
    seconds_per_item: float | None = None
    auroc_of: Mapping[str, float] = field(default_factory=dict)
    verdict_auroc: float | None = None
    broken_since: str = ""

    @property
    def keeps_promise(self) -> bool:
        """Whether its flags on normal data are no more than chance brings, and its scores as the calibration's. Nights
        say more of that than what is held out, which may be a few items."""
        if self.shifted or self.broken_since:
            return False
        if self.false_flags is not None and self.most_false_flags is not None:
            return self.false_flags <= self.most_false_flags
        if self.false_flag_share is None or self.promised_share is None:
            return True
        return self.false_flag_share <= self.promised_share

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def metrics(self) -> dict[str, float]:
        """The numbers that are there, for the registry."""
        found = {name: value for name, value in self.to_json().items() if isinstance(value, float | int)}
        return {name: float(value) for name, value in found.items()} | {
            f"auroc_{kind}": value for kind, value in self.auroc_of.items()
        }


@dataclass(frozen=True)
class Against:
    """A challenger less another detector, on the same items; None where there was nothing to compare on.

    planted: AUROC of planted faults; found: share of them above the cut; verdicts: AUROC of judged flags.
    """

    planted: Difference | None = None
    found: Difference | None = None
    verdicts: Difference | None = None

    def with_verdicts(self, verdicts: Difference | None) -> Against:
        """The same with what people's words say."""
        return replace(self, verdicts=verdicts)


@dataclass(frozen=True)
class Gate:
    """One condition that nothing makes up for."""

    name: str
    passed: bool
    sentence: str


@dataclass(frozen=True)
class Decision:
    """Whether the challenger becomes champion, and why, one sentence a reason."""

    promote: bool
    reasons: tuple[str, ...]
    gates: tuple[Gate, ...] = ()


def decide(
    challenger: Figures,
    baseline: Figures,
    champion: Figures | None,
    *,
    against_baseline: Against | None = None,
    against_champion: Against | None = None,
    outdated: bool = False,
) -> Decision:
    """Compare a challenger with the linear baseline and with the champion, if there is one.

    Without a champion the challenger goes live if its scores are sound, since something has to; what speaks
    against it is then said. With one it must pass every gate, must not fall behind the baseline, and must win:
    be better than the champion by more than chance in one respect, and worse in none. A draw leaves the
    champion, whose reports people know.
    outdated: there is a champion, and it cannot score what the pipeline now prepares: as without one.
    """
    gates = _gates(challenger, champion)
    failed = [g.sentence for g in gates if not g.passed]
    to_baseline = _lost(against_baseline, "the linear baseline", fair_cut=False)
    reasons = [_beside(challenger, baseline, against_baseline, "the linear baseline")]
    if champion is None:
        reasons.append(_OUTDATED if outdated else "There is no champion yet.")
        sound = challenger.finite and challenger.unstable <= MOST_UNSTABLE
        if to_baseline and sound:
            reasons.append("It goes live all the same; consider a linear model (model.family) instead.")
        return Decision(sound, (*reasons, *failed), gates)
    reasons.append(_beside(challenger, champion, against_champion, "the champion"))
    won = _won(challenger, champion, against_champion)
    lost = to_baseline + _lost(against_champion, "the champion", fair_cut=champion.keeps_promise)
    if not won and not lost and not failed:
        lost = ["It is no better than the champion in any respect by more than chance: the champion stays."]
    return Decision(bool(won) and not lost and not failed, (*reasons, *failed, *lost, *won), gates)


def _gates(challenger: Figures, champion: Figures | None) -> tuple[Gate, ...]:
    """Sound scores, a kept promise, and bearable time."""
    few = challenger.false_flags is None or champion is None or champion.false_flags is None
    promise = challenger.keeps_promise
    better = (
        not few and not promise and (challenger.false_flags or 0) < (champion.false_flags or 0)  # type: ignore[union-attr]
    )
    return (
        Gate(
            "scores are numbers",
            challenger.finite,
            "Every held-out item has a score."
            if challenger.finite
            else "Its scores are no numbers, or all the same: the training did not come to anything.",
        ),
        Gate(
            "scores are stable",
            challenger.unstable <= MOST_UNSTABLE,
            f"In other portions the same items score the same to {challenger.unstable:.1g}."
            if challenger.unstable <= MOST_UNSTABLE
            else f"The same items score differently in other portions, by {challenger.unstable:.1%}.",
        ),
        Gate("promise is kept", promise or better, _promise_sentence(challenger, champion, better=better)),
        _time_gate(challenger, champion),
    )


def _promise_sentence(challenger: Figures, champion: Figures | None, *, better: bool) -> str:
    if challenger.false_flags is None or challenger.most_false_flags is None:
        if challenger.false_flag_share is None or challenger.promised_share is None:
            return "Nothing was held out to count false flags on."
        told = f"It flags {challenger.false_flag_share:.2%} of the held-out normal items"
        rate = f"its false-discovery rate of {challenger.promised_share:.0%}"
        if challenger.keeps_promise:
            return f"{told}, no larger a share than {rate}."
        return f"{told}, a larger share than {rate}: it does not keep the promise."
    told = (
        f"It raises {counted(challenger.false_flags, 'flag')} on {challenger.items:,} held-out normal items; the promise and "
        f"chance allow {challenger.most_false_flags}"
    )
    if challenger.keeps_promise:
        return f"{told}."
    if challenger.shifted:
        told = f"{told}. Its scores there lie higher than those that it was calibrated on"
    if better and champion is not None:
        return f"{told}, and the champion raises {champion.false_flags}."
    return f"{told}: it does not keep the promise."


def _time_gate(challenger: Figures, champion: Figures | None) -> Gate:
    mine = challenger.seconds_per_item
    theirs = champion.seconds_per_item if champion is not None else None
    slow, told = False, "Nothing was timed."
    if mine is not None:
        told = f"An item takes {1e6 * mine:,.0f} microseconds."
    if mine is not None and theirs is not None:
        slow = mine > SLOWER_TIMES * theirs and mine >= SLOW_SECONDS
        told = f"An item takes {1e6 * mine:,.0f} microseconds, those of the champion {1e6 * theirs:,.0f}."
        if slow:
            told = f"{told[:-1]}: it is too slow."
    return Gate("time per item", not slow, told)


def _won(challenger: Figures, champion: Figures, by: Against | None) -> list[str]:
    won = []
    if by is not None and by.planted is not None and by.planted.low > 0:
        won.append(f"It tells more planted faults from normal data than the champion ({_range(by.planted)}).")
    if by is not None and by.found is not None and by.found.low > 0 and challenger.keeps_promise:
        won.append(f"It finds more planted faults at its own cut than the champion ({_range(by.found)}).")
    if by is not None and by.verdicts is not None and by.verdicts.low > 0:
        won.append(f"It agrees better with what people said of flags ({_range(by.verdicts)}).")
    if challenger.keeps_promise and not champion.keeps_promise:
        if champion.shifted:
            theirs = "where the champion's scores lie higher than those that it was calibrated on"
        elif champion.broken_since:
            theirs = f"which the champion has not kept since {champion.broken_since}"
        else:
            theirs = f"with {counted(challenger.false_flags or 0, 'flag')} where the champion raises {champion.false_flags}"
        won.append(f"It keeps the promise on recent normal data, {theirs}.")
    return won


def _lost(by: Against | None, name: str, *, fair_cut: bool) -> list[str]:
    """fair_cut: whether the other's cut keeps its promise: one that flags too much finds more, and that is no
    merit."""
    if by is None or by.planted is None:
        return [f"It could not be compared with {name}: split.test leaves too few held-out items."]
    lost = []
    if by.planted.high < 0 and by.planted.value < -_LITTLE:
        lost.append(f"It tells fewer planted faults from normal data than {name} ({_range(by.planted)}).")
    if fair_cut and by.found is not None and by.found.high < -_LITTLE:
        lost.append(f"It finds fewer planted faults at its own cut than {name} ({_range(by.found)}).")
    if by.verdicts is not None and by.verdicts.high < 0:
        lost.append(f"It agrees less with what people said of flags than {name} ({_range(by.verdicts)}).")
    return lost


_OUTDATED = "The champion was trained on other channels or another preparation, and can no longer score this pipeline."


def _beside(challenger: Figures, other: Figures, by: Against | None, name: str) -> str:
    if challenger.planted_auroc is None or other.planted_auroc is None or by is None or by.planted is None:
        return f"There is too little held out to compare it with {name}."
    return (
        f"Planted faults beside {name}: AUROC {challenger.planted_auroc:.3f} against {other.planted_auroc:.3f} "
        f"({_range(by.planted)})."
    )


def _range(by: Difference) -> str:
    return f"{by.value:+.3f}, 95 % interval {by.low:+.3f} to {by.high:+.3f}"
