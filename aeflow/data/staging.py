"""Rows on their way from the source to their canonical order, on disk and in fixed memory.

Cells are read once, in the order of the source, into a spool: time, entity and values of each row
that belongs to the batch, with the faults found so far. What comes out is sorted by entity, time,
file and row. Rows that came sorted are only read back; others are sorted on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa

from aeflow.data.external_sort import sort_batches
from aeflow.data.placement import FileReading, Span, choose_rows, grown
from aeflow.data.readings import Cells, Times, read_names, read_numbers
from aeflow.data.row_rules import CODE, Rows
from aeflow.data.time_formats import read_times_as
from aeflow.exceptions import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

_SHOWN = 80  # characters of a bad cell that are kept


@dataclass(frozen=True)
class Layout:
    """Which column means what."""

    channels: tuple[str, ...]
    time_column: str | None
    entity_column: str | None
    time_zone: str
    time_format: str | None = None
    """Of a table's times: `source.time_format`."""
    decimal: str = "."
    """The decimal sign of numbers as text."""
    first_us: int = 0
    """Without a time column: time of the first row, microseconds since 1970, UTC."""
    step_us: float = 0.0
    """Without a time column: from one row of an entity to the next."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns to read, each once."""
        named = [self.time_column, self.entity_column, *self.channels]
        return tuple(dict.fromkeys(name for name in named if name is not None))


@dataclass(frozen=True)
class StagedRows:
    """R rows of a spool in canonical order."""

    rows: Rows
    file: np.ndarray
    """(R,) int32: number of the file."""
    row: np.ndarray
    """(R,) int64: 1-based row in the file; 0 for the file as a whole."""
    context: np.ndarray
    """(R,) bool."""
    detail: pa.StringArray
    """(R,): what came, where a fault was found while reading; else null."""

    def only(self, mask: np.ndarray) -> StagedRows:
        """The rows where the mask, (R,) bool, is true."""
        if mask.all():
            return self
        rows = Rows(
            *(part[mask] for part in (self.rows.entity, self.rows.time_us, self.rows.values, self.rows.fault))
        )
        return StagedRows(
            rows, self.file[mask], self.row[mask], self.context[mask], self.detail.filter(pa.array(mask))
        )


