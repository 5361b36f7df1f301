"""What scoring both kinds of batches shares.

The batch is passed over twice. The first pass scores every item, writes it, and keeps the few whose
p-value could be flagged at all; the cut is then applied to those, and the second pass writes the
verdict into every row. So a cut that needs the whole batch (a false-discovery rate) costs no memory.

Legend: R rows, N items, C channels.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aeflow import schemas
from aeflow.memory import hand_back
from aeflow.scoring.suppression import PRECEDENTS_FILE, suppress, write_precedents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aeflow.config import PipelineConfig
    from aeflow.numerics.exchangeability import Exchangeability
    from aeflow.retraining.measurements import Drift
    from aeflow.scoring.suppression import Precedent

SCORES_FILE = "scores.parquet"
FLAGS_FILE = "flags.parquet"
LATE_QUARANTINE_FILE = "late-quarantine.parquet"
"""Beside the build folder: images that turned out damaged while they were decoded."""
NEIGHBOURS = 3
"""Normal items kept with a flag."""
_ROWS_PER_GROUP = 32_768
_ROWS_SEARCHED = 8_192  # at once, for the few that are looked for


@dataclass(frozen=True)
class ScoringProgress:
    """How far a scoring run is: rows or images done of all."""

    done: int
    total: int


@dataclass(frozen=True)
class BatchScores:
    """How a batch came out. not_scorable: reason -> rows; quarantined: reason -> images that turned
    out damaged while they were decoded; flags: rows of `flags.parquet` that are not suppressed, and
    suppressed: those that are; exchangeability: whether the batch still scores as the calibration did;
    false_flags_range: 95 % interval of the number of false flags among as many normal items, None with a
    false-discovery rate; beyond_chance: whether more is flagged than that; drift: how far channels and
    codes moved, None where the detector knows nothing to hold them against."""

    scored: int
    not_scorable: Mapping[str, int]
    quarantined: Mapping[str, int]
    flags: int
    exchangeability: Exchangeability
    false_flags_range: tuple[int, int] | None
    beyond_chance: bool
    suppressed: int = 0
    drift: Drift | None = None


def described(schema: pa.Schema, kind: str, channels: tuple[str, ...]) -> pa.Schema:
    """The stored schema with what a reader needs to read the lists: kind and names of channels."""
    return schema.with_metadata(
        {
            **(schema.metadata or {}),
            b"aeflow.kind": kind.encode(),
            b"aeflow.channels": json.dumps(channels).encode(),
        }
    )


@contextmanager
def table_writer(path: Path, schema: pa.Schema, *, passing: bool = False) -> Iterator[pq.ParquetWriter]:
    """A Parquet file written in portions; zstd, the same bytes for the same rows. passing: it will be
    read once and removed, so that little time is spent on making it small."""
    how = {"compression": "lz4", "use_dictionary": False} if passing else {"compression": "zstd"}
    with pq.ParquetWriter(path, schema, version="2.6", **how) as writer:
        yield writer


def lists_where(present: NDArray[np.bool_], values: NDArray[np.float32]) -> pa.Array:
    """`(R, C)` as a column of lists, NaN as null; null for the rows `(R,)` that are not present."""
    rows, channels = values.shape
    flat = pa.array(values.ravel(), from_pandas=True)
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * channels)
    return pa.ListArray.from_arrays(offsets, flat, mask=pa.array(~present))


def flag_id(pipeline: str, batch: str, entity: str, what: str) -> str:
    """Sixteen hex digits that name a flag, the same whenever its batch is scored again.

    `what` is the image's path or the event's first time.
    """
    return hashlib.sha256(f"{pipeline}\0{batch}\0{entity}\0{what}".encode()).hexdigest()[:16]


def top_channel(contributions: NDArray[np.float32], channels: tuple[str, ...]) -> NDArray[np.object_]:
    """The channel with the largest contribution of each row `(R, C)`, `(R,)` names."""
    names: NDArray[np.object_] = np.array(channels, dtype=object)
    found: NDArray[np.object_] = names[np.argmax(contributions, axis=1)]
    return found


def rows_at(path: Path, rows: NDArray[np.int64]) -> dict[int, dict[str, Any]]:
    """The rows of a Parquet file with these sorted numbers, read in portions."""
    begin = 0
    found: dict[int, dict[str, Any]] = {}
    if rows.size == 0:
        return found
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(_ROWS_SEARCHED):
            here = rows[np.searchsorted(rows, begin) : np.searchsorted(rows, begin + len(batch))]
            found |= zip(here.tolist(), batch.take(pa.array(here - begin)).to_pylist(), strict=True)
            begin += len(batch)
    hand_back()
    return found


def write_verdicts(
    first_pass: Path,
    final: Path,
    schema: pa.Schema,
    *,
    rows: NDArray[np.int64],
    flags: NDArray[np.object_],
    severity: Callable[[NDArray[np.float64]], NDArray[np.float32]],
) -> None:
    """Second pass: the rows of `first_pass`, which is removed, with severity, flag and flag_id filled in.

    Args:
        first_pass: where the scored rows lie.
        final: the file to write, in the same order.
        schema: of both files.
        rows: `(F,)` sorted numbers of the flagged rows.
        flags: `(F,)` the flag that each belongs to.
        severity: of p-values at the batch's cut.
    """
    begin = 0
    with pq.ParquetFile(first_pass, pre_buffer=False) as file, table_writer(final, schema) as writer:
        for batch in file.iter_batches(_ROWS_PER_GROUP):
            low, high = np.searchsorted(rows, [begin, begin + len(batch)])
            here = rows[low:high] - begin
            names: NDArray[np.object_] = np.full(len(batch), None, dtype=object)
            names[here] = flags[low:high]
            flagged = np.zeros(len(batch), dtype=bool)
            flagged[here] = True
            scored = batch.column("state").to_numpy(zero_copy_only=False) == schemas.SCORED
            columns = {name: batch.column(name) for name in schema.names}
            p_value = batch.column("p_value").to_numpy(zero_copy_only=False)
            columns |= {
                "severity": pa.array(severity(p_value), mask=~scored),
                "flag": pa.array(flagged, mask=~scored),
                "flag_id": pa.array(names, pa.string()),
            }
            writer.write_batch(pa.RecordBatch.from_arrays([columns[n] for n in schema.names], schema=schema))
            begin += len(batch)
            hand_back()
    first_pass.unlink()


def write_flags(flags: list[dict[str, Any]], path: Path, kind: str, channels: tuple[str, ...]) -> None:
    """`flags.parquet`, the most severe first, those that are suppressed last. Severity ends at 100: from
    there on the less likely on normal data, then the higher score."""
    schema = described(schemas.FLAGS, kind, channels)
    ordered = sorted(
        flags,
        key=lambda flag: (
            flag.get("suppressed", False),
            -flag["severity"],
            flag["p_value"],
            -flag["score"],
            flag["flag_id"],
        ),
    )
    with table_writer(path, schema) as writer:
        writer.write_table(pa.Table.from_pylist(ordered, schema=schema))


def write_judged_flags(
    flags: list[dict[str, Any]],
    folder: Path,
    kind: str,
    config: PipelineConfig,
    precedents: Sequence[Precedent],
) -> tuple[int, int]:
    """`flags.parquet` after what people said of flags like them, and the precedents that decided anything.

    Returns:
        How many flags count, and how many are suppressed.
    """
    judged, used = suppress(flags, precedents, config.review, config.channels)
    write_flags(judged, folder / FLAGS_FILE, kind, config.channels)
    write_precedents(used, folder / PRECEDENTS_FILE)
    suppressed = sum(flag["suppressed"] for flag in judged)
    return len(judged) - suppressed, suppressed


def channel_shares(
    channels: tuple[str, ...],
    contributions: NDArray[np.float32],
    observed: NDArray[np.float32] | None = None,
    expected: NDArray[np.float32] | None = None,
    tolerance: NDArray[np.float32] | None = None,
) -> list[dict[str, Any]]:
    """The parts of one score `(C,)`, largest first; contributions sum to the score, shares to 1."""
    total = float(contributions.sum(dtype=np.float64))
    shares = contributions / total if total > 0 else np.full(len(channels), 1 / len(channels))
    return [
        {
            "channel": channels[c],
            "share": float(shares[c]),
            "contribution": float(contributions[c]),
            "observed": None if observed is None or np.isnan(observed[c]) else float(observed[c]),
            "expected": None if expected is None else float(expected[c]),
            "tolerance": None if tolerance is None or np.isnan(tolerance[c]) else float(tolerance[c]),
        }
        for c in np.argsort(-contributions, kind="stable")
    ]
