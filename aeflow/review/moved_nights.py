"""Flags of nights on which everything moved: which of them stand out even so.

When the data have changed for good, flags are raised since the night as a whole is not what the detector learnt.
Were all of them left out of the next training, what is now normal would be learnt without its peaks, or never. So what
is flagged in such a night is held against the night itself: what lies far outside the bulk of its scores is left out,
with a window before and after it; the rest was flagged because the bulk moved.

Legend: R rows of a report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aeflow.numerics.far_out import outer_fence
from aeflow.report.night import night_of
from aeflow.report.receipt import read_receipt
from aeflow.report.stored import SCORES_FILE, reading
from aeflow.report.summary import read_summary

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_ENOUGH_ROWS = 100
"""Entities with fewer of them are taken together."""


@dataclass(frozen=True)
class MovedNights:
    """Batches in which the bulk of the scores rose for good. since: the first of them. version: the detector that
    scored them. reach: so many rows before and after what stands out may be of the same cause: a window."""

    since: str
    version: int
    reach: int

    def holds(self, batch: str, report: Path) -> bool:
        """Whether the report of a batch is one of them.

        Raises:
            StorageError, IntegrityError: the report cannot be read.
        """
        return (
            batch >= self.since
            and read_receipt(report).detector_version == self.version
            and night_of(read_summary(report)).errors is not None
        )

    def standing_out(self, report: Path) -> dict[str, list[tuple[int, int]]]:
        """The flags that hold something which stands out: id -> its stretches, first and last microsecond since 1970,
        UTC; no stretches of images.

        Raises:
            StorageError, IntegrityError: the report cannot be read.
        """
        rows = _Rows.read(report)
        out = (rows.score > _fences(rows)) & (rows.flag >= 0)
        if rows.time_us is None:
            return {rows.flag_ids[code]: [] for code in np.unique(rows.flag[out])}
        found: dict[str, list[tuple[int, int]]] = {}
        for code in np.unique(rows.flag[out]).tolist():
            mine = np.flatnonzero(rows.flag == code)
            near = _within(out[mine], self.reach)
            begins = np.flatnonzero(np.diff(near, prepend=False) & near)
            ends = np.flatnonzero(np.diff(near, append=False) & near)
            first, last = rows.time_us[mine[begins]].tolist(), rows.time_us[mine[ends]].tolist()
            found[rows.flag_ids[code]] = list(zip(first, last, strict=True))
        return found


@dataclass(frozen=True)
class _Rows:
    """Rows of `scores.parquet`, in their order: score `(R,)` NaN where there is none, entity `(R,)` and flag `(R,)` as
    codes, -1 for no flag, time_us `(R,)` of series."""

    score: NDArray[np.float32]
    entity: NDArray[np.int64]
    flag: NDArray[np.int64]
    flag_ids: list[str]
    time_us: NDArray[np.int64] | None

    @classmethod
    def read(cls, report: Path) -> _Rows:
        path = report / SCORES_FILE
        with reading(path), pq.ParquetFile(path, pre_buffer=False) as file:
            series = "timestamp" in file.schema_arrow.names
            columns = ["score", "flag_id", *(["entity", "timestamp"] if series else [])]
            table = file.read(columns=columns)
        flag, flag_ids = _codes(table["flag_id"])
        score = table["score"].to_numpy().astype(np.float32)
        if not series:
            return cls(score, np.zeros(len(table), dtype=np.int64), flag, flag_ids, None)
        time_us = table["timestamp"].cast(pa.int64()).to_numpy()
        return cls(score, _codes(table["entity"])[0], flag, flag_ids, time_us)


def _fences(rows: _Rows) -> NDArray[np.float32]:
    """The outer fence of each row's entity `(R,)`."""
    counts = np.bincount(rows.entity[np.isfinite(rows.score)], minlength=int(rows.entity.max(initial=0)) + 1)
    enough = counts >= _ENOUGH_ROWS
    few = ~enough[rows.entity]
    fence = np.full(rows.score.size, np.inf, dtype=np.float32)
    fence[few] = outer_fence(rows.score[few])
    for code in np.flatnonzero(enough):
        mine = rows.entity == code
        fence[mine] = outer_fence(rows.score[mine])
    return fence


def _within(hit: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Which rows `(R,)` lie at most `reach` rows from one that is hit."""
    so_far = np.concatenate([[0], np.cumsum(hit)])
    row = np.arange(hit.size)
    return np.asarray(so_far[np.minimum(row + reach + 1, hit.size)] > so_far[np.maximum(row - reach, 0)])


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Codes `(R,)` in the order in which the names come up, -1 for null, and the names."""
    coded = column.combine_chunks().dictionary_encode()
    codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
    return codes.astype(np.int64), coded.dictionary.to_pylist()