class Spool:
    """Takes in the cells of one file after the other; gives back sorted rows.

    Attributes:
        folder: for unfinished files.
        files: names, in the order of their numbers.
        entities: names, in the order of their numbers.
        rows: rows taken for the batch, context not counted.
        out_of_order: of these, rows after one of a later time of the same entity in the same file.
        last_us: the last time that could be read so far; None if none.
        first_taken_us: the earliest time of a row of the batch; None if none.
        seen_us: first and last time that could be read in the source, taken or not; None if none.
        unreadable: file that could not be read to its end -> why.
        sound: whether any file could be read and has the columns that are wanted.
        complaint: what is wrong with the first that is not so; None if there is none.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        """Args: an empty folder for unfinished files, and which column means what."""
        self.files: list[str] = []
        self.entities: list[str] = []
        self.rows = 0
        self.out_of_order = 0
        self.seen_us: tuple[int, int] | None = None
        self.last_us: int | None = None
        self.first_taken_us: int | None = None
        self.unreadable: dict[str, str] = {}
        self.sound = False
        self.complaint: SourceError | None = None
        self._layout = layout
        self.folder = folder
        self._numbers: dict[str, int] = {}
        self._counts: dict[bool, np.ndarray] = {True: np.zeros(0, np.int64), False: np.zeros(0, np.int64)}
        self._numbered = np.zeros(0, np.int64)
        self._mixed: list[bool] = []
        self._sorted = True
        self._last: tuple[str, int, int, int] | None = None
        self._path = folder / "spool.arrow"
        self._sink = pa.OSFile(str(self._path), "wb")
        self._writer = pa.ipc.new_stream(self._sink, _spool_schema(len(layout.channels)))

    def __enter__(self) -> Self:
        """The spool itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close and delete the file of the spool."""
        self._close()
        self._path.unlink(missing_ok=True)

    def add_file(
        self,
        name: str,
        chunks: Iterable[Cells],
        *,
        entity: str | None = None,
        spans: tuple[Span, ...] | None = None,
        first_time_us: Callable[[], int | None] = lambda: None,
        set_aside: bool = False,
    ) -> None:
        """Take in the rows of one file.

        Args:
            name: what the staged rows call the file.
            chunks: its rows, in order.
            entity: of all rows; None: the entity column, or "" without one.
            spans: which times to take, sorted, without overlap; None: all rows.
            first_time_us: the time to which rows before the first readable one are counted; asked
                only if there are such rows.
            set_aside: a file that cannot be read to its end counts, from there on, as one row that is set
                aside, where the last time that was read lies; if none was and there are spans, it
                belongs to none of them. Either way it is in `unreadable`.

        Raises:
            SourceError: unless `set_aside`: the chunks cannot be read, the type of a column does not fit,
                or the place in time of a row is unknown.
        """
        reading = FileReading(len(self.files), name, entity, spans, first_time_us)
        self.files.append(name)
        lacking = ""
        try:
            for cells in chunks:
                self._add(reading, cells)
                lacking = cells.lacking
                self.sound = self.sound or not lacking
        except SourceError as error:
            if not set_aside:
                raise
            self._add_unreadable(reading, error)
            self.complaint = self.complaint or error
        if lacking and self.complaint is None:
            self.complaint = SourceError(
                lacking, where=name, remedy="Mend the file, or the names under source."
            )
        self.last_us = self.last_us if reading.last_us is None else reading.last_us
        self._mixed.append(reading.offsets > 0 and reading.offsets >= reading.locals)

    def count_of(self, *, context: bool) -> np.ndarray:
        """(E,) int64: rows taken of each entity, by its number."""
        return grown(self._counts[context], len(self.entities))

    def sorted_chunks(self, chunk_rows: int) -> Iterator[StagedRows]:
        """All rows, sorted by entity name, time, file and row. Nothing can be added after."""
        self._close()
        mixed = np.array([*self._mixed, False])
        with pa.OSFile(str(self._path), "rb") as file, pa.ipc.open_stream(file) as reader:
            batches = reader if self._sorted else self._sort(reader, chunk_rows)
            for batch in batches:
                if batch.num_rows:
                    yield _staged(batch, mixed)

    def _sort(self, reader: pa.RecordBatchReader, chunk_rows: int) -> Iterator[pa.RecordBatch]:
        ranks = np.empty(len(self.entities), np.int64)
        ranks[np.argsort(np.array(self.entities, dtype=object), kind="stable")] = np.arange(len(ranks))

        def keys(batch: pa.RecordBatch) -> tuple[np.ndarray, ...]:
            entity, time_us, file, row = (np.asarray(batch.column(i)) for i in range(4))
            return ranks[entity], time_us, file, row

        count = int(self.count_of(context=True).sum()) + self.rows
        return sort_batches(reader, keys, rows=count, folder=self.folder, chunk_rows=chunk_rows)

    def _add(self, reading: FileReading, cells: Cells) -> None:
        if cells.skipped_us:
            self._see(*cells.skipped_us)
            reading.last_us = cells.skipped_us[1]
        if not len(cells.row):
            return
        reading.last_row = int(cells.row[-1])
        if self._layout.time_column is None:
            entity, unnamed = self._entities(reading, cells.columns, len(cells.row))
            times = self._numbered_times(entity)
            time_us, context = times.us, np.zeros(len(cells.row), bool)
        else:
            cells, times, time_us, context = self._within_spans(reading, cells, self._layout.time_column)
            entity, unnamed = self._entities(reading, cells.columns, len(cells.row))
        columns, row, details = cells.columns, cells.row, dict(cells.malformed)
        if not len(row):
            return
        malformed = np.zeros(len(row), bool)
        malformed[list(cells.malformed)] = True
        fault = np.zeros(len(row), np.int8)
        values, bad_number = self._values(columns, reading.name, len(row))
        for reason, broken in (
            ("malformed_row", malformed),
            ("missing_column", times.readable if cells.lacking else np.zeros(len(row), bool)),
            ("no_entity", unnamed),
            ("bad_timestamp", ~times.readable),
            ("ambiguous_local_time", times.ambiguous),
            ("bad_number", bad_number.any(axis=1)),
        ):
            fault[broken & (fault == 0)] = CODE[reason]
        for i in np.flatnonzero(fault):
            if i not in details:
                told = fault[i] == CODE["missing_column"]
                details[int(i)] = (
                    cells.lacking if told else self._detail(int(fault[i]), int(i), columns, bad_number)
                )
        detail = pa.array(
            [details.get(i) for i in range(len(row))] if details else pa.nulls(len(row)), pa.string()
        )
        file = np.full(len(row), reading.number, np.int32)
        came = StagedRows(Rows(entity, time_us, values, fault), file, row, context, detail)
        keep = ~(context & (fault > 0))
        self._write(reading, came.only(keep), times.local[keep])

    def _within_spans(
        self, reading: FileReading, cells: Cells, time_column: str
    ) -> tuple[Cells, Times, np.ndarray, np.ndarray]:
        """The rows of the batch and of its context: their cells, their times as read and as placed (R,) int64
        microseconds, and which of them are context (R,) bool."""
        layout = self._layout
        times = read_times_as(
            cells.columns[time_column],
            layout.time_format,
            layout.time_zone,
            where=f"{reading.name}, {time_column}",
        )
        self._note(reading, times)
        time_us = reading.place(times, reading.name)
        if reading.spans is None:
            return cells, times, time_us, np.zeros(len(cells.row), bool)
        taken, context = choose_rows(time_us, reading.spans)
        if taken.all():
            return cells, times, time_us, context
        (chosen,) = np.nonzero(taken)
        return cells.at(chosen), times.at(chosen), time_us[chosen], context[chosen]

    def _add_unreadable(self, reading: FileReading, error: SourceError) -> None:
        """One row for what of the file could not be read; as context it counts in its own batch."""
        self.unreadable[reading.name] = error.problem
        time_us = np.array([reading.last_us or 0])
        if reading.spans is not None:
            taken, context = choose_rows(time_us, reading.spans)
            if reading.last_us is None or not taken[0] or context[0]:
                return
        no = np.zeros(1, bool)
        rows = Rows(
            np.array([self._number(reading.entity or "")], np.int32),
            time_us,
            np.full((1, len(self._layout.channels)), np.nan),
            np.array([CODE["unreadable_file"]], np.int8),
        )
        row = np.array([reading.last_row + 1 if reading.last_row else 0])
        detail = pa.array([error.problem], pa.string())
        self._write(reading, StagedRows(rows, np.array([reading.number], np.int32), row, no, detail), no)

    def _entities(
        self, reading: FileReading, columns: dict[str, pa.Array], rows: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Number of the entity (R,) int32, and whether it is missing (R,) bool."""
        column = self._layout.entity_column
        if column is None or reading.entity is not None:
            number = self._number(reading.entity or "")
            return np.full(rows, number, np.int32), np.zeros(rows, bool)
        names = read_names(columns[column], where=f"{reading.name}, {column}")
        coded = names.dictionary_encode()
        known = [self._number(name) for name in coded.dictionary.to_pylist()]
        numbers = np.array([*known, self._number("") if names.null_count else -1], np.int32)
        missing = np.array(names.is_null())
        places = np.asarray(coded.indices.fill_null(len(known)))
        return numbers[places], missing

    def _number(self, entity: str) -> int:
        if entity not in self._numbers:
            self._numbers[entity] = len(self.entities)
            self.entities.append(entity)
        return self._numbers[entity]

    def _numbered_times(self, entity: np.ndarray) -> Times:
        """Without a time column, the n-th row of an entity has the n-th time."""
        self._numbered = grown(self._numbered, len(self.entities))
        order = np.argsort(entity, kind="stable")
        counts = np.bincount(entity, minlength=len(self.entities))
        nth = np.empty(len(entity), np.int64)
        nth[order] = np.arange(len(entity)) - np.repeat(np.cumsum(counts) - counts, counts)
        nth += self._numbered[entity]
        self._numbered = self._numbered + counts
        us = self._layout.first_us + np.rint(nth * self._layout.step_us).astype(np.int64)
        no = np.zeros(len(us), bool)
        return Times(us, ~no, no, no)

    def _note(self, reading: FileReading, times: Times) -> None:
        reading.locals += int((times.local & times.readable).sum())
        reading.offsets += int((~times.local & times.readable).sum())
        if times.readable.any():
            us = times.us[times.readable]
            self._see(int(us.min()), int(us.max()))

    def _see(self, first_us: int, last_us: int) -> None:
        seen = self.seen_us or (first_us, last_us)
        self.seen_us = (min(seen[0], first_us), max(seen[1], last_us))

    def _values(self, columns: dict[str, pa.Array], where: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
        values = np.empty((rows, len(self._layout.channels)))
        bad = np.empty(values.shape, bool)
        for i, channel in enumerate(self._layout.channels):
            values[:, i], bad[:, i] = read_numbers(
                columns[channel], where=f"{where}, {channel}", decimal=self._layout.decimal
            )
        return values, bad

    def _detail(self, fault: int, i: int, columns: dict[str, pa.Array], bad: np.ndarray) -> str:
        if fault == CODE["no_entity"]:
            return f"{self._layout.entity_column} is missing"
        if fault == CODE["bad_number"]:
            column = self._layout.channels[int(np.flatnonzero(bad[i])[0])]
        else:
            column = str(self._layout.time_column)
        cell = columns[column][i].as_py()
        return f"{column} is missing" if cell is None or cell == "" else f"{column} = {str(cell)[:_SHOWN]!r}"

    def _write(self, reading: FileReading, came: StagedRows, local: np.ndarray) -> None:
        rows, own = came.rows, ~came.context
        if not len(own):
            return
        entities = len(self.entities)
        self.rows += int(own.sum())
        for is_context in (True, False):
            more = np.bincount(rows.entity[came.context == is_context], minlength=entities)
            self._counts[is_context] = grown(self._counts[is_context], entities) + more
        late = reading.late(rows.entity, rows.time_us, rows.fault == 0, entities)
        self.out_of_order += int((late & own).sum())
        timed = own & (rows.fault != CODE["unreadable_file"])
        if timed.any():
            first = int(rows.time_us[timed].min())
            self.first_taken_us = first if self.first_taken_us is None else min(self.first_taken_us, first)
        self._sorted = self._sorted and self._still_sorted(
            reading.number, rows.entity, rows.time_us, came.row
        )
        values = pa.FixedSizeListArray.from_arrays(pa.array(rows.values.ravel()), rows.values.shape[1])
        columns = [
            rows.entity,
            rows.time_us,
            came.file,
            came.row,
            came.context,
            local,
            rows.fault,
            came.detail,
            values,
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=_spool_schema(rows.values.shape[1])))

    def _still_sorted(self, file: int, entity: np.ndarray, time_us: np.ndarray, row: np.ndarray) -> bool:
        """Whether these rows, of one file and in its order, follow all before in canonical order."""
        if not len(entity):
            return True
        first = (self.entities[entity[0]], int(time_us[0]), file, int(row[0]))
        before, self._last = self._last, (self.entities[entity[-1]], int(time_us[-1]), file, int(row[-1]))
        if before is not None and first < before:
            return False
        same = entity[1:] == entity[:-1]
        if (same & (time_us[1:] < time_us[:-1])).any():
            return False
        return all(self.entities[entity[i]] < self.entities[entity[i + 1]] for i in np.flatnonzero(~same))

    def _close(self) -> None:
        if not self._sink.closed:
            self._writer.close()
            self._sink.close()


def _staged(batch: pa.RecordBatch, mixed: np.ndarray) -> StagedRows:
    columns = [np.asarray(batch.column(i)) for i in range(7)]
    entity, time_us, file, row, context, local, fault = columns
    fault = np.where((fault == 0) & local & mixed[file], CODE["mixed_time_zone"], fault).astype(np.int8)
    values = np.asarray(batch.column(8).flatten()).reshape(len(row), -1)
    return StagedRows(Rows(entity, time_us, values, fault), file, row, context, batch.column(7))


def _spool_schema(channels: int) -> pa.Schema:
    return pa.schema(
        [
            ("entity", pa.int32()),
            ("time", pa.int64()),
            ("file", pa.int32()),
            ("row", pa.int64()),
            ("context", pa.bool_()),
            ("local", pa.bool_()),
            ("fault", pa.int8()),
            ("detail", pa.string()),
            ("values", pa.list_(pa.float64(), channels)),
        ]
    )
