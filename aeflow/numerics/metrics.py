"""How good scores and flags are against labels. No figure is adjusted by points, no threshold chosen here.

Where a figure is not defined (labels of one class only, nothing flagged) it is NaN.

Legend: N items or time points, F flagged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from aeflow.numerics.events import merge_flagged
from aeflow.numerics.shapes import expect_binary, expect_finite, expect_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray


def auroc(labels: NDArray[Any], scores: NDArray[np.floating[Any]]) -> float:
    """The chance that an abnormal item scores above a normal one, ties counting half.

    Args:
        labels: `(N,)`, 1 abnormal, 0 normal.
        scores: `(N,)`, finite: leave out what was not scored, and say how many.

    Returns:
        0..1; NaN where there is one class only.

    Raises:
        InputError: shapes that differ, other labels, or a score that is not finite.
    """
    abnormal = _checked(labels, scores)
    if abnormal.all() or not abnormal.any():
        return float("nan")
    return float(roc_auc_score(abnormal, scores))


def average_precision(labels: NDArray[Any], scores: NDArray[np.floating[Any]]) -> float:
    """The area under the precision-recall curve as a sum of steps; arguments as in `auroc`.

    Chance level is the share of abnormal items. NaN where there is one class only.

    Raises:
        InputError: as there.
    """
    abnormal = _checked(labels, scores)
    if abnormal.all() or not abnormal.any():
        return float("nan")
    return float(average_precision_score(abnormal, scores))


@dataclass(frozen=True)
class Confusion:
    """Flags against labels, as counts; `+` sums them over files or entities."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    def __add__(self, other: Confusion) -> Confusion:
        """The counts of both together."""
        return Confusion(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.true_negatives + other.true_negatives,
        )

    @property
    def precision(self) -> float:
        """The share of the flags that is abnormal; NaN if nothing is flagged."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """The share of the abnormal that is flagged; NaN if nothing is abnormal."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """`2 TP / (2 TP + FP + FN)`; NaN if nothing is flagged or abnormal."""
        return _ratio(
            2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives
        )

    @property
    def false_alarm_rate(self) -> float:
        """The share of the normal that is flagged; NaN if nothing is normal."""
        return _ratio(self.false_positives, self.false_positives + self.true_negatives)

    @property
    def missing_alarm_rate(self) -> float:
        """The share of the abnormal that is not flagged; NaN if nothing is abnormal."""
        return _ratio(self.false_negatives, self.false_negatives + self.true_positives)


def confusion(labels: NDArray[Any], flags: NDArray[np.bool_]) -> Confusion:
    """The counts of `flags` `(N,)` against `labels` `(N,)`, 1 abnormal, 0 normal.

    Raises:
        InputError: shapes that differ, or other labels.
    """
    expect_shape("labels", labels, (None,))
    expect_shape("flags", flags, labels.shape)
    abnormal, flagged = expect_binary("labels", labels), expect_binary("flags", flags)
    return Confusion(
        int(np.sum(abnormal & flagged)),
        int(np.sum(~abnormal & flagged)),
        int(np.sum(abnormal & ~flagged)),
        int(np.sum(~abnormal & ~flagged)),
    )


@dataclass(frozen=True)
class EventCounts:
    """Flagged against labelled events, as counts; `+` sums them over series."""

    flagged: int
    flagged_true: int
    labelled: int
    labelled_found: int

    def __add__(self, other: EventCounts) -> EventCounts:
        """The counts of both together."""
        return EventCounts(
            self.flagged + other.flagged,
            self.flagged_true + other.flagged_true,
            self.labelled + other.labelled,
            self.labelled_found + other.labelled_found,
        )

    @property
    def precision(self) -> float:
        """The share of flagged events that are true; NaN if there is none."""
        return _ratio(self.flagged_true, self.flagged)

    @property
    def recall(self) -> float:
        """The share of labelled events that are found; NaN if there is none."""
        return _ratio(self.labelled_found, self.labelled)


def event_counts(
    labels: NDArray[Any],
    event: NDArray[np.integer[Any]],
    position: NDArray[np.integer[Any]],
    entity: NDArray[np.integer[Any]],
) -> EventCounts:
    """Which flagged events overlap a labelled one, and the other way round.

    A labelled event is a run of abnormal rows of one entity at neighbouring grid points. A flagged
    event covers everything from its first to its last flagged row. A flagged event is true if it
    covers an abnormal row; a labelled one is found if a flagged event covers one of its rows. So
    several flagged events in one labelled one are all true, and find it once.

    Args:
        labels: `(N,)`, 1 abnormal, 0 normal.
        event: `(N,)` event numbers of `events.find_events`, -1 for none.
        position: `(N,)` grid index; rows are sorted by entity, then position.
        entity: `(N,)` codes.

    Raises:
        InputError: shapes that differ, other labels, or rows out of order.
    """
    expect_shape("labels", labels, (None,))
    for name, array in (("event", event), ("position", position), ("entity", entity)):
        expect_shape(name, array, labels.shape)
    abnormal = expect_binary("labels", labels)
    labelled = np.full(labels.shape, -1, dtype=np.int64)
    labelled[abnormal] = merge_flagged(position[abnormal], entity[abnormal], merge_gap=0, min_points=1)
    n_labelled = int(labelled.max(initial=-1)) + 1

    rows = np.flatnonzero(event >= 0)
    _, starts = np.unique(event[rows], return_index=True)
    first = rows[starts]
    last = rows[np.concatenate([starts[1:], [rows.size]]) - 1] if rows.size else rows
    # Abnormal rows up to each row: an event is true if the number grows within it.
    so_far = np.concatenate([[0], np.cumsum(abnormal)])
    is_true = so_far[last + 1] > so_far[first]
    covered = np.zeros(labels.size + 1, dtype=np.int64)
    covered[first] += 1
    np.subtract.at(covered, last + 1, 1)
    found = np.unique(labelled[abnormal & (np.cumsum(covered[:-1]) > 0)])
    return EventCounts(first.size, int(is_true.sum()), n_labelled, found.size)


def _checked(labels: NDArray[Any], scores: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    expect_shape("labels", labels, (None,))
    expect_shape("scores", scores, labels.shape)
    expect_finite("scores", scores)
    return expect_binary("labels", labels)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
