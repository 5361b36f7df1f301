"""Classes read from codes: which class a linear classifier, that saw neither an item nor its group, tells.

Legend: R rows, D numbers of a code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aeflow.exceptions import SourceError
from aeflow.numerics.linear_reading import fit_reading, fold_edges, folds_of_times, near_folds
from aeflow.representations.embedding_table import ROWS_AT_ONCE, portion_of_rows, portions, rows_of
from aeflow.scoring.judged import table_writer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aeflow.data.labels import Key
    from aeflow.numerics.linear_reading import LinearReading
    from aeflow.representations.embedding_table import Portion

# More teach a linear classifier nothing new, and this many fit into memory.
_MOST_ITEMS = 20_000


@dataclass(frozen=True)
class Reading:
    """How the classes of a table's rows are read. edges: see `fold_edges`; None: the rows' folds stand
    beside them."""

    classes: Mapping[Key, str]
    reading: LinearReading
    edges: NDArray[np.int64] | None


@dataclass(frozen=True)
class Accuracy:
    """Of the rows that have a class and a code: how many, how many were told rightly, and how many belong
    to the largest class, as which all could be told without looking."""

    items: int
    right: int
    majority: int


def learn_reading(
    first_pass: Path, classes: Mapping[Key, str], *, reach_us: int | None, seed: int
) -> Reading:
    """Learn to read the classes of the rows of `first_pass` that have one, at most 20,000, drawn evenly.

    Args:
        first_pass: see `embedding_table`.
        classes: key -> class.
        reach_us: series: how far windows reach back; so near to a stretch of time its classifier sees
            nothing either. None: images, whose folds go by group.
        seed: of the drawing.

    Raises:
        SourceError: no row has a class.
        InputError: too few classes to learn from.
    """
    rows: list[NDArray[np.int64]] = []
    begin = 0
    for portion in portions(first_pass):
        named = np.array([key in classes for key in portion.keys], dtype=bool)
        rows.append(begin + np.flatnonzero(named & portion.known))
        begin += len(portion.keys)
    every = np.concatenate([np.empty(0, dtype=np.int64), *rows])
    if not every.size:
        raise SourceError(
            f"none of the {len(classes)} items with a class has a code in this batch",
            remedy="Items are paths below the source's root; entities and times must be those of the source.",
        )
    some = rows_of(first_pass, drawn_evenly(every, _MOST_ITEMS, seed))
    names = [classes[key] for key in some.keys]
    if reach_us is None:
        return Reading(classes, fit_reading(some.code, names, some.fold), None)
    times = times_of(some.keys)
    edges = fold_edges(times)
    unseen = near_folds(times, edges, reach_us)
    return Reading(classes, fit_reading(some.code, names, folds_of_times(times, edges), unseen=unseen), edges)


def drawn_evenly(rows: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """At most so many of `rows`, sorted, each as likely as any other."""
    if rows.size <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def write_final(first_pass: Path, final: Path, schema: pa.Schema, reading: Reading | None) -> Accuracy | None:
    """The rows of `first_pass`, which is removed, with their classes where `reading` is given."""
    right = 0
    counts: dict[str, int] = {}
    with (
        pq.ParquetFile(first_pass, pre_buffer=False) as file,
        table_writer(final, schema) as writer,
    ):
        for batch in file.iter_batches(ROWS_AT_ONCE):
            columns: dict[str, Any] = {name: batch.column(name) for name in schema.names}
            if reading is not None:
                portion = portion_of_rows(batch)
                read = _read(portion, reading)
                columns |= read
                for truth, told, known in zip(
                    read["class"].to_pylist(), read["predicted_class"].to_pylist(), portion.known, strict=True
                ):
                    if truth is not None and known:
                        counts[truth] = counts.get(truth, 0) + 1
                        right += truth == told
            writer.write_batch(pa.RecordBatch.from_arrays([columns[n] for n in schema.names], schema=schema))
    first_pass.unlink()
    return None if reading is None else Accuracy(sum(counts.values()), right, max(counts.values()))


def _read(portion: Portion, reading: Reading) -> dict[str, pa.Array]:
    fold = portion.fold
    if reading.edges is not None:
        fold = folds_of_times(times_of(portion.keys), reading.edges)
    shares = reading.reading.probabilities(portion.code, fold)
    told = np.array(reading.reading.classes, dtype=object)[np.nan_to_num(shares).argmax(axis=1)]
    unknown = ~portion.known
    return {
        "class": pa.array([reading.classes.get(key) for key in portion.keys], pa.string()),
        "predicted_class": pa.array(told, pa.string(), mask=unknown),
        "probability": pa.array(shares.max(axis=1).astype(np.float32), mask=unknown),
    }


def times_of(keys: Sequence[Key]) -> NDArray[np.int64]:
    """Microseconds since 1970 of the keys of a series."""
    return np.array([key[1] for key in keys], dtype=np.int64)
