"""Volume under the surface: ranking quality of a series' scores that forgives labels that are a little off.

Paparrizos et al. 2022, "Volume Under the Surface: A New Accuracy Evaluation Measure for Time-Series
Anomaly Detection" (PVLDB 15). Around each labelled event a buffer is added in which the label fades; the
areas under the ROC and the precision-recall curve with these labels are averaged over the lengths of the
buffer.

This follows the reference implementation of TSB-AD 1.5 (`generate_curve`, version "opt"), its choices
included: 250 cuts at evenly spaced ranks, half the buffer's predicted part in the number of positives,
recall times the share of events with any point above the cut. Measured against it on 60 random series of 200
to 2000 points, with ties and buffers of up to 40 points: the largest difference was
3e-16.

Legend: L time points, K cuts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_binary, expect_finite, expect_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Volume:
    """roc: VUS-ROC; pr: VUS-PR; both 0..1, NaN where the labels are of one class."""

    roc: float
    pr: float


def volume_under_surface(
    labels: NDArray[Any],
    scores: NDArray[np.floating[Any]],
    *,
    longest_buffer_points: int,
    cuts: int = 250,
) -> Volume:
    """VUS-ROC and VUS-PR of one series, averaged over buffers of 0 .. `longest_buffer_points` points.

    Args:
        labels: `(L,)` in time order, 1 abnormal, 0 normal.
        scores: `(L,)`, finite.
        longest_buffer_points: TSB-AD takes the length of the series' period (100 where unknown). Half of
            a buffer lies on each side of an event.
        cuts: scores at which the curves are taken.

    Raises:
        InputError: shapes that differ, other labels, a score that is not finite, a negative buffer.
    """
    expect_shape("labels", labels, (None,))
    expect_shape("scores", scores, labels.shape)
    expect_finite("scores", scores)
    if longest_buffer_points < 0 or cuts < 2:
        msg = f"expected a buffer of 0 or more points and 2 or more cuts, got {longest_buffer_points} and {cuts}"
        raise InputError(msg)
    abnormal = expect_binary("labels", labels)
    if abnormal.all() or not abnormal.any():
        return Volume(float("nan"), float("nan"))
    edges = np.diff(np.concatenate([[0], abnormal.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1

    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    cut = descending[np.linspace(0, scores.size - 1, cuts).astype(np.int64)]
    n_flagged = np.searchsorted(-descending, -cut, side="right")
    ranked = _Ranked(abnormal, scores, order, cut, n_flagged, starts, ends)
    areas = [_areas(ranked, buffer) for buffer in range(longest_buffer_points + 1)]
    roc, pr = np.mean(areas, axis=0)
    return Volume(float(roc), float(pr))


@dataclass(frozen=True, eq=False)
class _Ranked:
    """What all lengths of the buffer share: labels and scores `(L,)`, the order of falling scores, the
    cuts `(K,)` and how many points each flags, first and last points of the labelled events."""

    abnormal: NDArray[np.bool_]
    scores: NDArray[np.floating[Any]]
    order: NDArray[np.int64]
    cut: NDArray[np.floating[Any]]
    n_flagged: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def _areas(ranked: _Ranked, buffer: int) -> tuple[float, float]:
    """The areas under the ROC and the precision-recall curve with one length of buffer."""
    abnormal, order, n_flagged = ranked.abnormal, ranked.order, ranked.n_flagged
    faded = _faded_labels(abnormal, ranked.starts, ranked.ends, buffer)
    hits = np.cumsum(faded[order])[n_flagged - 1]
    events_flagged = np.cumsum(abnormal[order])[n_flagged - 1]
    in_buffer = hits - events_flagged  # of what is flagged
    n_positive = abnormal.sum() + in_buffer / 2

    first, last = _merged(ranked.starts, ranked.ends, buffer // 2, abnormal.size)
    # reduceat takes [from, to) pairs when every second result is dropped; `to` may be the end.
    padded = np.append(ranked.scores, -np.inf)
    highest = np.sort(np.maximum.reduceat(padded, np.column_stack([first, last + 1]).ravel())[::2])
    existence = (highest.size - np.searchsorted(highest, ranked.cut, side="left")) / highest.size

    recall = np.minimum(hits / n_positive, 1) * existence
    false_rate = (n_flagged - hits) / (abnormal.size - n_positive)
    precision = hits / n_flagged
    x = np.concatenate([[0.0], false_rate, [1.0]])
    y = np.concatenate([[0.0], recall, [1.0]])
    roc = np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)
    pr = np.sum(np.diff(y[:-1]) * precision)
    return float(roc), float(pr)


def _faded_labels(
    abnormal: NDArray[np.bool_], starts: NDArray[np.int64], ends: NDArray[np.int64], buffer: int
) -> NDArray[np.float64]:
    """Labels that fade as `sqrt(1 - distance / buffer)` over half a buffer on each side; where two
    fades meet they add up, to 1 at most."""
    faded = abnormal.astype(np.float64)
    distance = np.arange(1, buffer // 2 + 1)
    if distance.size == 0:
        return faded
    fade = np.sqrt(1 - distance / buffer)
    for at in (ends[:, np.newaxis] + distance, starts[:, np.newaxis] - distance):
        inside = (at >= 0) & (at < faded.size)
        np.add.at(faded, at[inside], np.broadcast_to(fade, at.shape)[inside])
    return np.minimum(faded, 1.0)


def _merged(
    starts: NDArray[np.int64], ends: NDArray[np.int64], reach: int, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last points of the events with their buffers, those that touch as one."""
    apart = ends[:-1] + reach < starts[1:] - reach
    first = starts[np.concatenate([[True], apart])] - reach
    last = ends[np.concatenate([apart, [True]])] + reach
    return np.maximum(first, 0), np.minimum(last, size - 1)
