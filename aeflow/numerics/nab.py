"""The score of the Numenta Anomaly Benchmark: labelled windows, early flags worth more than late ones.

Lavin & Ahmad 2015, "Evaluating Real-time Anomaly Detection Algorithms - the Numenta Anomaly Benchmark" (ICMLA),
in the form of the benchmark's version 1: `s(y) = 2 / (1 + exp(5 y)) - 1` of the place y of a flagged row, in
widths of a window. Of the rows of a window the earliest flagged one counts, the first row of a window being at
y = -1 and worth a whole true flag; of the rows outside every flagged one counts, as far behind the end of the window
before as y says, and wholly where that is three widths away or there is none. What is found of a corpus is brought to
0 for a detector that flags nothing and 100 for one that flags the first row of each window and nothing else. One
threshold serves all series.

A score that lasts, such as that of a window which holds something odd for as long as the window is, would be a false
flag in every row of it. What is judged may therefore be alerts: one at the first flagged row, and none of the same
series for a while after.

Legend: N rows, series after series, each in the order of time; W windows; K distinct scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_binary, expect_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEEPNESS = 5.0
_LEVELS = 200
"""Thresholds that are tried where alerts are silent for a while: what each comes to is counted anew."""
_FAR_WIDTHS = 3.0
"""From here on a false flag has nothing to do with the window before it."""


@dataclass(frozen=True)
class NabProfile:
    """What a true flag, a false flag and a missed window weigh; those given are the benchmark's standard profile."""

    true_flag: float = 1.0
    false_flag: float = 0.11
    missed: float = 1.0


STANDARD = NabProfile()


@dataclass(frozen=True, eq=False)
class NabCurve:
    """The score of thresholds. threshold `(K,)`, falling; score `(K,)`, at most 100, of flagging every row that
    scores at least that much; without any flag it is 0."""

    threshold: NDArray[np.float64]
    score: NDArray[np.float64]

    def at(self, threshold: float) -> float:
        """The score of flagging every row that scores at least `threshold`."""
        flagged = int(np.searchsorted(-self.threshold, -threshold, side="right"))
        return float(self.score[flagged - 1]) if flagged else 0.0

    @property
    def best_threshold(self) -> float:
        """The highest threshold with the best score; infinite where flagging nothing is best. For other series than
        those it was found on: on its own it flatters."""
        if self.score.size == 0 or self.score.max() <= 0:
            return float("inf")
        return float(self.threshold[np.argmax(self.score)])


def nab_curve(
    labels: NDArray[Any],
    scores: NDArray[np.floating[Any]],
    series: NDArray[np.integer[Any]],
    *,
    profile: NabProfile = STANDARD,
    rest_rows: int = 0,
) -> NabCurve:
    """The benchmark's score of every threshold, over all series together; of 200 thresholds with `rest_rows`.

    Args:
        labels: `(N,)`, 1 inside a window, 0 outside; rows 1 in a row of one series are one window. The part of
            a series that is not judged (probation) is left out.
        scores: `(N,)`; NaN is never flagged.
        series: `(N,)` codes, rising.
        profile: weights.
        rest_rows: so many rows after an alert its series raises none; 0: every flagged row is one.

    Raises:
        InputError: shapes that differ, other labels, series that are not one after the other, no window, or a
            negative rest.
    """
    if rest_rows < 0:
        msg = f"rest_rows must be 0 or more, got {rest_rows}"
        raise InputError(msg)
    expect_shape("labels", labels, (None,))
    expect_shape("scores", scores, labels.shape)
    inside = expect_binary("labels", labels)
    worth, window = _worth(inside, series, profile)
    n_windows = int(window.max(initial=-1)) + 1
    if n_windows == 0:
        msg = "labels must hold at least one window to find, and every row is 0"
        raise InputError(msg)
    known = np.flatnonzero(~np.isnan(scores))
    order = known[np.argsort(-scores[known].astype(np.float64), kind="stable")]
    descending, whole = scores[order].astype(np.float64), n_windows * (profile.true_flag + profile.missed)
    last = np.flatnonzero(np.append(descending[1:] != descending[:-1], descending.size > 0))
    if rest_rows:
        ranks = np.unique(np.geomspace(1, max(order.size, 1), _LEVELS).astype(np.int64)) - 1
        last = np.unique(last[np.searchsorted(last, ranks[: order.size])]) if order.size else last
        gain = [
            _gained(_alerts(np.sort(order[: end + 1]), series, rest_rows), worth, window, profile)
            for end in last.tolist()
        ]
        return NabCurve(descending[last], 100 * np.array(gain, dtype=np.float64) / whole)
    # What each row adds, once it is flagged beside all that score higher.
    added = np.where(window[order] < 0, worth[order], 0.0)
    for number in range(n_windows):
        mine = np.flatnonzero(window[order] == number)
        added[mine] = np.diff(np.maximum.accumulate(worth[order[mine]]), prepend=-profile.missed)
    return NabCurve(descending[last], 100 * np.cumsum(added)[last] / whole)


