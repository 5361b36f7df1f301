"""From sorted rows to the files of an intake: what is valid, what is set aside, and the digest."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aeflow.data.intake import QUARANTINE_FILE, ROWS_FILE
from aeflow.data.left_out import NOTHING
from aeflow.data.row_rules import FAULTS, LastKept, RowRules, Rows
from aeflow.exceptions import AccountingError
from aeflow.schemas import QUARANTINE, TIME

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from aeflow.data.left_out import LeftOut
    from aeflow.data.staging import Spool, StagedRows

_BAD_TIMES = frozenset(
    FAULTS.index(reason) for reason in ("unreadable_file", "malformed_row", "bad_timestamp")
)


def rows_schema(channels: Sequence[str]) -> pa.Schema:
    """`rows.parquet`: one row a reading; `values` is (C,) float64 in the order of `channels`, which
    the metadata names, NaN where missing."""
    return pa.schema(
        [
            ("entity", pa.string()),
            ("time", TIME),
            ("file", pa.string()),
            ("row", pa.int64()),
            ("context", pa.bool_()),
            ("values", pa.list_(pa.float64(), len(channels))),
        ],
        metadata={"aeflow.table": "rows", "aeflow.channels": "\n".join(channels)},
    )


@dataclass(frozen=True)
class Cut:
    """Which of an entity's sorted rows are taken at all."""

    first_rows: int | None = None
    """Only so many from the beginning."""
    first_share: float | None = None
    """Only this share of them, rounded down."""
    last_context: int | None = None
    """Of the context, only so many rows just before the batch."""

    def bounds(self, context: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and last (exclusive) place that is taken among an entity's rows, (E,) int64 each.

        Args:
            context: (E,) int64, rows of context; they come first.
            own: (E,) int64, rows of the batch.
        """
        first = np.zeros_like(context)
        if self.last_context is not None:
            first = np.maximum(context - self.last_context, 0)
        taken = own
        if self.first_share is not None:
            taken = np.minimum(taken, np.floor(own * self.first_share + 1e-9).astype(np.int64))
        if self.first_rows is not None:
            taken = np.minimum(taken, self.first_rows)
        return first, context + taken


@dataclass(frozen=True)
class Staged:
    """What lies in the folder; the fields mean what they mean in `Intake`."""

    folder: Path
    rows_in: int
    valid: int
    quarantined: dict[str, int]
    context_rows: int
    digest: str
    entities: tuple[str, ...]


def stage(
    spool: Spool,
    folder: Path,
    batch: str,
    rules: RowRules,
    *,
    cut: Cut,
    chunk_rows: int,
    left_out: LeftOut = NOTHING,
) -> Staged:
    """Judge the rows of the spool and write `rows.parquet` and `quarantine.parquet` into `folder`. Rows that
    are `left_out` are set aside although they are fit.

    Raises:
        AccountingError: a row that was read is neither valid, nor set aside, nor cut off.
        OSError: the folder cannot be written.
    """
    context_count = spool.count_of(context=True)
    first, last = cut.bounds(context_count, spool.count_of(context=False))
    rows_in = int(np.maximum(last - context_count, 0).sum())
    digest, before = _Digest(rules.channels), _Digest(rules.channels)
    names = np.array([*spool.entities, ""], dtype=object)
    files = pa.array(spool.files, pa.string())
    quarantined: Counter[str] = Counter()
    valid = context_rows = 0
    kept = LastKept()
    entity_before, place_before = -1, 0
    with (
        _Writer(folder / ROWS_FILE, rows_schema(rules.channels)) as rows,
        _Writer(folder / QUARANTINE_FILE, QUARANTINE) as aside,
    ):
        for chunk in spool.sorted_chunks(chunk_rows):
            entity = chunk.rows.entity
            place = _places(entity, entity_before, place_before)
            entity_before, place_before = int(entity[-1]), int(place[-1]) + 1
            taken = (place >= first[entity]) & (place < last[entity])
            taken_chunk = chunk if taken.all() else chunk.only(taken)
            fault, kept = rules.judge(taken_chunk.rows, kept)
            fault = np.where(fault > 0, fault, left_out.faults(taken_chunk.rows, names))
            fit = taken_chunk.only(fault == 0)
            out = (fault > 0) & ~taken_chunk.context
            rows.write(_valid_rows(fit, names, files))
            digest.update(fit.only(~fit.context).rows, names)
            before.update(fit.only(fit.context).rows, names)
            context_rows += int(fit.context.sum())
            valid += int((~fit.context).sum())
            quarantined.update(FAULTS[code] for code in fault[out])
            if out.any():
                aside.write(
                    _set_aside(
                        taken_chunk.only(out), fault[out], batch=batch, rules=rules, names=names, files=files
                    )
                )
    if valid + quarantined.total() != rows_in:
        msg = f"batch {batch}: {rows_in} rows came in, {valid} are valid, {quarantined.total()} set aside"
        raise AccountingError(msg)
    own = digest.hex()
    # What the first scores look back at decides them too; without any, the digest is that of the rows.
    whole = hashlib.sha256(f"{own}\0{before.hex()}".encode()).hexdigest() if context_rows else own
    return Staged(
        folder, rows_in, valid, dict(sorted(quarantined.items())), context_rows, whole, digest.entities
    )


def _places(entity: np.ndarray, entity_before: int, place_before: int) -> np.ndarray:
    """Which row of its entity each is, counted from 0: (R,) int64."""
    starts = np.flatnonzero(np.append([True], entity[1:] != entity[:-1]))
    lengths = np.diff(np.append(starts, len(entity)))
    place = np.arange(len(entity)) - np.repeat(starts, lengths)
    if entity[0] == entity_before:
        place[: lengths[0]] += place_before
    return place


def _valid_rows(fit: StagedRows, names: np.ndarray, files: pa.StringArray) -> pa.RecordBatch:
    values = fit.rows.values
    columns = [
        pa.array(names[fit.rows.entity], pa.string()),
        pa.array(fit.rows.time_us).cast(TIME),
        files.take(pa.array(fit.file)),
        fit.row,
        fit.context,
        pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1]),
    ]
    return pa.record_batch(columns, names=["entity", "time", "file", "row", "context", "values"])


def _set_aside(
    out: StagedRows,
    fault: np.ndarray,
    *,
    batch: str,
    rules: RowRules,
    names: np.ndarray,
    files: pa.StringArray,
) -> pa.RecordBatch:
    told = [
        rules.explain(int(code), values, int(us))
        for code, values, us in zip(fault, out.rows.values, out.rows.time_us, strict=True)
    ]
    details = [known or own for known, (_, own) in zip(out.detail.to_pylist(), told, strict=True)]
    no_time = np.isin(fault, list(_BAD_TIMES))
    columns = [
        pa.repeat(batch, len(fault)),
        pa.array(names[out.rows.entity], pa.string()),
        files.take(pa.array(out.file)),
        pa.array(out.row, mask=out.row == 0),
        pa.array(out.rows.time_us, mask=no_time).cast(TIME),
        pa.array([FAULTS[code] for code in fault], pa.string()),
        pa.array([rule for rule, _ in told], pa.string()),
        pa.array(details, pa.string()),
    ]
    return pa.record_batch(columns, names=QUARANTINE.names)


class _Digest:
    """sha256 over the valid rows, entity by entity, whatever the chunks."""

    def __init__(self, channels: tuple[str, ...]) -> None:
        self.entities: tuple[str, ...] = ()
        self._whole = hashlib.sha256("\0".join(channels).encode())
        self._rows = hashlib.sha256()

    def update(self, rows: Rows, names: np.ndarray) -> None:
        """Add rows in canonical order; `names` are those of the entities by number."""
        values = np.where(np.isnan(rows.values), np.nan, rows.values + 0.0)  # one NaN, one zero
        table = np.column_stack([rows.time_us.view(np.float64), values]).astype("<f8", copy=False)
        if not len(table):
            return
        edges = np.flatnonzero(np.append([True], rows.entity[1:] != rows.entity[:-1]))
        for start, end in zip(edges, np.append(edges[1:], len(table)), strict=True):
            entity = str(names[rows.entity[start]])
            if not self.entities or entity != self.entities[-1]:
                self._finish_entity()
                self.entities = (*self.entities, entity)
            self._rows.update(np.ascontiguousarray(table[start:end]).tobytes())

    def hex(self) -> str:
        """The digest. Nothing can be added after."""
        self._finish_entity()
        return self._whole.hexdigest()

    def _finish_entity(self) -> None:
        if self.entities:
            self._whole.update(self.entities[-1].encode() + b"\0" + self._rows.digest())
            self._rows = hashlib.sha256()


class _Writer:
    """A Parquet file that is there, with its schema, even if no row is written."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        words = [field.name for field in schema if pa.types.is_string(field.type)]
        self._writer = pq.ParquetWriter(path, schema, compression="snappy", use_dictionary=words)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def write(self, rows: pa.RecordBatch) -> None:
        """Write the rows, if there are any."""
        if rows.num_rows:
            self._writer.write_batch(pa.record_batch(rows.columns, schema=self._schema))
