"""A part of a staged batch as one table that fits in memory: what the suite of expectations looks at.

Drawn are whole blocks of consecutive rows, evenly spread over the batch, so that the steps from row to
row stay meaningful. No chance is in it: the same batch gives the same rows.

Legend: R rows, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aeflow.data.image_intake import items_path
from aeflow.exceptions import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aeflow.data.intake import Intake
    from aeflow.data.reference import Reference

MAX_ROWS = 20_000
MAX_IMAGES = 10_000
"""Fewer, since each has names and a digest: in pandas a kilobyte and more."""
BLOCK_ROWS = 1_000
_READ_ROWS = 16_384


@dataclass(frozen=True)
class SeriesColumns:
    """Names of the columns beside the channels; one that a channel has gets an underscore.

    step_seconds: since the entity's row before; null where that is not known.
    step_cadences: the same as a multiple of the entity's cadence; null without a reference.
    """

    entity: str
    time: str
    step_seconds: str
    step_cadences: str

    @classmethod
    def beside(cls, channels: Sequence[str]) -> SeriesColumns:
        """The names beside these channels."""
        names = []
        for wanted in ("entity", "time", "step_seconds", "step_cadences"):
            name = wanted
            while name in channels:
                name += "_"
            names.append(name)
        return cls(*names)


def sample_series(intake: Intake, reference: Reference | None, *, max_rows: int = MAX_ROWS) -> pa.Table:
    """Valid rows of a batch in their order: `SeriesColumns`, then one float64 column for each channel,
    NaN where missing. All rows, or where there are more about `max_rows` (context among them is left out).

    Raises:
        StorageError: the staged rows cannot be read.
    """
    names = SeriesColumns.beside(intake.channels)
    rows, place, drawn = draw_blocks(
        intake.rows_path, ("entity", "time", "context", "values"), max_rows=max_rows
    )
    coded = rows.column("entity").combine_chunks().dictionary_encode()
    entity = coded.indices.to_numpy(zero_copy_only=False)
    time_us = rows.column("time").cast(pa.int64()).to_numpy()
    follows = (np.diff(place, prepend=-2) == 1) & (np.diff(entity, prepend=-1) == 0)
    step = np.where(follows, np.diff(time_us, prepend=0) / 1e6, np.nan)
    cadence = np.full(len(coded.dictionary), np.nan)
    if reference is not None and reference.series is not None:
        cadence = reference.series.cadence_of(coded.dictionary.to_pylist())
    values = rows.column("values").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    by_channel = values.reshape(len(place), len(intake.channels)).T
    columns = {
        names.entity: rows.column("entity"),
        names.time: rows.column("time"),
        names.step_seconds: pa.array(step),
        names.step_cadences: pa.array(step / cadence[entity]),
        **{channel: pa.array(by_channel[c]) for c, channel in enumerate(intake.channels)},
    }
    own = drawn & ~rows.column("context").to_numpy().astype(bool)
    return pa.table(columns).filter(pa.array(own))


def sample_images(intake: Intake, *, max_rows: int = MAX_IMAGES) -> pa.Table:
    """The staged table of a batch (`image_intake.ITEMS`): all of it, or where there are more about
    `max_rows` rows; raises as `sample_series`."""
    rows, _, drawn = draw_blocks(items_path(intake), None, max_rows=max_rows)
    return rows.filter(pa.array(drawn))


def draw_blocks(
    path: Path, columns: Sequence[str] | None, *, max_rows: int, block_rows: int = BLOCK_ROWS
) -> tuple[pa.Table, NDArray[np.int64], NDArray[np.bool_]]:
    """Rows of a Parquet file: all of them, or where there are more than `max_rows`, blocks of
    `block_rows`, the first at the beginning, the last at the end, with the row before each.

    Returns:
        The rows in their order; the number of each in the file, `(R,)`; and whether it was drawn,
        `(R,)`, or only stands before a block.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            starts, block = _blocks(file.metadata.num_rows, max_rows, block_rows)
            wanted = np.unique(np.maximum(starts[:, np.newaxis] + np.arange(-1, block), 0))
            rows = _take(file, wanted, list(columns) if columns is not None else None)
    except OSError as error:
        msg = f"the staged batch cannot be read: {error.strerror or error}"
        raise StorageError(msg, where=str(path), remedy="Take the batch in again.") from error
    drawn = wanted - starts[np.searchsorted(starts, wanted, side="right") - 1] < block
    return rows, wanted, drawn


def _blocks(total: int, max_rows: int, block_rows: int) -> tuple[NDArray[np.int64], int]:
    """Where the blocks begin, and how long each is."""
    if total <= max_rows:
        return np.zeros(1, dtype=np.int64), total
    block = min(block_rows, max_rows)
    return np.linspace(0, total - block, max_rows // block).astype(np.int64), block


def _take(file: pq.ParquetFile, wanted: NDArray[np.int64], columns: list[str] | None) -> pa.Table:
    """The rows of these numbers (ascending); row groups without any are not read."""
    taken = []
    at = 0
    for group in range(file.num_row_groups):
        end = at + file.metadata.row_group(group).num_rows
        if np.searchsorted(wanted, at) == np.searchsorted(wanted, end):
            at = end
            continue
        for batch in file.iter_batches(_READ_ROWS, row_groups=[group], columns=columns):
            first, last = np.searchsorted(wanted, [at, at + batch.num_rows])
            if last > first:
                taken.append(batch.take(pa.array(wanted[first:last] - at)))
            at += batch.num_rows
    schema = file.schema_arrow
    chosen = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    return pa.Table.from_batches(taken, schema=chosen.remove_metadata())
