"""The only place where scores become p-values, severities and flags.

A calibration is fitted on normal items that trained neither the weights nor the early stop, before the
batch is seen, and keeps one of two promises: at most so many false flags (images, or events of a
series) are expected in a batch, or at most such a share of a batch's flags is false.

Legend: N scores to judge, n calibration scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.cross_fitting import cross_fitted_events, uneven
from aeflow.numerics.dependence import fit_design_effects
from aeflow.numerics.false_discovery import STOREY_LEVEL, benjamini_hochberg_cut, storey_null_share
from aeflow.numerics.p_values import NormalScores, Rule, fit_normal_scores
from aeflow.numerics.promise import (
    Cut,
    Sequence,
    count_interval,
    cut_by_events,
    cut_by_share,
    discovery_note,
    rate_interval,
)
from aeflow.numerics.shapes import expect_shape
from aeflow.numerics.survival import EmpiricalSurvival
from aeflow.numerics.tail import ParetoTail

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

Promise = Literal["false_flags_per_batch", "false_discovery_rate"]


@dataclass(frozen=True, eq=False)
class Calibration:
    """What turns scores into p-values, severities and flags; made by `fit_calibration`.

    normal: what normal data scores, and the rule for p-values.
    promise: what `promised` counts: false flags in a batch, or the share of flags that is false.
    alpha: items with a p-value of at most this are flagged; with a false-discovery rate, that rate.
    threshold: the score at the cut (which side of it is flagged: see `promise.Cut`). None with a
        false-discovery rate, whose cut depends on the batch.
    items_per_batch: images, or time points of all entities together.
    expected_false_flags_per_batch: what was found to be achievable; above `promised` only where `note`
        says so. None with a false-discovery rate.
    rests_on: the number of independent flags that this is estimated from: the fewer, the less sure.
    together: how many false flags come together; see `promise.Cut`.
    storey: with a false-discovery rate: the share of normal items is estimated from the batch.
    note: what cannot be promised, why, and what to do; empty if nothing.
    """

    normal: NormalScores
    promise: Promise
    promised: float
    alpha: float
    threshold: float | None
    items_per_batch: float
    expected_false_flags_per_batch: float | None
    rests_on: float | None
    together: float | None
    note: str
    storey: bool = False

    @property
    def rule(self) -> Rule:
        """conformal, quantile or peaks_over_threshold."""
        return self.normal.rule

    @property
    def n(self) -> int:
        """The number of calibration scores."""
        return self.normal.n

    @property
    def expected_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `expected_false_flags_per_batch`; None with a false-discovery rate."""
        if self.expected_false_flags_per_batch is None or self.rests_on is None:
            return None
        return rate_interval(self.expected_false_flags_per_batch, self.rests_on)

    def count_interval(self, items: float) -> tuple[int, int] | None:
        """Between which numbers the false flags among `items` normal items lie with a chance of 95 %; None
        with a false-discovery rate."""
        if self.expected_false_flags_per_batch is None or self.rests_on is None or self.together is None:
            return None
        expected = self.expected_false_flags_per_batch * items / self.items_per_batch
        return count_interval(expected, self.rests_on, self.together)

    def beyond_chance(self, items: int, flags: int, flagged_items: int) -> bool:
        """Whether among `items` there are more flags than chance explains, or more flagged items: a flood of
        points may well be one event. With a false-discovery rate any flag is."""
        most = self.count_interval(items)
        if most is None:
            return flags > 0
        # Points come together in events, and events do.
        assert self.together is not None
        together = self.normal.unit * self.together
        rests_on = self.normal.independent_flags(self.alpha) / self.together
        of_items = count_interval(self.alpha * items, rests_on, together)
        return flags > most[1] or flagged_items > of_items[1]

    def cut_at(self, alpha: float, *, expected: float, rests_on: float) -> Self:
        """The same p-values with another cut: `alpha`, at which so many false flags are `expected` in a batch,
        estimated from `rests_on` independent ones."""
        return replace(
            self,
            alpha=alpha,
            threshold=self.normal.score_at(alpha)[0],
            expected_false_flags_per_batch=expected,
            rests_on=rests_on,
        )

    def p_values(self, scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """The chance of a score at least this high on normal data, `(N,)`; see `NormalScores.p_values`."""
        return self.normal.p_values(scores)

    def cut(
        self, p_values: NDArray[np.float64], *, n_tested: int | None = None, n_above: int | None = None
    ) -> float:
        """The p-value at or below which items of this batch are flagged.

        With a number of false flags it is always `alpha`. With a false-discovery rate it depends on
        the whole batch; see `benjamini_hochberg_cut` for how to give it only the small p-values. Then
        `n_above` must be given with `storey`: how many of all are above `STOREY_LEVEL`.
        """
        if self.promise == "false_flags_per_batch":
            return self.alpha
        if not self.storey:
            return benjamini_hochberg_cut(p_values, self.alpha, n_tested)
        known = p_values[~np.isnan(p_values)]
        tested = known.size if n_tested is None else n_tested
        above = int((known > STOREY_LEVEL).sum()) if n_above is None else n_above
        return benjamini_hochberg_cut(known, self.alpha, tested, null_share=storey_null_share(above, tested))

    def flags(self, p_values: NDArray[np.float64], *, cut: float | None = None) -> NDArray[np.bool_]:
        """Which items are flagged, `(N,)` bool; NaN never is.

        Without `cut`, `p_values` must be those of the whole batch; with the batch's `cut`, any part.
        """
        return np.asarray(p_values <= (self.cut(p_values) if cut is None else cut))

    def severity(self, p_values: NDArray[np.float64], *, cut: float | None = None) -> NDArray[np.float32]:
        """How far from normal, `(N,)` float32 in 0..100, NaN for NaN: `50 * log(p) / log(cut)`.

        50 is exactly the cut; 100 is a p-value of the cut's square. `cut` as in `flags`.
        """
        at = self.cut(p_values) if cut is None else cut
        ratio = np.log(p_values) / np.log(at)
        return np.asarray(np.clip(50 * ratio, 0, 100), dtype=np.float32)

    def to_json(self) -> dict[str, float | str | bool | None]:
        """Everything but the calibration scores, as plain numbers and text."""
        tail = self.normal.tail
        return {
            "rule": self.rule,
            "promise": self.promise,
            "promised": self.promised,
            "alpha": self.alpha,
            "threshold": self.threshold,
            "items_per_batch": self.items_per_batch,
            "expected_false_flags_per_batch": self.expected_false_flags_per_batch,
            "rests_on": self.rests_on,
            "together": self.together,
            "note": self.note,
            "storey": self.storey,
            "n": self.n,
            "tail_start": tail.start if tail else None,
            "tail_share": tail.share if tail else None,
            "tail_scale": tail.scale if tail else None,
            "tail_shape": tail.shape if tail else None,
        }

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The distinct calibration scores, the numbers above them, and the design effects."""
        survival = self.normal.survival
        return {
            "level": survival.level,
            "above": survival.above,
            "design_effects": self.normal.design_effects,
        }

    @classmethod
    def from_parts(cls, described: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """The calibration of which `to_json` gave `described` and `to_arrays` gave `arrays`.

        Raises:
            InputError: a part is missing or is no calibration.
        """
        try:
            fields = dict(described)
            tail = [fields.pop(f"tail_{name}") for name in ("start", "share", "scale", "shape")]
            survival = EmpiricalSurvival(
                np.asarray(arrays["level"], dtype=np.float64),
                np.asarray(arrays["above"], dtype=np.int64),
                int(fields.pop("n")),
            )
            normal = NormalScores(
                fields.pop("rule"),
                survival,
                None if tail[0] is None else ParetoTail(*tail),
                np.asarray(arrays["design_effects"], dtype=np.float64),
            )
            return cls(normal=normal, **fields)
        except (KeyError, TypeError) as error:
            msg = f"the stored calibration does not have the expected parts: {error}"
            raise InputError(msg, remedy="Train the detector again.") from error


def fit_calibration(
    scores: NDArray[np.floating[Any]],
    *,
    rule: Rule,
    false_flags_per_batch: float | None = None,
    false_discovery_rate: float | None = None,
    items_per_batch: float,
    storey: bool = False,
    group: NDArray[np.integer[Any]] | None = None,
    sequence: tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]] | None = None,
    judged_p_values: NDArray[np.float64] | None = None,
    merge_gap: int = 0,
    min_points: int = 1,
    rest_points: int = 0,
) -> Calibration:
    """The calibration of normal `scores`, and the cut that keeps one promise.

    Where each item is a flag of its own (images), the cut is the p-value
    `false_flags_per_batch / items_per_batch`. Where flagged points are merged (`sequence`), events are
    counted on the calibration sequence instead; see `promise.cut_by_events`.

    Scores that depend on each other, in time or within a group, count for fewer: see `dependence`.

    Where the calibration is too short (not even one flag is within the promise), peaks_over_threshold
    extrapolates by its tail; the other rules take the lowest cut they have and say so in `note`.

    A false-discovery rate is over items; of a series, over time points, not events.

    Args:
        scores: `(n,)` of normal items; NaN (not scorable) are left out.
        rule: conformal, quantile or peaks_over_threshold.
        false_flags_per_batch: the promise, or
        false_discovery_rate: the promise, 0..1; exactly one of both.
        items_per_batch: how many scores a usual batch has, over all entities.
        storey: with a false-discovery rate, estimate the share of normal items from each batch.
        group: for images, `(n,)` codes of the groups they belong to.
        sequence: for series, `(entity (n,), position (n,))`, the grid index of each score.
        judged_p_values: for series, `(n,)`, `held_out_p_values` of the scores where entities have
            calibrations of their own, by which their flags are decided; None: those of all scores together.
        merge_gap: flagged points of one entity with at most so many grid points between are one event.
        min_points: shorter events are not flagged.
        rest_points: for so many grid points after an event nothing of its entity is flagged.

    Raises:
        InputError: not exactly one promise, a parameter outside its range, or no score.
    """
    promise, promised = _one_promise(false_flags_per_batch, false_discovery_rate)
    if rule not in get_args(Rule):
        msg = f"rule must be one of {', '.join(get_args(Rule))}, got {rule!r}"
        raise InputError(msg)
    if not items_per_batch > 0:
        msg = f"items_per_batch must be positive, got {items_per_batch}"
        raise InputError(msg)
    expect_shape("scores", scores, (None,))
    scored = ~np.isnan(scores)
    of_normal = scores[scored].astype(np.float64)
    if group is not None:
        expect_shape("group", group, scores.shape)
        group = group[scored]
    entity = position = None
    if sequence is not None:
        entity, position = sequence
        expect_shape("entity", entity, scores.shape)
        expect_shape("position", position, scores.shape)
        entity, position = entity[scored], position[scored]
    normal = fit_normal_scores(of_normal, rule, position=position, group=group)
    p_value = None
    if judged_p_values is not None:
        expect_shape("judged_p_values", judged_p_values, scores.shape)
        p_value = judged_p_values[scored]
        # What is judged depends in time as these do, not as the scores of entities of all levels together.
        normal = replace(normal, design_effects=fit_design_effects(-p_value, position=position, group=group))
    if promise == "false_discovery_rate":
        note = discovery_note(normal, promised, items_per_batch)
        return Calibration(
            normal, promise, promised, promised, None, float(items_per_batch), None, None, None, note, storey
        )
    if entity is None or position is None:
        cut = cut_by_share(normal, promised, items_per_batch)
    else:
        if p_value is None:
            p_value = normal.held_out_p_values(of_normal)
        events = Sequence(p_value, entity, position, merge_gap, min_points, rest_points)
        cut = cut_by_events(normal, events, promised, items_per_batch)
        together = uneven(cross_fitted_events(events, rule, promised, items_per_batch))
        if together > cut.together:
            cut = replace(cut, together=together, rests_on=cut.rests_on * cut.together / together)
    return _with_cut(normal, cut, promised, items_per_batch)


def _with_cut(normal: NormalScores, cut: Cut, promised: float, items_per_batch: float) -> Calibration:
    return Calibration(
        normal=normal,
        promise="false_flags_per_batch",
        promised=promised,
        alpha=cut.alpha,
        threshold=cut.threshold,
        items_per_batch=float(items_per_batch),
        expected_false_flags_per_batch=cut.expected,
        rests_on=cut.rests_on,
        together=cut.together,
        note=cut.note,
    )


def _one_promise(flags: float | None, rate: float | None) -> tuple[Promise, float]:
    if (flags is None) == (rate is None):
        msg = f"give exactly one promise, got false_flags_per_batch={flags}, false_discovery_rate={rate}"
        raise InputError(msg)
    if flags is not None:
        if not flags > 0:
            msg = f"false_flags_per_batch must be positive, got {flags}"
            raise InputError(msg)
        return "false_flags_per_batch", float(flags)
    assert rate is not None
    if not 0 < rate < 1:
        msg = f"false_discovery_rate must be between 0 and 1, got {rate}"
        raise InputError(msg)
    return "false_discovery_rate", float(rate)
