"""How many rows or images the batches of a history held, counted from what was staged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aeflow.data import periods

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aeflow.config import PipelineConfig
    from aeflow.data.row_chunks import RowChunk

# Every zone's offset has been a multiple of a quarter of an hour for decades, so whole quarters lie in
# one day; an older time may be counted for the day beside it, which a broad range forgives.
_QUARTER_US = 900_000_000


@dataclass(frozen=True)
class RowsPerBatch:
    """Of the batches of the history that held any: valid rows (images: files)."""

    batches: int
    """How many those are."""
    fewest: int
    median: float
    most: int


class BatchCounts:
    """Counts in memory that grows with the number of batches only."""

    def __init__(self, config: PipelineConfig) -> None:
        """Nothing is counted where the staged history does not tell: it is one batch (`by: source`),
        its entities were cut (`first_rows`, `first_share`), or a manifest parts it."""
        self._rule = config.batch
        cut = config.history.first_rows is not None or config.history.first_share is not None
        self._by = None if cut or config.batch.by in {"source", "manifest"} else config.batch.by
        self._count: Counter[str] = Counter()
        self._quarters: Counter[int] = Counter()

    @property
    def by_file(self) -> bool:
        """Whether rows are counted by the folder that their file lies in."""
        return self._by == "folder"

    def count_rows(self, chunk: RowChunk) -> None:
        """Count rows of a series; with `by_file` the chunk must hold their files."""
        if self._by == "period":
            quarter, count = np.unique(chunk.time_us // _QUARTER_US, return_counts=True)
            self._quarters.update(dict(zip(quarter.tolist(), count.tolist(), strict=True)))
        elif self.by_file:
            assert chunk.file is not None
            for value in chunk.file.value_counts():
                self._count[_folder(value["values"].as_py())] += value["counts"].as_py()

    def count_paths(self, items: Iterable[str]) -> None:
        """Count images by their paths below the root."""
        if self.by_file:
            self._count.update(_folder(item) for item in items)

    def result(self) -> RowsPerBatch | None:
        """None where nothing was counted."""
        counts = list(self._count.values()) + self._by_period()
        if not counts:
            return None
        return RowsPerBatch(len(counts), min(counts), float(np.median(counts)), max(counts))

    def _by_period(self) -> list[int]:
        if not self._quarters:
            return []
        quarters = np.array(sorted(self._quarters), dtype=np.int64)
        counts = np.array([self._quarters[q] for q in quarters.tolist()])
        starts = quarters * _QUARTER_US
        if self._rule.period == "hour":
            number = quarters // 4
        else:
            first, last = (periods.id_at(periods.from_us(int(us)), self._rule) for us in starts[[0, -1]])
            edges = [periods.bounds(i, self._rule)[0] for i in periods.ids_between(first, last, self._rule)]
            number = np.searchsorted([periods.to_us(edge) for edge in edges], starts, side="right")
        _, place = np.unique(number, return_inverse=True)
        summed: list[int] = np.bincount(place, weights=counts).astype(int).tolist()
        return summed


def _folder(path: str) -> str:
    return path.partition("/")[0]
