"""What an evaluation compared, item by item, for figures and plots of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aeflow.schemas import COMPARED
from aeflow.store.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aeflow.data.labels import Key


def compared_items(
    batch: str,
    keys: Sequence[Key],
    label: NDArray[np.bool_],
    score: NDArray[np.floating],
    p_value: NDArray[np.float64],
    flag: NDArray[np.bool_],
) -> pa.Table:
    """Labelled items of a batch `(N,)`, as `schemas.COMPARED` has them but for `detector`; a score of NaN
    (not scorable) becomes null, and so does its p-value."""
    series = [key if isinstance(key, tuple) else None for key in keys]
    columns = {
        "batch": pa.array([batch] * len(keys), pa.string()),
        "entity": pa.array(["" if key is None else key[0] for key in series], pa.string()),
        "timestamp": pa.array(
            [None if key is None else key[1] for key in series], COMPARED.field("timestamp").type
        ),
        "item": pa.array([None if isinstance(key, tuple) else key for key in keys], pa.string()),
        "label": pa.array(label),
        "score": pa.array(score.astype(np.float32), from_pandas=True),
        "p_value": pa.array(np.where(np.isnan(score), np.nan, p_value), from_pandas=True),
        "flag": pa.array(flag),
    }
    return pa.table(columns)


def write_compared(path: Path, of_detectors: Mapping[str, Sequence[pa.Table]]) -> None:
    """Write the items that were compared, of every detector by its name, as Parquet.

    Raises:
        StorageError: the file cannot be written.
    """
    with atomic_file(path) as file, pq.ParquetWriter(file, COMPARED, compression="zstd") as writer:
        for detector, tables in of_detectors.items():
            for table in tables:
                named = table.append_column("detector", pa.array([detector] * len(table), pa.string()))
                writer.write_table(named.select(COMPARED.names).cast(COMPARED))
