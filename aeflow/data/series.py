"""From staged rows to windows: the one door for training and for scoring series.

A chunk holds the flat grids of one or many entities, and windows are ranges of it; none is copied
out. Chunks are cut so that they never change a value: the last points of an entity are carried over
to its next chunk, far enough for a whole window and the longest bridged gap.

Legend: R rows, L grid points, N windows, C channels, T points of a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aeflow.numerics.gridding import Cadence, Grid, learn_cadence, place_on_grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from aeflow.config import SeriesPrepare

_READ_ROWS = 16_384
_CADENCE_ROWS = 20_000  # so many first rows of an entity tell its cadence


@dataclass(frozen=True)
class SeriesInputs:
    """Some rows of a batch, on the grid, with the windows that score them.

    values, observed: `(L, C)` float32 and bool, in the channel's unit, NaN where nothing is known.
    grid_entity: `(L,)` int32 into `entities`. grid_slot: `(L,)` int64 number of the grid point.
    ends: `(N,)` int64 into L: the last point of each window; those of rows before the batch as well, where it
        was asked for so many.
    row_window: `(R,)` int64 into N, or -1 where the row has no whole window before it.
    row_entity: `(R,)` int32; row_time_us: `(R,)` int64; row_slot: `(R,)` int64 number of the grid point.
    row_values: `(R, C)` float32 as they came.
    """

    entities: tuple[str, ...]
    window: int
    values: NDArray[np.float32]
    observed: NDArray[np.bool_]
    grid_entity: NDArray[np.int32]
    grid_slot: NDArray[np.int64]
    ends: NDArray[np.int64]
    row_window: NDArray[np.int64]
    row_entity: NDArray[np.int32]
    row_time_us: NDArray[np.int64]
    row_slot: NDArray[np.int64]
    row_values: NDArray[np.float32]

    @classmethod
    def without_rows(
        cls,
        *,
        entities: tuple[str, ...],
        window: int,
        values: NDArray[np.float32],
        observed: NDArray[np.bool_],
        grid_entity: NDArray[np.int32],
        grid_slot: NDArray[np.int64],
        ends: NDArray[np.int64],
    ) -> Self:
        """Windows alone, where nobody asks which rows they score."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(
            entities=entities,
            window=window,
            values=values,
            observed=observed,
            grid_entity=grid_entity,
            grid_slot=grid_slot,
            ends=ends,
            row_window=nothing,
            row_entity=nothing.astype(np.int32),
            row_time_us=nothing,
            row_slot=nothing,
            row_values=np.empty((0, values.shape[1]), dtype=np.float32),
        )


@dataclass(frozen=True)
class Cadences:
    """The grid of each known entity, and of those not seen before."""

    known: Mapping[str, Cadence]
    default: Cadence

    def of(self, entity: str) -> Cadence:
        """The entity's own grid, or the one for new entities."""
        return self.known.get(entity, self.default)


