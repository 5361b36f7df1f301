"""What was promised of false flags, what came, and whether the promise holds for the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from aeflow.numerics.exchangeability import ABNORMAL_SHARE, LEVEL
from aeflow.report.stored import Stored
from aeflow.wording import about, chance, counted, figure, percent

if TYPE_CHECKING:
    from aeflow.numerics.calibration import Calibration
    from aeflow.numerics.exchangeability import BulkRise, Exchangeability
    from aeflow.report.receipt import MovedCut

Kind = Literal["false_flags_per_batch", "false_discovery_rate"]

_SHOWN_ENTITIES = 5


class Moved(Stored):
    """How far scores lie from those of the calibration."""

    entity: str = ""
    """Empty: all items of the batch together."""
    expected_share: float
    """Of the calibration scores that lie above a level, the median or higher."""
    came_share: float
    """Of the batch's scores above the same level."""
    p_value: float
    """The chance of so many, were the batch as the calibration but for a tenth of it."""


class Promise(Stored):
    """What was promised of false flags, what is to be expected, and whether it holds for this batch."""

    kind: Kind
    value: float
    sentence: str
    """The promise in words."""
    expected_false_flags_per_batch: float | None = None
    """What the calibration found achievable; None with a false-discovery rate."""
    expected_interval: tuple[float, float] | None = None
    """Its 95 % interval: how sure the calibration is of it."""
    flags_by_chance: tuple[int, int] | None = None
    """Between which numbers the false flags lie with a chance of 95 %, among as many normal items as the
    batch has scored."""
    kept: bool | None = None
    """False: the scores moved away from the calibration, and more is flagged than chance explains (with a
    false-discovery rate: anything is). True: not so. None: nothing was scored."""
    moved: tuple[Moved, ...] = ()
    """Where scores moved away from the calibration: with `kept` the promise is in doubt, and no more."""
    moved_in_words: str = ""
    """What moved, what it may mean, what to do; begins with 'Promise not kept: recalibrate.' or 'Promise in
    doubt: recalibrate soon.' Empty where nothing moved."""
    cut_in_words: str = ""
    """How verdicts on earlier nights moved the cut; empty where it is that of the calibration."""
    blunt_in_words: str = ""
    """Why nothing could be flagged, though nobody can say that nothing is abnormal, and what to do; else empty."""
    note: str = ""
    """Why the promise cannot be kept and what to do; empty where it can."""


def make_promise(
    kind: Kind,
    value: float,
    *,
    expected_false_flags_per_batch: float | None = None,
    expected_interval: tuple[float, float] | None = None,
    flags_by_chance: tuple[int, int] | None = None,
    kept: bool | None = None,
    moved: tuple[Moved, ...] = (),
    cut_in_words: str = "",
    blunt_in_words: str = "",
    note: str = "",
) -> Promise:
    """A promise with its sentences."""
    if kind == "false_discovery_rate":
        sentence = f"At most {100 * value:g} % of a batch's flags are expected to be false."
    else:
        flags = "false flag is" if value == 1 else "false flags are"
        sentence = f"At most {value:g} {flags} expected in a batch."
    return Promise(
        kind=kind,
        value=value,
        sentence=sentence,
        expected_false_flags_per_batch=expected_false_flags_per_batch,
        expected_interval=expected_interval,
        flags_by_chance=flags_by_chance,
        kept=kept,
        moved=moved,
        moved_in_words=_in_words(moved, kept=kept is not False),
        cut_in_words=cut_in_words,
        blunt_in_words=blunt_in_words,
        note=note,
    )


def promise_of(
    calibration: Calibration,
    found: Exchangeability,
    flags_by_chance: tuple[int, int] | None,
    *,
    beyond_chance: bool,
    flags: int,
    moved_cut: MovedCut | None = None,
) -> Promise:
    """What a calibration, with the cut that verdicts gave it, promises of a batch in which the check against it
    `found` this, and in which so many `flags` came, more than chance explains, or not."""
    moved = [_moved("", found.whole)] if found.moved and found.whole is not None else []
    moved += [_moved(name, rise) for name, rise in found.entities.items()]
    return make_promise(
        calibration.promise,
        calibration.promised,
        expected_false_flags_per_batch=calibration.expected_false_flags_per_batch,
        expected_interval=calibration.expected_interval,
        flags_by_chance=flags_by_chance,
        kept=None if found.whole is None else not (moved and beyond_chance),
        moved=tuple(moved),
        cut_in_words="" if moved_cut is None else _cut_in_words(moved_cut, calibration.promised),
        blunt_in_words=_too_blunt(calibration, found, flags),
        note=calibration.note,
    )


