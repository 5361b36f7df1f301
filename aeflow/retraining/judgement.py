"""What the last nights say by themselves: questions in their order, the first that finds something answers.

Legend: C channels, E entities.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import poisson

from aeflow.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aeflow.config import Retraining
    from aeflow.retraining.measurements import Night, Shift

FEW_SHARE = 0.25
"""Up to a quarter of the channels or of the entities are few: what is wrong with them is theirs."""
FEW_CHANNELS = 3
"""More channels than these are never few: one sensor feeds one channel, or two or three that are made of it."""
LEADS_SHARE = 0.5
"""A channel that has the largest error in more than half of the readings ..."""
LEADS_TIMES = 1.5
"""... and this many times as often as it used to, is what the model minds."""
BURST_CHANCE = 1e-3
"""More flags than chance brings in one of a thousand batches are a burst."""
BURST_SHARE = 0.05
"""So large a share of flagged items is a burst, however few flags they make."""
FEWEST_FLAGS, FEWEST_ITEMS = 3, 10
"""Fewer flags, or flagged items, are no burst."""
TREND_BATCHES = 4
"""The fewest batches that can show a trend."""
WHOLE_SHARE = 0.5
"""A batch of less than this share of the usual items is a part of one, and shows no trend."""
TREND_LEAST = 0.5
"""A trend moves a channel by at least so many robust units in all."""
STEP_SHARE = 0.6
"""A change of which one batch brought more than this share is a step and no trend."""
NEW_SHARE = 0.1
"""So large a share of entities that the detector does not know is more than a machine or two."""
_EVEN_WORDS = 0.5


class Outcome(StrEnum):
    """See the package."""

    OK = "OK"
    RECALIBRATE = "RECALIBRATE"
    RETRAIN = "RETRAIN"
    SENSOR_FAULT = "SENSOR_FAULT"
    INCIDENT = "INCIDENT"
    HOLD = "HOLD"


@dataclass(frozen=True)
class Judgement:
    """What the nights say by themselves. since: the first batch of a lasting change. new_normal: what came since is what
    the detector is to expect from now on, should one be trained; else what came before is so as well."""

    outcome: Outcome
    reasons: tuple[str, ...]
    since: str | None = None
    new_normal: bool = False


def judge_nights(nights: Sequence[Night], rule: Retraining) -> Judgement:
    """What the last nights say, oldest first, all scored by one detector.

    The order of the questions matters: a sensor that failed also moves errors, a machine at fault also
    brings flags, and either would look like a change of the data to a model that has not been told.
    """
    if not nights:
        return Judgement(Outcome.OK, ("No batch has been scored by the champion yet.",))
    answers = (
        _sensor_graded(nights),
        _wear(nights),
        _sensor_moved(nights),
        _change(nights, rule),
        _burst(nights, rule),
        _new_entities(nights, rule),
    )
    quiet = Judgement(Outcome.OK, (_unharmed(nights[-1]),))
    return next((answer for answer in answers if answer is not None), quiet)


def _unharmed(night: Night) -> str:
    if night.drift is None:
        return f"Batch {night.batch}: {_flags(night)}; its detector measured no drift."
    moved = [s.name for s in night.drift.inputs if s.moved]
    if moved:
        return f"Batch {night.batch}: {_listed(moved)} moved, but the model expects them as well as ever; {_flags(night)}."
    return f"Batch {night.batch}: no channel has moved and the errors are as they were; {_flags(night)}."


def _sensor_graded(nights: Sequence[Night]) -> Judgement | None:
    """A channel that the checks found dead."""
    night = nights[-1]
    low = [(channel, cause) for channel, grade, cause in night.grades if grade == "LOW"]
    channels = len(night.drift.inputs) if night.drift else 0
    if not low or (channels and len(low) > max(1, channels // 2)):
        return None
    told = _listed([f"{channel} ({cause.replace('_', ' ')})" for channel, cause in low])
    return Judgement(
        Outcome.SENSOR_FAULT,
        (f"Batch {night.batch}: {told} graded LOW: the sensor, not the machine. Nothing is learnt from it.",),
        _first(nights, lambda n: any(g == "LOW" for _, g, _ in n.grades)),
    )


def _wear(nights: Sequence[Night]) -> Judgement | None:
    """Few channels that move on and on: to learn it would be to call wear normal."""
    usual = float(np.median([n.items for n in nights]))
    whole = [n for n in nights if n.drift is not None and n.items >= WHOLE_SHARE * usual]
    drifts = [n.drift for n in whole if n.drift is not None]
    if len(drifts) < TREND_BATCHES or whole[-1] is not nights[-1]:
        return None
    channels = len(drifts[-1].inputs)
    trending = [
        shift.name
        for number, shift in enumerate(drifts[-1].inputs)
        if shift.moved and _is_trend([d.inputs[number].median for d in drifts])
    ]
    if not trending or len(trending) > _few_channels(channels):
        return None
    if sum(shift.moved for shift in drifts[-1].inputs) - len(trending) > _few(channels):
        return None  # a change of them all, in which these came step by step
    others = " and most others did not move," if channels > len(trending) else ""
    first = whole[0].batch
    told = (
        f"{_listed(trending)} moved a little further in each batch since {first},{others} as wear or fouling does. "
        "A model trained now would call it normal. Look at the machine; if it is normal, say so: aeflow retrain "
        "CONFIG --force."
    )
    return Judgement(Outcome.HOLD, (told,), first, new_normal=True)


def _is_trend(medians: Sequence[float]) -> bool:
    """Whether a channel moved the same way most of the time, far enough, and not in one step."""
    steps = np.diff(medians)
    total = float(medians[-1] - medians[0])
    if steps.size < TREND_BATCHES - 1 or abs(total) < TREND_LEAST:
        return False
    same_way = np.sign(steps) == np.sign(total)
    return bool(same_way.mean() >= 0.7 and np.abs(steps).max() <= STEP_SHARE * abs(total))


def _sensor_moved(nights: Sequence[Night]) -> Judgement | None:
    """It is few channels of few entities that the model does not expect, and they changed in a step."""
    night = nights[-1]
    if night.drift is None or len(night.drift.inputs) < 3:
        return None
    channels = len(night.drift.inputs)
    moved = _moved(night)
    if len(moved) > _few_channels(channels) or any(s.entities > _few(night.drift.entities) for s in moved):
        return None
    leading = [s for s in (moved if night.errors is None else night.drift.inputs) if _leads(s)]
    if not leading or (_few_entities(night) == "" and night.drift.entities > 1 and not moved):
        return None
    worst = max(leading, key=lambda s: s.leads or 0.0)
    told = _listed([s.name for s in moved]) if moved else "no channel by itself"
    others = channels - len(moved)
    return Judgement(
        Outcome.SENSOR_FAULT,
        (
            (
                f"Batch {night.batch}: {told} moved ({worst.name} by {worst.median:+.1f} robust units in the middle, "
                f"distance {worst.ks:.2f}), and the other {others} channels did not follow."
            ),
            (
                f"{worst.name} has the largest error in {worst.leads or 0:.0%} of the readings; "
                f"{worst.usual_leads or 0:.0%} is usual. Look at its gain, zero and cabling. Nothing is learnt from it."
            ),
        ),
        _first(
            nights,
            lambda n: any(s.name == worst.name and _leads(s) for s in n.drift.inputs) if n.drift else False,
        ),
    )


def _leads(shift: Shift) -> bool:
    """Whether a channel has the largest error in most readings, and far more often than it used to."""
    if shift.leads is None:
        return False
    return shift.leads >= max(LEADS_SHARE, LEADS_TIMES * (shift.usual_leads or 0.0))


def _change(nights: Sequence[Night], rule: Retraining) -> Judgement | None:
    """The errors of most items have risen: for good, or not known yet. Inputs that move while the model
    expects them as well as ever are no harm."""
    run = _run(nights, lambda n: n.errors is not None)
    if not run:
        return None
    if len(run) >= rule.lasting_batches:
        return _lasting_change(run, rule)
    told = (
        f"Batch {run[-1].batch}: {_what_moved(run[-1])}. That is seen in {_batches(len(run))}; it counts as lasting after "
        f"{rule.lasting_batches}."
    )
    return Judgement(Outcome.HOLD, (told,), run[0].batch)


def _lasting_change(run: Sequence[Night], rule: Retraining) -> Judgement:
    """Of the nights `run` in a row the errors have risen in each: what that is."""
    night, since = run[-1], run[0].batch
    what = _what_moved(night)
    times = f"in {_batches(len(run))} since {since}"

    def found(outcome: Outcome, told: str, *, new_normal: bool = False) -> Judgement:
        return Judgement(outcome, (f"{what[0].upper()}{what[1:]} {told}",), since, new_normal)

    few = _few_entities(night)
    if few:
        told = f"since {since}, but {few} only: those machines have changed, not the plant. Look at them."
        return found(Outcome.HOLD, told)
    if night.drift is not None and not all(_broad(n) for n in run[-rule.lasting_batches :]):
        when = "in some of them " if _broad(night) else ""
        told = f"{times}, while {when}channels and codes are as they were: the calibration is stale, the model is not."
        return found(Outcome.RECALIBRATE, told)
    confirmed = sum(n.true_flags for n in run)
    if confirmed >= FEWEST_FLAGS and confirmed > sum(n.false_flags for n in run):
        told = f"{times}, and most flags since that people looked at are confirmed faults: nothing of it is learnt."
        return found(Outcome.HOLD, told)
    cut = sum(n.flagged_items for n in run) / max(sum(n.items for n in run), 1)
    if cut > rule.max_cut_share and not _said_normal(run):
        told = (
            f"since {since}, and {cut:.0%} of what came since is flagged: a plant that is run otherwise and one that "
            "is broken look alike then. People have to say by verdicts what of it is normal."
        )
        return found(Outcome.HOLD, told, new_normal=True)
    return found(Outcome.RETRAIN, f"{times}: the data have changed for good.", new_normal=True)


def _few_entities(night: Night) -> str:
    """In how few of many entities something moved, in words; empty where it is not so."""
    drift, errors = night.drift, night.errors
    if drift is None or errors is None or drift.entities < 2:
        return ""
    moved = max(drift.moved_entities, errors.entities)
    if moved == 0 or moved > _few(drift.entities):
        return ""
    return f"in {moved} of {drift.entities} entities"


def _burst(nights: Sequence[Night], rule: Retraining) -> Judgement | None:
    """Far more flags than promised, in data that are otherwise as they were."""
    run = _run(nights, _bursts)
    if not run:
        return None
    night = run[-1]
    told = f"Batch {night.batch}: {_flags(night)}, {night.flagged_share:.1%} of the items"
    if _said_normal(run):
        flags, false = sum(n.flags for n in run), sum(n.false_flags for n in run)
        if len(run) < rule.lasting_batches:
            why = f"people found {false} of {flags} normal; it counts as lasting after {rule.lasting_batches} batches."
            return Judgement(Outcome.HOLD, (f"{told}; {why}",), run[0].batch)
        return Judgement(
            Outcome.RETRAIN,
            (
                (
                    f"{told}, and the like since {run[0].batch}. People found {false} of {flags} normal: there is "
                    "something new that the detector has not learnt."
                ),
            ),
            run[0].batch,
            new_normal=True,
        )
    said = any(n.true_flags > n.false_flags for n in run)
    if len(run) >= rule.lasting_batches and not said:
        return Judgement(
            Outcome.HOLD,
            (
                (
                    f"{told}, and the like in {_batches(len(run))} since {run[0].batch}, while the rest is as ever. A "
                    "fault that lasts and a new kind of product look alike: say by verdicts which it is."
                ),
            ),
            run[0].batch,
        )
    rest = "; people have confirmed it" if said else ""
    return Judgement(
        Outcome.INCIDENT,
        (f"{told}, while the rest of the batch is as ever{rest}. What is flagged is never learnt from.",),
        run[0].batch,
    )


def _new_entities(nights: Sequence[Night], rule: Retraining) -> Judgement | None:
    """More entities than one or two that the detector never saw."""

    def has(night: Night) -> bool:
        return night.drift is not None and night.drift.new_entities >= max(
            2, NEW_SHARE * night.drift.entities
        )

    run = _run(nights, has)
    if not run or run[-1].drift is None:
        return None
    drift = run[-1].drift
    told = f"{drift.new_entities} of {drift.entities} entities are new to the detector"
    if len(run) < rule.lasting_batches:
        why = f"{told}, in {_batches(len(run))}; they count as lasting after {rule.lasting_batches}."
        return Judgement(Outcome.HOLD, (why,), run[0].batch)
    why = f"{told} since {run[0].batch}, and are scored by what all others are like."
    return Judgement(Outcome.RETRAIN, (why,), run[0].batch)


def _moved(night: Night) -> list[Shift]:
    return [s for s in night.drift.inputs if s.moved] if night.drift else []


def _broad(night: Night) -> bool:
    """Whether the data have moved: more than few channels, few channels in more than few entities, or the
    codes."""
    if night.drift is None:
        return False
    moved = _moved(night)
    channels, entities = len(night.drift.inputs), night.drift.entities
    wide = len(moved) > _few_channels(channels) or channels < 3
    return bool(
        (moved and (wide or any(s.entities > _few(entities) for s in moved)))
        or any(s.moved for s in night.drift.latent)
    )


def _bursts(night: Night) -> bool:
    """Whether there are more flags than chance brings, or several of a severity that it never does."""
    if night.flagged_share >= BURST_SHARE and night.flagged_items >= FEWEST_ITEMS:
        return True
    if night.severe_flags >= FEWEST_FLAGS and night.most_flags is not None and night.flags > night.most_flags:
        return True
    if night.expected_flags is None or night.flags < FEWEST_FLAGS:
        return False
    return bool(poisson.sf(night.flags - 1, max(night.expected_flags, 1e-9)) < BURST_CHANCE)


def _said_normal(run: Sequence[Night]) -> bool:
    """Whether people called most of the flags normal."""
    false = sum(n.false_flags for n in run)
    return false > sum(n.true_flags for n in run) and false >= _EVEN_WORDS * sum(n.flags for n in run)


def _what_moved(night: Night) -> str:
    assert night.errors is not None
    parts = []
    if night.drift is not None:
        moved = _moved(night)
        if moved:
            names = _listed([s.name for s in moved])
            parts.append(f"{len(moved)} of {counted(len(night.drift.inputs), 'channel')} moved ({names})")
        directions = sum(s.moved for s in night.drift.latent)
        if directions:
            parts.append(
                f"the codes moved along {directions} of {counted(len(night.drift.latent), 'direction')}"
            )
    parts.append(
        f"the errors rose ({night.errors.came:.0%} of the scores lie where {night.errors.expected:.0%} of the "
        "calibration's did)"
    )
    return ", ".join(parts)


def _run(nights: Sequence[Night], holds: Callable[[Night], bool]) -> list[Night]:
    """The last nights in a row for which it holds."""
    run: list[Night] = []
    for night in reversed(nights):
        if not holds(night):
            break
        run.insert(0, night)
    return run


def _first(nights: Sequence[Night], holds: Callable[[Night], bool]) -> str | None:
    run = _run(nights, holds)
    return run[0].batch if run else None


def _few_channels(number: int) -> int:
    return min(FEW_CHANNELS, _few(number))


def _few(number: int) -> int:
    return max(1, int(FEW_SHARE * number))


def _batches(number: int) -> str:
    return "one batch" if number == 1 else f"{number:,} batches"


def _flags(night: Night) -> str:
    expected = "" if night.expected_flags is None else f", {night.expected_flags:.2g} expected"
    return f"{counted(night.flags, 'flag')}{expected}"


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
