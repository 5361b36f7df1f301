"""Rows at uneven times to points of a regular grid, with what was observed kept apart.

Everything here looks back only, so that a point's value never depends on rows that come later:
a missing value is bridged by the last one seen, and where several rows fall on one point the first
counts (or, with `mean`, all rows of that step, which ends before the next begins).

Legend: R rows, L grid points, C channels. Times in microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Resample = Literal["nearest", "mean"]


@dataclass(frozen=True)
class Cadence:
    """The regular steps of one entity: points lie at `phase_us + k * step_us`."""

    step_us: int
    phase_us: int = 0

    def slots(self, time_us: NDArray[np.int64], resample: Resample) -> NDArray[np.int64]:
        """The number k of the grid point of each row at `time_us` `(R,)`, `(R,)` int64.

        nearest: the closest point; mean: the step `[k, k + 1) * step_us` that holds the row, counted
        from the epoch so that steps begin where hours and days begin.
        """
        if resample == "mean":
            return np.floor_divide(time_us, self.step_us)
        return np.floor_divide(time_us - self.phase_us + self.step_us // 2, self.step_us)


def learn_cadence(time_us: NDArray[np.int64], *, step_us: int | None = None) -> Cadence | None:
    """The cadence of rows at `time_us` `(R,)`, rising: the median step, and the phase that rows gather around.

    With `step_us` only the phase is learnt. None where fewer than two times differ.
    """
    if step_us is None:
        steps = np.diff(time_us)
        steps = steps[steps > 0]
        if steps.size == 0:
            return None
        step_us = max(1, round(float(np.median(steps))))
    # The phase is an angle: its mean direction does not mind where the circle is cut.
    angle = 2 * np.pi * (time_us % step_us) / step_us
    direction = np.angle(np.exp(1j * angle).mean()) % (2 * np.pi)
    return Cadence(step_us, round(float(direction) / (2 * np.pi) * step_us) % step_us)


@dataclass(frozen=True)
class Grid:
    """One entity on its grid; only points within segments exist.

    values: `(L, C)` float32 in the channel's unit; bridged where missing for at most the allowed gap,
        else NaN.
    observed: `(L, C)` bool.
    slot: `(L,)` int64, number of the grid point.
    segment_start: `(L,)` int64, index of the first point of the segment that the point belongs to.
    point_of_row: `(R,)` int64, index of the grid point that stands for each row.
    """

    values: NDArray[np.float32]
    observed: NDArray[np.bool_]
    slot: NDArray[np.int64]
    segment_start: NDArray[np.int64]
    point_of_row: NDArray[np.int64]

    def has_window(self, window: int) -> NDArray[np.bool_]:
        """Whether the window of `window` points that ends at each point lies in one segment, `(L,)`."""
        return np.asarray(np.arange(self.slot.size) - self.segment_start >= window - 1)


def place_on_grid(
    slots: NDArray[np.int64], values: NDArray[np.float64], *, max_gap: int, resample: Resample
) -> Grid:
    """Lay the rows of one entity on its grid.

    Args:
        slots: `(R,)` non-decreasing grid point numbers, from `Cadence.slots`.
        values: `(R, C)` with NaN where missing.
        max_gap: so many missing points are bridged; a longer gap begins a new segment.
        resample: which rows of a point count, as in `Cadence.slots`.
    """
    rows, channels = values.shape
    first_of_slot = np.ones(rows, dtype=bool)
    first_of_slot[1:] = slots[1:] != slots[:-1]
    starts = np.flatnonzero(first_of_slot)
    occupied = slots[starts]

    step = np.diff(occupied, prepend=occupied[:1])
    new_segment = step > max_gap + 1
    # Within a segment every point exists; between segments none does.
    advance = np.where(new_segment, 1, step)
    advance[:1] = 0
    point = np.cumsum(advance)
    length = int(point[-1]) + 1 if rows else 0

    slot = np.zeros(length, dtype=np.int64)
    slot[point] = occupied
    has_row = np.zeros(length, dtype=bool)
    has_row[point] = True
    last = np.maximum.accumulate(np.where(has_row, np.arange(length), 0))
    slot = slot[last] + np.arange(length) - last

    is_start = np.zeros(length, dtype=bool)
    is_start[point[new_segment]] = True
    is_start[:1] = True
    segment_start = np.maximum.accumulate(np.where(is_start, np.arange(length), 0))

    raw = np.full((length, channels), np.nan)
    raw[point] = values[starts] if resample == "nearest" else _mean_of_slots(values, starts)
    observed = ~np.isnan(raw)
    held = _hold(raw, observed, segment_start, max_gap)
    point_of_row = point[np.cumsum(first_of_slot) - 1] if rows else np.empty(0, dtype=np.int64)
    return Grid(held.astype(np.float32), observed, slot, segment_start, point_of_row)


def _mean_of_slots(values: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of the observed values of each run of rows that begins at `starts`; NaN where none is."""
    known = ~np.isnan(values)
    count = np.add.reduceat(known, starts, axis=0, dtype=np.int64)
    total = np.add.reduceat(np.where(known, values, 0.0), starts, axis=0)
    mean: NDArray[np.float64] = np.full(total.shape, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def _hold(
    raw: NDArray[np.float64],
    observed: NDArray[np.bool_],
    segment_start: NDArray[np.int64],
    max_gap: int,
) -> NDArray[np.float64]:
    """Each missing value replaced by the channel's last one, at most `max_gap` points back and never
    from another segment."""
    if observed.all():
        return raw
    index = np.arange(raw.shape[0])[:, None]
    last = np.maximum.accumulate(np.where(observed, index, -1), axis=0)
    reachable = (last >= segment_start[:, None]) & (index - last <= max_gap)
    held = np.take_along_axis(raw, np.maximum(last, 0), axis=0)
    return np.where(reachable, held, np.nan)
