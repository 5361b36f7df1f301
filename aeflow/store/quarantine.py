"""What was set aside of a batch, and why: one Parquet file a batch, of `schemas.QUARANTINE`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from aeflow.exceptions import InputError, IntegrityError
from aeflow.schemas import QUARANTINE, REASONS
from aeflow.store.files import atomic_file, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def write_quarantine(path: Path, rows: Iterable[pa.RecordBatch]) -> dict[str, int]:
    """Make `rows` the quarantine at `path`, in place of the one that was there; returns reason code
    -> rows, sorted by code. One record batch at a time is in memory. No rows make an empty table: the
    batch was looked at, and nothing was set aside.

    Raises:
        InputError: the columns are not those of `schemas.QUARANTINE`, or a reason has no known code;
            the quarantine that was there stays.
        StorageError: the file cannot be written; the quarantine that was there stays.
    """
    counts: Counter[str] = Counter()
    with atomic_file(path) as file, pq.ParquetWriter(file, QUARANTINE, compression="zstd") as writer:
        for batch in rows:
            _check(batch, path)
            counts.update(batch.column("reason").to_pylist())
            writer.write_batch(batch)
    return dict(sorted(counts.items()))


def iter_quarantine(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows of a quarantine in fixed memory, in the order they were written; none where there is
    no file.

    Raises:
        IntegrityError: the file is no Parquet file of `schemas.QUARANTINE`.
        StorageError: the file cannot be read.
    """
    if not path.exists():
        return
    with storage_errors(path, "read the quarantine"):
        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                if not file.schema_arrow.equals(QUARANTINE):
                    msg = f"{path} has not the columns of a quarantine; score the batch again"
                    raise IntegrityError(msg)
                yield from file.iter_batches()
        except pa.ArrowInvalid as error:
            msg = f"{path} is no Parquet file ({error}); score the batch again"
            raise IntegrityError(msg) from error


def read_quarantine(path: Path) -> pa.Table:
    """The whole quarantine as a table of `schemas.QUARANTINE`; empty where there is no file.

    Raises:
        IntegrityError, StorageError: as `iter_quarantine`.
    """
    return pa.Table.from_batches(list(iter_quarantine(path)), schema=QUARANTINE)


def _check(batch: pa.RecordBatch, path: Path) -> None:
    if not batch.schema.equals(QUARANTINE):
        msg = f"expected the columns {QUARANTINE.names} with their types, got {batch.schema}"
        raise InputError(msg, where=str(path))
    unknown = sorted({str(r) for r in batch.column("reason").unique().to_pylist()} - REASONS.keys())
    if unknown:
        msg = f"expected reason codes of schemas.REASONS, got {unknown}"
        raise InputError(msg, where=str(path))