def _alerts(
    flagged: NDArray[np.int64], series: NDArray[np.integer[Any]], rest_rows: int
) -> NDArray[np.int64]:
    """Of the flagged rows, ascending, those that raise an alert."""
    over = np.searchsorted(flagged, flagged + rest_rows, side="right")  # the next one when the rest is over,
    other = np.searchsorted(series[flagged], series[flagged], side="right")  # or of another series
    following = np.minimum(over, other).tolist()
    found, at = [], 0
    while at < len(following):
        found.append(at)
        at = following[at]
    return flagged[found]


def _gained(
    alerts: NDArray[np.int64],
    worth: NDArray[np.float64],
    window: NDArray[np.int64],
    profile: NabProfile,
) -> float:
    """What alerts come to, above flagging nothing."""
    inside = alerts[window[alerts] >= 0]
    found, first = np.unique(window[inside], return_index=True)  # of a window the earliest is worth the most
    outside = worth[alerts[window[alerts] < 0]].sum()
    return float(outside + worth[inside[first]].sum() + profile.missed * found.size)


def _worth(
    inside: NDArray[np.bool_], series: NDArray[np.integer[Any]], profile: NabProfile
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What a flag at each row is worth `(N,)`, and the window `(N,)` that it lies in, -1 outside."""
    expect_shape("series", series, inside.shape)
    step = np.diff(series.astype(np.int64))
    if (step < 0).any():
        msg = "rows must stand series after series, by rising codes, and they do not"
        raise InputError(msg, remedy="Sort them with np.lexsort((time, series)).")
    row = np.arange(inside.size)
    begins = np.concatenate([[True], step > 0])[: inside.size]  # of a series
    first = inside & (begins | ~np.concatenate([[False], inside[:-1]])[: inside.size])
    n_windows = int(first.sum())
    if n_windows == 0:
        return np.full(inside.shape, -profile.false_flag), np.full(inside.shape, -1)
    before = np.cumsum(first) - 1  # the window that began last, -1 before the first
    window = np.where(inside, before, -1)
    width = np.bincount(window[inside], minlength=n_windows)
    end = np.flatnonzero(first) + width - 1

    worth = np.full(inside.shape, -profile.false_flag)
    of = before[inside]
    y = (row[inside] - end[of] - 1) / width[of]
    worth[inside] = profile.true_flag * _sigmoid(y) / _sigmoid(np.array(-1.0))
    starts = np.maximum.accumulate(np.where(begins, row, 0))  # of the row's own series
    behind = ~inside & (before >= 0)
    behind[behind] = end[before[behind]] >= starts[behind]
    of = before[behind]
    y = np.minimum((row[behind] - end[of]) / np.maximum(width[of] - 1, 1), _FAR_WIDTHS)
    worth[behind] = profile.false_flag * np.where(y < _FAR_WIDTHS, _sigmoid(y), -1.0)
    return worth, window


def _sigmoid(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 far before the end of a window, 0 at its end, -1 far behind."""
    return 2 / (1 + np.exp(_STEEPNESS * y)) - 1
