"""Sort more rows than fit in memory: sorted runs on disk, then one merge of all of them.

Memory is that of one run, whatever the number of rows. (DuckDB's sort was tried: with a limit of 192 MB
it gives up at ten million rows of eight channels.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    Keys = tuple[np.ndarray, ...]
    """(R,) integers each, the most significant first; together they tell any two rows apart."""

_RUN_BYTES = 24 << 20
_MIN_PIECE_ROWS = 256


def sort_batches(
    batches: Iterable[pa.RecordBatch],
    keys_of: Callable[[pa.RecordBatch], Keys],
    *,
    rows: int,
    folder: Path,
    chunk_rows: int,
    run_bytes: int = _RUN_BYTES,
) -> Iterator[pa.RecordBatch]:
    """The rows in ascending order of their keys, in batches of at most `chunk_rows`.

    Args:
        batches: of one schema.
        keys_of: the keys of a batch.
        rows: how many there are in all, or about so.
        folder: exists; the runs lie there while they are needed.
        chunk_rows: changes only how the result is cut.
        run_bytes: about the memory to use; changes nothing in the result.
    """
    path = folder / "runs.arrow"
    runs: list[list[int]] = []
    held: list[pa.RecordBatch] = []
    held_bytes = 0
    pieces = 1
    with pa.OSFile(str(path), "wb") as sink:
        for batch in batches:
            held.append(batch)
            held_bytes += batch.nbytes
            if held_bytes >= run_bytes:
                held_rows = sum(b.num_rows for b in held)
                # One piece of every run is in memory while merging: together they are one run again.
                pieces = max(pieces, -(-rows // held_rows) + 1)
                runs.append(_write_run(_sorted(held, keys_of), sink, -(-held_rows // pieces)))
                held, held_bytes = [], 0
    rest = [iter([_sorted(held, keys_of)])] if held else []
    with pa.OSFile(str(path), "rb") as source:
        yield from _cut(_merge([*(_read_run(source, places) for places in runs), *rest], keys_of), chunk_rows)
    path.unlink()


def _write_run(run: pa.RecordBatch, sink: pa.NativeFile, piece_rows: int) -> list[int]:
    """Append the run in pieces; returns where each begins. All runs share one file, for there may be
    more of them than a process may have files open."""
    places = []
    step = max(piece_rows, _MIN_PIECE_ROWS)
    for start in range(0, run.num_rows, step):
        places.append(sink.tell())
        with pa.ipc.new_stream(sink, run.schema) as writer:
            writer.write_batch(run.slice(start, step))
    return places


def _read_run(source: pa.NativeFile, places: list[int]) -> Iterator[pa.RecordBatch]:
    for place in places:
        source.seek(place)
        with pa.ipc.open_stream(source) as reader:
            yield reader.read_next_batch()


def _merge(
    runs: list[Iterator[pa.RecordBatch]], keys_of: Callable[[pa.RecordBatch], Keys]
) -> Iterator[pa.RecordBatch]:
    """Each round gives all rows up to the smallest last key of the pieces at hand: no row that is still
    unread can come before them."""
    heads: list[tuple[Iterator[pa.RecordBatch], pa.RecordBatch, Keys]] = []
    waiting = runs
    while waiting or heads:
        for run in waiting:
            piece = next(run, None)
            if piece is not None:
                heads.append((run, piece, keys_of(piece)))
        if not heads:
            return
        bound = min(tuple(int(key[-1]) for key in keys) for _, _, keys in heads)
        ready, left, waiting = [], [], []
        for run, piece, keys in heads:
            count = _up_to(keys, bound)
            if count:
                ready.append(piece.slice(0, count))
            if count < piece.num_rows:
                left.append((run, piece.slice(count), tuple(key[count:] for key in keys)))
            else:
                waiting.append(run)
        heads = left
        yield _sorted(ready, keys_of)


def _up_to(keys: Keys, bound: tuple[int, ...]) -> int:
    """How many of the sorted rows have keys up to `bound`, itself included."""
    low, high = 0, len(keys[0])
    for key, value in zip(keys, bound, strict=True):
        part = key[low:high]
        low, high = (
            low + int(np.searchsorted(part, value)),
            low + int(np.searchsorted(part, value, side="right")),
        )
    return high


def _sorted(held: list[pa.RecordBatch], keys_of: Callable[[pa.RecordBatch], Keys]) -> pa.RecordBatch:
    whole = pa.concat_batches(held) if len(held) > 1 else held[0]
    order = np.lexsort(keys_of(whole)[::-1])
    return whole if (order[1:] > order[:-1]).all() else whole.take(pa.array(order))


def _cut(batches: Iterator[pa.RecordBatch], chunk_rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of `chunk_rows` rows, the last with what is left."""
    held: list[pa.RecordBatch] = []
    held_rows = 0
    for batch in batches:
        held.append(batch)
        held_rows += batch.num_rows
        if held_rows >= chunk_rows:
            whole = pa.concat_batches(held)
            full = held_rows - held_rows % chunk_rows
            for start in range(0, full, chunk_rows):
                yield whole.slice(start, chunk_rows)
            held_rows -= full
            held = [whole.slice(full)]
    if held_rows:
        yield pa.concat_batches(held)