def learn_cadences(rows: Path, prepare: SeriesPrepare) -> Cadences:
    """The cadence of every entity of a staged history; the median of them serves new entities.

    Where `cadence_seconds` is configured it holds for all, and only each entity's phase is learnt.
    """
    step = None if prepare.cadence_seconds is None else round(prepare.cadence_seconds * 1e6)
    known: dict[str, Cadence] = {}
    times: dict[str, list[NDArray[np.int64]]] = {}
    for entity, time, _values, _context in _entity_runs(rows):
        have = times.setdefault(entity, [])
        if sum(t.size for t in have) < _CADENCE_ROWS:
            have.append(time)
    for entity, parts in times.items():
        cadence = learn_cadence(np.concatenate(parts), step_us=step)
        if cadence is not None:
            known[entity] = cadence
    steps = sorted(c.step_us for c in known.values())
    default = step or (steps[len(steps) // 2] if steps else 1_000_000)
    return Cadences(known, Cadence(default))


def iter_series(
    rows: Path,
    prepare: SeriesPrepare,
    cadences: Cadences,
    *,
    chunk_rows: int = 16_384,
    look_back: int = 0,
) -> Iterator[SeriesInputs]:
    """The staged rows of a batch as chunks of about `chunk_rows` rows, in the order of the file.

    Each row that is not context comes exactly once. No value depends on `chunk_rows`. Of `look_back` grid
    points before the first row of a chunk the windows come too, as far as their rows are there.
    """
    pieces: list[tuple[str, _Piece]] = []
    pending: tuple[str, _Piece] | None = None  # the entity whose rows may go on
    ready_rows = 0  # context too: of thousands of entities with a few rows each it is nearly everything
    for entity, time, values, context in _entity_runs(rows):
        piece = _Piece(time, values, context)
        if pending is not None and pending[0] == entity:
            pending = (entity, pending[1].joined(piece))
        else:
            if pending is not None:
                pieces.append(pending)
                ready_rows += pending[1].time_us.size
            pending = (entity, piece)
        if ready_rows + pending[1].new_rows >= chunk_rows:
            now, later = pending[1].cut(prepare, cadences.of(entity), look_back)
            if pieces or now.new_rows:
                yield _inputs([*pieces, (entity, now)], prepare, cadences, look_back)
            pieces, pending, ready_rows = [], (entity, later), 0
    if pending is not None:
        pieces.append(pending)
    if pieces:
        yield _inputs(pieces, prepare, cadences, look_back)


@dataclass(frozen=True)
class _Piece:
    """Consecutive rows of one entity; context rows only help to score those that follow."""

    time_us: NDArray[np.int64]
    values: NDArray[np.float64]
    context: NDArray[np.bool_]

    @property
    def new_rows(self) -> int:
        return int((~self.context).sum())

    def at(self, rows: slice) -> _Piece:
        return _Piece(self.time_us[rows], self.values[rows], self.context[rows])

    def joined(self, other: _Piece) -> _Piece:
        return _Piece(
            np.concatenate([self.time_us, other.time_us]),
            np.concatenate([self.values, other.values]),
            np.concatenate([self.context, other.context]),
        )

    def cut(self, prepare: SeriesPrepare, cadence: Cadence, look_back: int) -> tuple[_Piece, _Piece]:
        """What can be scored now, and what must wait: the rows of the last grid point (more rows of
        it may come), preceded by the context that they and all later rows need."""
        slots = cadence.slots(self.time_us, prepare.resample)
        last = int(slots[-1])
        ready = int(np.searchsorted(slots, last))
        reach = context_points(prepare) + look_back
        keep = int(np.searchsorted(slots, last - reach))
        context = self.context[keep:].copy()
        context[: ready - keep] = True
        now = _Piece(self.time_us[:ready], self.values[:ready], self.context[:ready])
        return now, _Piece(self.time_us[keep:], self.values[keep:], context)


def context_points(prepare: SeriesPrepare) -> int:
    """How many grid points before a row can bear on its score: a window, and the longest gap that
    is bridged at the window's beginning."""
    return prepare.window_points - 1 + prepare.max_gap_points + 1


@dataclass(frozen=True)
class HistoryGrid:
    """A whole history on the grid, entity after entity, each in time order.

    values, observed: `(L, C)`; entity: `(L,)` int32 into `entities`; segment_start: `(L,)` index of
    the first point of each point's segment; has_row: `(L,)` whether a row stands at the point; slot:
    `(L,)` number of the grid point; time_us: `(L,)` time of the grid point.
    """

    entities: tuple[str, ...]
    values: NDArray[np.float32]
    observed: NDArray[np.bool_]
    entity: NDArray[np.int32]
    segment_start: NDArray[np.int64]
    has_row: NDArray[np.bool_]
    slot: NDArray[np.int64]
    time_us: NDArray[np.int64]

    def window_ends(
        self, window: int, *, part: NDArray[np.bool_], inside: bool, stride: int = 1
    ) -> NDArray[np.int64]:
        """Ends of the windows whose last point is a row of `part` `(L,)`, every `stride` points.

        inside: the whole window must lie in the part; else only its last point.
        """
        index = np.arange(self.slot.size)
        fits = (index - self.segment_start >= window - 1) & part & self.has_row
        if inside:
            outside = np.concatenate([[0], np.cumsum(~part)])
            begin = np.maximum(index - window + 1, 0)
            fits &= outside[index + 1] - outside[begin] == 0
        return np.flatnonzero(fits & ((self.slot % stride) == 0))

    def inputs_at(self, ends: NDArray[np.int64], window: int) -> SeriesInputs:
        """The windows of `window` points that end at the points `ends` `(N,)`, as a detector takes them."""
        return SeriesInputs.without_rows(
            entities=self.entities,
            window=window,
            values=self.values,
            observed=self.observed,
            grid_entity=self.entity,
            grid_slot=self.slot,
            ends=ends,
        )


def history_grid(rows: Path, prepare: SeriesPrepare, cadences: Cadences, channels: int) -> HistoryGrid:
    """The staged history on the grid, in memory (4 bytes a value).

    Returns an empty grid (L = 0) where there are no rows.
    """
    by_entity: dict[str, list[_Piece]] = {}
    for entity, time, values, context in _entity_runs(rows):
        by_entity.setdefault(entity, []).append(_Piece(time, values, context))
    names = tuple(by_entity)
    grids: list[Grid] = []
    times: list[NDArray[np.int64]] = []
    for name in names:
        pieces = by_entity.pop(name)
        time = np.concatenate([p.time_us for p in pieces])
        cadence = cadences.of(name)
        grid = place_on_grid(
            cadence.slots(time, prepare.resample),
            np.concatenate([p.values for p in pieces]),
            max_gap=prepare.max_gap_points,
            resample=prepare.resample,
        )
        grids.append(grid)
        times.append(grid.slot * cadence.step_us + cadence.phase_us)
    offsets = np.cumsum([0, *(g.slot.size for g in grids)])[:-1]
    has_row = [np.zeros(g.slot.size, dtype=bool) for g in grids]
    for mark, grid in zip(has_row, grids, strict=True):
        mark[grid.point_of_row] = True
    return HistoryGrid(
        entities=names,
        values=_stack([g.values for g in grids], (0, channels), np.float32),
        observed=_stack([g.observed for g in grids], (0, channels), np.bool_),
        entity=np.repeat(np.arange(len(grids), dtype=np.int32), [g.slot.size for g in grids]),
        segment_start=_stack(
            [g.segment_start + o for g, o in zip(grids, offsets, strict=True)], (0,), np.int64
        ),
        has_row=_stack(has_row, (0,), np.bool_),
        slot=_stack([g.slot for g in grids], (0,), np.int64),
        time_us=_stack(times, (0,), np.int64),
    )


def windows_at(
    rows: Path,
    prepare: SeriesPrepare,
    cadences: Cadences,
    wanted: Mapping[str, NDArray[np.int64]],
    *,
    chunk_windows: int = 512,
    look_back: int = 0,
) -> Iterator[SeriesInputs]:
    """The windows that end at some rows of a staged batch, `wanted`: entity -> their times in microseconds,
    sorted. They come in the order of the file, one row each, just as `iter_series` has them; nothing else
    is laid on a grid. Of `look_back` grid points before each of the rows the windows come too."""
    pieces: list[tuple[str, _Piece]] = []
    pending: tuple[str, _Piece, NDArray[np.int64]] | None = None
    for entity, time, values, context in _entity_runs(rows):
        piece, times = _Piece(time, values, context), wanted.get(entity, np.empty(0, dtype=np.int64))
        if pending is not None and pending[0] == entity:
            piece, times = pending[1].joined(piece), pending[2]
        elif pending is not None:
            pieces += _ending_at(*pending, prepare, cadences, look_back)
        if not times.size:
            pending = (entity, piece.at(slice(0, 0)), times)
            continue
        # More rows of the last grid point may come: what ends there waits, with its context.
        slots = cadences.of(entity).slots(piece.time_us, prepare.resample)
        settled = times < piece.time_us[np.searchsorted(slots, slots[-1])]
        pieces += _ending_at(entity, piece, times[settled], prepare, cadences, look_back)
        keep = int(np.searchsorted(slots, slots[-1] - context_points(prepare) - look_back))
        pending = (entity, piece.at(slice(keep, None)), times[~settled])
        while len(pieces) >= chunk_windows:
            yield _inputs(pieces[:chunk_windows], prepare, cadences, look_back)
            pieces = pieces[chunk_windows:]
    if pending is not None:
        pieces += _ending_at(*pending, prepare, cadences, look_back)
    for begin in range(0, len(pieces), chunk_windows):
        yield _inputs(pieces[begin : begin + chunk_windows], prepare, cadences, look_back)


def _ending_at(
    entity: str,
    piece: _Piece,
    times: NDArray[np.int64],
    prepare: SeriesPrepare,
    cadences: Cadences,
    look_back: int,
) -> Iterator[tuple[str, _Piece]]:
    """For each of the times the rows that bear on its window, and on those of `look_back` grid points before; all
    others of them as context."""
    if not times.size:
        return
    slots = cadences.of(entity).slots(piece.time_us, prepare.resample)
    for row in np.searchsorted(piece.time_us, times):
        begin = int(np.searchsorted(slots, slots[row] - context_points(prepare) - look_back))
        part = piece.at(slice(begin, int(np.searchsorted(slots, slots[row], side="right"))))
        context = np.ones(part.time_us.size, dtype=bool)
        context[row - begin] = False
        # Copies: a view would keep all rows that were read with it, and events lie all over a batch.
        yield entity, _Piece(part.time_us.copy(), part.values.copy(), context)


def _inputs(
    pieces: list[tuple[str, _Piece]], prepare: SeriesPrepare, cadences: Cadences, look_back: int = 0
) -> SeriesInputs:
    window = prepare.window_points
    channels = pieces[0][1].values.shape[1]
    values, observed, grid_entity, grid_slot, ends = [], [], [], [], []
    row_window, row_entity, row_time, row_slot, row_values = [], [], [], [], []
    points = windows = 0
    for code, (entity, piece) in enumerate(pieces):
        slots = cadences.of(entity).slots(piece.time_us, prepare.resample)
        grid = place_on_grid(slots, piece.values, max_gap=prepare.max_gap_points, resample=prepare.resample)
        new = ~piece.context
        # One window for each grid point that stands for a new row and has a whole window before it.
        wanted = np.zeros(grid.slot.size, dtype=bool)
        wanted[grid.point_of_row[new]] = True
        if look_back and new.any():
            before = grid.point_of_row[~new]
            wanted[before[grid.slot[before] >= grid.slot[wanted.argmax()] - look_back]] = True
        wanted &= grid.has_window(window)
        number = np.where(wanted, windows + np.cumsum(wanted) - 1, -1)

        values.append(grid.values)
        observed.append(grid.observed)
        grid_entity.append(np.full(grid.slot.size, code, dtype=np.int32))
        grid_slot.append(grid.slot)
        ends.append(points + np.flatnonzero(wanted))
        row_window.append(number[grid.point_of_row[new]])
        row_entity.append(np.full(int(new.sum()), code, dtype=np.int32))
        row_time.append(piece.time_us[new])
        row_slot.append(slots[new])
        row_values.append(piece.values[new].astype(np.float32))
        points += grid.slot.size
        windows += int(wanted.sum())
    return SeriesInputs(
        entities=tuple(name for name, _ in pieces),
        window=window,
        values=_stack(values, (0, channels), np.float32),
        observed=_stack(observed, (0, channels), np.bool_),
        grid_entity=_stack(grid_entity, (0,), np.int32),
        grid_slot=_stack(grid_slot, (0,), np.int64),
        ends=_stack(ends, (0,), np.int64),
        row_window=_stack(row_window, (0,), np.int64),
        row_entity=_stack(row_entity, (0,), np.int32),
        row_time_us=_stack(row_time, (0,), np.int64),
        row_slot=_stack(row_slot, (0,), np.int64),
        row_values=_stack(row_values, (0, channels), np.float32),
    )


def _stack(parts: list[NDArray], empty: tuple[int, ...], dtype: type) -> NDArray:  # type: ignore[type-arg]
    return np.concatenate(parts) if parts else np.empty(empty, dtype=dtype)


def _entity_runs(
    rows: Path,
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]]:
    """Runs of consecutive rows of one entity: name, times (R,), values (R, C), context (R,)."""
    with pq.ParquetFile(rows, pre_buffer=False) as file:
        for batch in file.iter_batches(_READ_ROWS, columns=["entity", "time", "values", "context"]):
            yield from _runs_of(batch)


def _runs_of(
    batch: pa.RecordBatch,
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]]:
    entity = batch.column("entity").dictionary_encode()
    codes = entity.indices.to_numpy(zero_copy_only=False)
    time = batch.column("time").cast(pa.int64()).to_numpy(zero_copy_only=False)
    values = batch.column("values")
    flat = values.flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1)
    context = batch.column("context").to_numpy(zero_copy_only=False).astype(bool)
    cuts = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    for begin, end in zip([0, *cuts], [*cuts, len(codes)], strict=True):
        if end > begin:
            name = entity.dictionary[int(codes[begin])].as_py()
            yield name, time[begin:end], flat[begin:end], context[begin:end]
