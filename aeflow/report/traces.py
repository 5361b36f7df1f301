"""The stretches of `scores.parquet` around events, read in fixed memory.

A stretch with more rows than a plot has room for is brought together in as many groups of following
rows: lowest and highest value, mean of what was expected. So an event of any length is shown whole.

Legend: P points of a trace, R rows, C channels shown, A all channels of the file.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, eq=False)
class Trace:
    """An event and its surroundings.

    channels: names of the C channels.
    time_us: `(P,)` int64, microseconds since 1970 in UTC, of the first row of each point.
    low, high: `(P, C)` float64, observed, in the channel's unit; NaN where missing. The same where a point
        is one row.
    expected: `(P, C)` float64; NaN where the row had no score.
    severity: `(P,)` float64, the highest in the point; NaN where no row had a score.
    flagged: `(P,)` bool, whether a row of the event is in the point.
    """

    channels: tuple[str, ...]
    time_us: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    expected: NDArray[np.float64]
    severity: NDArray[np.float64]
    flagged: NDArray[np.bool_]


def read_traces(
    scores: Path,
    shown: Mapping[str, tuple[str, ...]],
    channels: tuple[str, ...],
    *,
    context_points: int,
    max_points: int,
) -> dict[str, Trace]:
    """The traces of flags.

    Args:
        scores: a file of `schemas.SERIES_SCORES`, its rows sorted by entity and time.
        shown: flag id -> the channels to show.
        channels: all channels of the file, in its order.
        context_points: rows of the same entity before and after the event.
        max_points: P at most.
    """
    spans = _spans(scores, set(shown), context_points)
    places = {name: place for place, name in enumerate(channels)}
    growing = {
        flag: _Growing(flag, *span, np.array([places[c] for c in shown[flag]]), max_points)
        for flag, span in spans.items()
    }
    wanted = sorted(growing.values(), key=lambda trace: trace.first)
    begin = 0
    with pq.ParquetFile(scores, pre_buffer=False) as file:
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            here = [trace for trace in wanted if trace.first < begin + rows and begin < trace.end]
            if here:
                _read_group(file, group, begin, here, len(channels))
            begin += rows
    return {trace.flag: trace.finished(shown[trace.flag]) for trace in wanted}


def _read_group(
    file: pq.ParquetFile, group: int, begin: int, traces: list[_Growing], n_channels: int
) -> None:
    columns = ["timestamp", "flag_id", "severity", "observed", "expected"]
    for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=columns):
        for trace in traces:
            first, end = max(trace.first - begin, 0), min(trace.end - begin, len(batch))
            if first < end:
                trace.add(batch.slice(first, end - first), begin + first, n_channels)
        begin += len(batch)


def _spans(scores: Path, flags: set[str], context_points: int) -> dict[str, tuple[int, int]]:
    """Flag id -> first and end row of its stretch, which never leaves the entity."""
    events: dict[str, tuple[int, int]] = {}
    entity_begins: list[int] = []
    last_entity: str | None = None
    begin = 0
    with pq.ParquetFile(scores, pre_buffer=False) as file:
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=["entity", "flag_id"]):
            if not len(batch):
                continue
            entity = batch.column("entity")
            codes = entity.dictionary_encode().indices.to_numpy(zero_copy_only=False)
            changes = np.flatnonzero(np.diff(codes)) + 1
            if entity[0].as_py() != last_entity:
                entity_begins.append(begin)
            entity_begins += (begin + changes).tolist()
            last_entity = entity[len(batch) - 1].as_py()
            for flag, (first, last) in _first_and_last(batch.column("flag_id")).items():
                if flag in flags:
                    events[flag] = (events.get(flag, (begin + first, 0))[0], begin + last)
            begin += len(batch)
    entity_begins.append(begin)
    spans = {}
    for flag, (first, last) in events.items():
        entity_number = bisect_right(entity_begins, first) - 1
        low, high = entity_begins[entity_number], entity_begins[entity_number + 1]
        spans[flag] = (max(first - context_points, low), min(last + context_points + 1, high))
    return spans


def _first_and_last(names: pa.Array) -> dict[str, tuple[int, int]]:
    encoded = names.dictionary_encode()
    (rows,) = np.nonzero(np.asarray(names.is_valid()))
    codes = np.asarray(encoded.indices.drop_null())
    found, first = np.unique(codes, return_index=True)
    _, last = np.unique(codes[::-1], return_index=True)
    ids = encoded.dictionary.to_pylist()
    return {
        ids[code]: (int(rows[a]), int(rows[len(rows) - 1 - b]))
        for code, a, b in zip(found, first, last, strict=True)
    }


class _Growing:
    """A trace while its rows come in."""

    def __init__(self, flag: str, first: int, end: int, channels: NDArray[np.int64], max_points: int) -> None:
        self.flag, self.first, self.end = flag, first, end
        self._channels = channels
        self._rows = end - first
        self._points = min(self._rows, max_points)
        shape = (self._points, channels.size)
        self._time = np.full(self._points, np.iinfo(np.int64).max)
        self._low, self._high = np.full(shape, np.nan), np.full(shape, np.nan)
        self._sum, self._count = np.zeros(shape), np.zeros(shape, dtype=np.int64)
        self._severity = np.full(self._points, np.nan)
        self._flagged = np.zeros(self._points, dtype=bool)

    def add(self, batch: pa.RecordBatch, first_row: int, n_channels: int) -> None:
        """Take in rows of the stretch, of which the first has the number `first_row` in the file."""
        row = np.arange(first_row, first_row + len(batch)) - self.first
        point = row * self._points // self._rows
        np.minimum.at(self._time, point, np.asarray(batch.column("timestamp").cast(pa.int64())))
        observed = _matrix(batch.column("observed"), n_channels)[:, self._channels]
        expected = _matrix(batch.column("expected"), n_channels)[:, self._channels]
        np.fmax.at(self._severity, point, batch.column("severity").to_numpy(zero_copy_only=False))
        np.fmin.at(self._low, point, observed)
        np.fmax.at(self._high, point, observed)
        np.add.at(self._sum, point, np.nan_to_num(expected, nan=0.0))
        np.add.at(self._count, point, ~np.isnan(expected))
        mine = np.asarray(pc.fill_null(pc.equal(batch.column("flag_id"), self.flag), fill_value=False))
        np.logical_or.at(self._flagged, point, mine)

    def finished(self, channels: tuple[str, ...]) -> Trace:
        """The trace once all rows came in."""
        known = self._count > 0
        expected = np.where(known, self._sum / np.maximum(self._count, 1), np.nan)
        return Trace(channels, self._time, self._low, self._high, expected, self._severity, self._flagged)


def _matrix(lists: pa.ListArray, width: int) -> NDArray[np.float64]:
    """`(R, width)` float64, NaN for a missing value and for every value of a missing list."""
    values = np.full((len(lists), width), np.nan)
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    values[np.asarray(lists.is_valid())] = flat.reshape(-1, width)
    return values
