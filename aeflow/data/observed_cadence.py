"""How regularly the rows of each entity came, from one pass over staged rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aeflow.data.row_chunks import RowChunk

REGULAR = (0.5, 1.5)
"""A step is regular between these multiples of its entity's cadence: nearer to one step than to none
or two."""
_STEPS = 20_000  # so many first steps of an entity tell its cadence


class ObservedCadence:
    """Gathers steps from chunks in the order of the file, which is sorted by entity; holds the times of
    one entity at a time. It is the cadence of the rows, which need not be that of the grid."""

    def __init__(self) -> None:
        self._number = -1
        self._times: list[NDArray[np.int64]] = []
        self._cadences: list[float] = []
        self._regular = self._steps = 0

    def feed(self, chunk: RowChunk) -> None:
        """Take in the next rows."""
        for number, rows in chunk.runs():
            if number != self._number:
                self._finish_entity()
                self._number = number
            room = _STEPS + 1 - sum(times.size for times in self._times)
            if room > 0:  # a copy, for a view would keep its whole chunk alive
                self._times.append(chunk.time_us[rows][:room].copy())

    def result(self) -> tuple[NDArray[np.float64], float]:
        """Median step of each entity in seconds, `(E,)`, NaN for an entity of one row; and the share of
        all steps that are regular, 1.0 where there are none. Nothing can be fed after."""
        self._finish_entity()
        share = self._regular / self._steps if self._steps else 1.0
        return np.array(self._cadences, dtype=np.float64), share

    def _finish_entity(self) -> None:
        if not self._times:
            return
        steps = np.diff(np.concatenate(self._times)).astype(np.float64) / 1e6
        cadence = float(np.median(steps)) if steps.size else np.nan
        near = (steps >= REGULAR[0] * cadence) & (steps <= REGULAR[1] * cadence)
        self._cadences.append(cadence)
        self._regular += int(near.sum())
        self._steps += steps.size
        self._times = []
