"""The staged rows of a series in portions, for statistics that need one pass and fixed memory.

Legend: R rows of a portion, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aeflow.exceptions import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aeflow.data.intake import Intake

CHUNK_ROWS = 16_384


@dataclass(frozen=True)
class RowChunk:
    """Consecutive staged rows of the batch itself, sorted by entity and time; context is left out.

    entities: all met so far, in the order of the file.
    entity: `(R,)` int64 into `entities`.
    time_us: `(R,)` int64.
    values: `(R, C)` float64, NaN where missing.
    file: the source file of each row, where it was asked for.
    """

    entities: tuple[str, ...]
    entity: NDArray[np.int64]
    time_us: NDArray[np.int64]
    values: NDArray[np.float64]
    file: pa.StringArray | None = None

    def runs(self) -> Iterator[tuple[int, slice]]:
        """Number and rows of each entity in the chunk, in order."""
        begins = np.flatnonzero(np.diff(self.entity, prepend=-1))
        for begin, end in zip(begins, [*begins[1:], self.entity.size], strict=True):
            yield int(self.entity[begin]), slice(int(begin), int(end))


def iter_row_chunks(
    intake: Intake, *, files: bool = False, chunk_rows: int = CHUNK_ROWS
) -> Iterator[RowChunk]:
    """The valid rows of a staged series, in order, each once. No chunk is empty.

    Args:
        intake: of a series.
        files: read the names of the source files too.
        chunk_rows: at most so many rows at once.

    Raises:
        StorageError: the staged rows cannot be read.
    """
    columns = ["entity", "time", "context", "values", *(["file"] if files else [])]
    numbers: dict[str, int] = {}
    try:
        # Buffered ahead, pyarrow would keep all that was read of the file until its end.
        with pq.ParquetFile(intake.rows_path, pre_buffer=False) as staged:
            for batch in staged.iter_batches(chunk_rows, columns=columns):
                own = batch.filter(pc.invert(batch.column("context")))
                if own.num_rows:
                    yield _chunk(own, numbers, files=files)
    except OSError as error:
        msg = f"the staged rows cannot be read: {error.strerror or error}"
        raise StorageError(msg, where=str(intake.rows_path), remedy="Take the batch in again.") from error


def _chunk(rows: pa.RecordBatch, numbers: dict[str, int], *, files: bool) -> RowChunk:
    coded = rows.column("entity").dictionary_encode()
    known = [numbers.setdefault(name, len(numbers)) for name in coded.dictionary.to_pylist()]
    values = rows.column("values").flatten().to_numpy(zero_copy_only=False)
    return RowChunk(
        entities=tuple(numbers),
        entity=np.array(known, dtype=np.int64)[coded.indices.to_numpy(zero_copy_only=False)],
        time_us=rows.column("time").cast(pa.int64()).to_numpy(zero_copy_only=False),
        values=values.reshape(rows.num_rows, -1),
        file=rows.column("file") if files else None,
    )