def by_chance(promise: Promise) -> str:
    """What was to be expected, as the end of a sentence; or that it cannot be said."""
    if promise.kept is False:
        return ". Promise not kept: recalibrate"
    if promise.kind == "false_discovery_rate":
        return f"; at most {100 * promise.value:g} % of the flags are expected to be false"
    expected = promise.expected_false_flags_per_batch
    expected = promise.value if expected is None else expected
    flags = "flag was" if about(expected) == "1" else "flags were"
    return f"; about {about(expected)} {flags} to be expected by chance"


def _cut_in_words(cut: MovedCut, promised: float) -> str:
    rose = cut.alpha < cut.calibrated_alpha
    nights = (
        f"night {cut.first_night}"
        if cut.nights == 1
        else f"{cut.nights:,} nights, {cut.first_night} to {cut.last_night}"
    )
    came = f"{counted(cut.false, 'flag')} {'was' if cut.false == 1 else 'were'} called false"
    open_ones = f" and {cut.undecided:,} not decided" if cut.undecided else ""
    were = "was" if about(cut.promised) == "1" else "were"
    sentence = (
        f"The cut was {'raised' if rose else 'lowered'} by verdicts: of {nights}, {came}{open_ones}, where "
        f"{about(cut.promised)} {were} promised. It is at a p-value of {figure(cut.alpha)} in place of "
        f"{figure(cut.calibrated_alpha)}."
    )
    if cut.expected > promised * (1 + 1e-9):
        sentence += f" As far as it may move it still lets about {about(cut.expected)} through: recalibrate or train again."
    return sentence


def _moved(entity: str, rise: BulkRise) -> Moved:
    return Moved(entity=entity, expected_share=rise.expected, came_share=rise.came, p_value=rise.p_value)


def _in_words(moved: tuple[Moved, ...], *, kept: bool) -> str:
    if not moved:
        return ""
    entities = [one for one in moved if one.entity]
    said = [_said(one, "of the batch") for one in moved if not one.entity]
    said += [_said(one, f"of {one.entity}") for one in entities[:_SHOWN_ENTITIES]]
    if len(entities) > _SHOWN_ENTITIES:
        said.append(f"so it is in {counted(len(entities) - _SHOWN_ENTITIES, 'more entity')}")
    outcome = (
        "Promise in doubt: recalibrate soon. Although no more is flagged than by chance, "
        if kept
        else "Promise not kept: recalibrate. More is flagged than by chance, and "
    )
    return (
        f"{outcome}{'; '.join(said)}. Either more than a tenth is really abnormal, or the data have moved since "
        "the calibration. If this is the new normal, train again on recent data."
    )


def _said(one: Moved, whose: str) -> str:
    return (
        f"{percent(one.came_share)} of the scores {whose} lie above a level that {percent(one.expected_share)} "
        f"of the calibration's do ({chance(one.p_value)} by chance)"
    )


def _too_blunt(calibration: Calibration, found: Exchangeability, flags: int) -> str:
    """Why nothing is flagged though nobody can say that nothing is abnormal: the calibration scored so much higher that
    the batch's highest score is nothing rare, and a false-discovery rate lets nothing through. Empty where flags
    came, or where so calm a batch is nothing unusual."""
    if calibration.promise != "false_discovery_rate" or flags or not found.n:
        return ""
    least = found.least_p_value
    needed = least / calibration.promised
    # Were the batch as the calibration, so many independent items would hardly all lie above that p-value.
    by_chance = (1 - least) ** (found.n / calibration.normal.unit)
    if needed <= ABNORMAL_SHARE or by_chance > LEVEL:
        return ""
    all_of = "all of it" if needed >= 1 else f"{percent(needed)} of the batch"
    return (
        f"Nothing could be flagged, which does not say that nothing is abnormal: by the calibration {percent(least)} of "
        f"normal data score as high as the highest of this batch, and {all_of} would have to, before no more than "
        f"{100 * calibration.promised:g} % of the flags were false. The calibration scored higher than usual: see whether "
        "its part of the history is normal, give it a longer one, or promise calibration.false_flags_per_batch, by which the "
        "highest scores are flagged all the same."
    )
