"""Where to cut, so that a promised number of false flags in a batch is kept, and how sure that is.

Where even the highest cut breaks the promise, because the calibration is too short, that cut is taken
and a note says what can be promised: nothing is silently never flagged.

Legend: n calibration scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import chi2, nbinom, poisson

from aeflow.numerics.dependence import largest_design_effect
from aeflow.numerics.events import iter_event_counts, merge_flagged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aeflow.numerics.p_values import NormalScores

HIGHEST_ALPHA = 0.5
"""A promise by which more than half of all normal items could be flagged is kept by flagging half."""

LEVEL = 0.95
"""Of the intervals."""

_FEWEST_EVENTS = 10
"""So many events are counted to learn how many flagged points make one, before a tail is extrapolated."""

_FEW_ABNORMAL = 0.01
"""Of a batch: what a false-discovery rate is asked to find in a note."""

_FAR_OFF = 100.0
"""Times the 90 % quantile. Squares of heavy-tailed noise (Student, 3 degrees) come to 30 times at a rate of a tenth."""

_CERTAIN = 1e6
"""From so many independent flags on a rate is known, and its interval is that of the count alone."""


@dataclass(frozen=True)
class Cut:
    """Where items begin to be flagged.

    alpha: the p-value at or below which an item is flagged.
    threshold: the score there. Flagged are scores above it (conformal, and peaks_over_threshold where
        the cut lies below its tail), or at and above it (quantile, and in the tail).
    expected: false flags in a batch.
    rests_on: the number of independent flags that `expected` is estimated from; need not be whole.
    together: how many false flags come together, the variance of their number in units of its mean; >= 1.
    note: what cannot be promised, why, and what to do; empty if nothing.
    """

    alpha: float
    threshold: float
    expected: float
    rests_on: float
    together: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class Sequence:
    """Calibration points of series as they will be judged, and the rule by which they become events.

    p_value: `(n,)` that each would have had, had it not calibrated. entity, position: `(n,)`, the grid
    index. merge_gap, min_points, rest_points: see `events.merge_flagged`.
    """

    p_value: NDArray[np.float64]
    entity: NDArray[np.integer[Any]]
    position: NDArray[np.integer[Any]]
    merge_gap: int
    min_points: int
    rest_points: int

    def counts(self) -> Iterator[tuple[float, int, int]]:
        """For each p-value from the lowest up: (p-value, points at or below it, their events)."""
        levels = iter_event_counts(
            -self.p_value,
            self.position,
            self.entity,
            merge_gap=self.merge_gap,
            min_points=self.min_points,
            rest_points=self.rest_points,
        )
        return ((-level, points, events) for level, points, events in levels)

    def of(self, chosen: NDArray[np.bool_]) -> Sequence:
        """The points that are `chosen` `(n,)`."""
        return replace(
            self,
            p_value=self.p_value[chosen],
            entity=self.entity[chosen],
            position=self.position[chosen],
        )

    def events(self, alpha: float) -> int:
        """The number of events at the cut `alpha`."""
        return int(self._first_of_events(alpha).sum())

    def together(self, alpha: float) -> float:
        """How many events at the cut `alpha` come together."""
        return largest_design_effect(self._first_of_events(alpha), self.position)

    def _first_of_events(self, alpha: float) -> NDArray[np.bool_]:
        """Which points `(n,)` begin an event."""
        order = np.lexsort((self.position, self.entity))
        flagged = order[self.p_value[order] <= alpha]
        event = merge_flagged(
            self.position[flagged],
            self.entity[flagged],
            merge_gap=self.merge_gap,
            min_points=self.min_points,
            rest_points=self.rest_points,
        )
        first = np.zeros(self.p_value.size, dtype=bool)
        rows, numbers = flagged[event >= 0], event[event >= 0]
        first[rows[np.unique(numbers, return_index=True)[1]]] = True
        return first


def cut_by_share(
    normal: NormalScores,
    promised: float,
    items_per_batch: float,
    *,
    points_per_flag: float = 1.0,
    together: float | None = None,
) -> Cut:
    """The cut for items that are flags of their own, or of which `points_per_flag` make one."""
    alpha = min(points_per_flag * promised / items_per_batch, HIGHEST_ALPHA)
    threshold, alpha = normal.score_at(alpha)
    expected = alpha * items_per_batch / points_per_flag
    note = _note(normal, promised, items_per_batch, expected)
    rests_on = normal.independent_flags(alpha)
    return Cut(alpha, threshold, expected, rests_on, normal.unit if together is None else together, note)


def cut_by_events(normal: NormalScores, sequence: Sequence, promised: float, items_per_batch: float) -> Cut:
    """The cut for points of a series, whose flags are events.

    The cut is lowered from the least likely calibration point on for as long as the events at or
    beyond it, brought to the length of a batch, are within the promise. It stops at the first level
    that breaks it, although later ones may have fewer events, which have grown together.

    Args:
        normal: the calibration scores.
        sequence: the same as they are judged, in time.
        promised: events in a batch.
        items_per_batch: time points of all entities together.
    """
    batches = (normal.n + 1) / items_per_batch
    allowed = promised * batches
    alpha, events = _highest_level(sequence.counts(), allowed, normal.n)
    if normal.tail is not None and (allowed < 1 or alpha is None):
        points = _points_per_event(sequence.counts())
        return cut_by_share(normal, promised, items_per_batch, points_per_flag=points, together=1.0)
    if alpha is None:
        alpha, _, _ = next(sequence.counts())
    # Before any event was seen, the next may be the first.
    expected = max(events, 1) / batches
    together = sequence.together(alpha)
    return Cut(
        alpha,
        normal.score_at(alpha)[0],
        expected,
        max(events, 1) / together,
        together,
        _note(normal, promised, items_per_batch, expected),
    )


def rate_interval(expected: float, rests_on: float) -> tuple[float, float]:
    """The 95 % interval of the expected number of false flags: that of a Poisson number `rests_on`
    (Garwood 1936, "Fiducial limits for the Poisson distribution"), brought to the length of a batch."""
    low, high = chi2.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2], [2 * rests_on, 2 * rests_on + 2]) / 2
    return float(low / rests_on * expected), float(high / rests_on * expected)


def count_interval(expected: float, rests_on: float, together: float) -> tuple[int, int]:
    """The interval in which the number of false flags itself lies with a chance of 95 %, where `expected`
    are expected: the rate is not known for sure, and flags come `together`.

    The rate is taken to follow the gamma distribution that `rests_on` independent flags leave (Jeffreys's
    prior), so that clumps of flags are negative binomial.
    """
    if expected <= 0:
        return 0, 0
    clumps = expected / together
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    if rests_on >= _CERTAIN:
        low, high = poisson.ppf(ends, clumps)
    else:
        shape = rests_on + 0.5
        low, high = nbinom.ppf(ends, shape, rests_on / (rests_on + clumps))
    return int(np.floor(low * together)), int(np.ceil(high * together))


def discovery_note(normal: NormalScores, rate: float, items_per_batch: float) -> str:
    """What a promised false-discovery rate cannot do with so few calibration scores, or nothing."""
    if normal.tail is not None:
        return _tail_note(normal, rate)
    together = int(np.ceil(normal.least * items_per_batch / rate - 1e-9))
    if together <= 1:
        return ""
    return (
        f"promised that at most {rate:g} of the flags are false; with {_worth(normal)} and "
        f"{items_per_batch:g} items a batch, nothing is flagged unless about {together} items of a batch are "
        f"beyond all calibration scores. {_REMEDY}"
    )


def _tail_note(normal: NormalScores, rate: float) -> str:
    """What a promised rate asks of scores where few are abnormal, if that lies beyond all that the calibration saw, or
    the calibration itself holds scores that lie far from its others."""
    assert normal.tail is not None
    highest, usual = float(normal.survival.level[-1]), normal.tail.start
    needed, _ = normal.score_at(rate * _FEW_ABNORMAL)
    asked = (
        f"promised that at most {rate:g} of the flags are false: by {_worth(normal)}, where {100 * _FEW_ABNORMAL:g} % of a batch "
        "is abnormal it is flagged from"
    )
    if usual > 0 and needed > _FAR_OFF * usual:
        return (
            f"{asked} {needed:,.3g} on, {needed / usual:,.2g} times what 9 in 10 of them stay below: some of them lie far from "
            "the others. See whether the part of the history that calibrates is normal, and give it a longer one; "
            "false_flags_per_batch flags the highest scores all the same."
        )
    if needed <= highest or highest <= 0:
        return ""
    return (
        f"{asked} {needed / highest:.2g} times the highest of these scores on, and where less is, later. Give the calibration a "
        "longer part of the history, or promise false_flags_per_batch."
    )


def _highest_level(
    counts: Iterator[tuple[float, int, int]], allowed: float, n: int
) -> tuple[float | None, int]:
    """The highest p-value up to which there are never more than `allowed` events, and the most events
    there were; None where even the lowest p-value has more."""
    chosen, most = None, 0
    for p_value, points, events in counts:
        if events > allowed or points > HIGHEST_ALPHA * n:
            break
        chosen, most = p_value, max(most, events)
    return chosen, most


def _points_per_event(counts: Iterator[tuple[float, int, int]]) -> float:
    """Flagged points for each event, at the highest level that has enough events to tell; at least 1.

    Still higher up events tend to be shorter, so the extrapolated cut expects a little too few.
    """
    points, events = 1, 1
    for _, points, events in counts:  # noqa: B007 - the last ones are wanted
        if events >= _FEWEST_EVENTS:
            break
    return max(points / max(events, 1), 1.0)


_REMEDY = (
    "Give the calibration a longer part of the history, promise less, or use the rule "
    "peaks_over_threshold, which extrapolates."
)


def _worth(normal: NormalScores) -> str:
    """How many scores there are, and what they are worth where they depend on each other."""
    scores = f"{normal.n} calibration scores"
    independent = round(normal.independent)
    return (
        scores if independent >= 0.9 * normal.n else f"{scores} that are worth {independent} independent ones"
    )


def _note(normal: NormalScores, promised: float, items_per_batch: float, expected: float) -> str:
    if expected <= promised * (1 + 1e-9):
        return ""
    return (
        f"promised at most {promised:g} false {'flag' if promised == 1 else 'flags'} a batch; with {_worth(normal)} and "
        f"{items_per_batch:g} items a batch the {normal.rule} rule can promise no less than {expected:.3g}. "
        f"{_REMEDY}"
    )
