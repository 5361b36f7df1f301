"""Where to cut, so that a promised number of false flags in a batch is kept.

Where even the highest cut breaks the promise, because the calibration is too short, that cut is taken
and a note says what can be promised: nothing is silently never flagged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aeflow.numerics.p_values import NormalScores

HIGHEST_ALPHA = 0.5
"""A promise by which more than half of all normal items could be flagged is kept by flagging half."""

_FEWEST_EVENTS = 10
"""So many events are counted to learn how many flagged points make one, before a tail is extrapolated."""


@dataclass(frozen=True)
class Cut:
    """Where items begin to be flagged.

    alpha: the p-value at or below which an item is flagged.
    threshold: the score there. Flagged are scores above it (conformal, and peaks_over_threshold where
        the cut lies below its tail), or at and above it (quantile, and in the tail).
    expected: false flags in a batch.
    note: what cannot be promised, why, and what to do; empty if nothing.
    """

    alpha: float
    threshold: float
    expected: float
    note: str = ""


def cut_by_share(
    normal: NormalScores, promised: float, items_per_batch: float, *, points_per_flag: float = 1.0
) -> Cut:
    """The cut for items that are flags of their own, or of which `points_per_flag` make one."""
    alpha = min(points_per_flag * promised / items_per_batch, HIGHEST_ALPHA)
    if normal.tail is not None and alpha <= normal.tail.share:
        expected = alpha * items_per_batch / points_per_flag
        return Cut(alpha, normal.tail.quantile(alpha), expected)
    least = 1 / (normal.n + 1)
    if normal.rule == "quantile":
        alpha = max(alpha, least)
        threshold = normal.survival.interpolated_quantile(alpha)
    else:
        threshold, alpha = normal.survival.conformal_level(alpha)
    expected = alpha * items_per_batch / points_per_flag
    return Cut(alpha, threshold, expected, _note(normal, promised, items_per_batch, expected))


def cut_by_events(
    normal: NormalScores,
    counts: Callable[[], Iterator[tuple[float, int, int]]],
    promised: float,
    items_per_batch: float,
) -> Cut:
    """The cut for points of a series, whose flags are events.

    The cut is lowered from the highest calibration score downward for as long as the events at or
    above it, brought to the length of a batch, are within the promise. It stops at the first level
    that breaks it, although lower ones may have fewer events, which have grown together.

    Args:
        normal: the calibration scores.
        counts: begins `events.iter_event_counts` over them.
        promised: events in a batch.
        items_per_batch: time points of all entities together.
    """
    batches = (normal.n + 1) / items_per_batch
    allowed = promised * batches
    level, points, events = _lowest_level(counts(), allowed, normal.n)
    if normal.tail is not None and (allowed < 1 or points == 0):
        return cut_by_share(normal, promised, items_per_batch, points_per_flag=_points_per_event(counts()))
    # Before any event was seen, the next may be the first.
    points, events = max(points, 1), max(events, 1)
    alpha = points / (normal.n + 1)
    if normal.rule == "quantile":
        threshold = normal.survival.interpolated_quantile(alpha)
    elif normal.tail is not None and level > normal.tail.start:
        threshold, alpha = level, float(normal.tail.survival(np.array([level]))[0])
    else:
        threshold, alpha = normal.survival.conformal_level(alpha)
    expected = events / batches
    return Cut(alpha, threshold, expected, _note(normal, promised, items_per_batch, expected))


def discovery_note(normal: NormalScores, rate: float, items_per_batch: float) -> str:
    """What a promised false-discovery rate cannot do with so few calibration scores, or nothing."""
    if normal.tail is not None:
        return ""
    together = int(np.ceil(items_per_batch / (rate * (normal.n + 1))))
    if together <= 1:
        return ""
    return (
        f"promised that at most {rate:g} of the flags are false; with {normal.n} calibration scores and "
        f"{items_per_batch:g} items a batch, nothing is flagged unless about {together} items of a batch are "
        f"beyond all calibration scores. {_REMEDY}"
    )


def _lowest_level(counts: Iterator[tuple[float, int, int]], allowed: float, n: int) -> tuple[float, int, int]:
    """The lowest level down to which there are never more than `allowed` events, the points at or
    above it, and the most events there were; no points where even the highest level has more."""
    chosen, points, most = np.inf, 0, 0
    for level, at_or_above, events in counts:
        if events > allowed or at_or_above > HIGHEST_ALPHA * n:
            break
        chosen, points, most = level, at_or_above, max(most, events)
    return chosen, points, most


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


def _note(normal: NormalScores, promised: float, items_per_batch: float, expected: float) -> str:
    if expected <= promised * (1 + 1e-9):
        return ""
    return (
        f"promised at most {promised:g} false flags a batch; with {normal.n} calibration scores and "
        f"{items_per_batch:g} items a batch the {normal.rule} rule can promise no less than {expected:.3g}. "
        f"{_REMEDY}"
    )
