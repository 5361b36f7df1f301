"""What verdicts and flags leave out of the next training set, and how many verdicts are new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from aeflow.data.left_out import CONFIRMED, FLAGGED, NOTHING, LeftOut, Span
from aeflow.data.periods import to_us
from aeflow.report.reviewed import reviewed_flags
from aeflow.report.stored import FLAGS_FILE, reading
from aeflow.store.verdicts import Standing, Word, words_that_hold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from aeflow.config import PipelineConfig
    from aeflow.store.paths import Paths
    from aeflow.store.verdicts import Verdict

_COLUMNS = ["flag_id", "entity", "item", "sha256", "start", "end", "severity", "suppressed"]


def left_out_of_training(
    config: PipelineConfig,
    paths: Paths,
    said: Sequence[Verdict],
    batches: Sequence[str],
    *,
    least_severity: float = 0.0,
) -> LeftOut:
    """What nothing is to be learnt from of the history that `batches` make up: events and images that were
    called true, and flagged ones that nobody called false. False flags, and those that are suppressed since
    they are like one, are learnt from. least_severity: so are flags that nobody has judged below this severity: a
    calibration without every score beyond its cut could never raise it.

    Rows without a time of their own are numbered on from batch to batch, so that in a history of several
    batches the events of their reports cannot be found again: nothing is left out there.

    Raises:
        StorageError: a report cannot be read.
    """
    timeless = config.source.kind == "table" and config.source.time_column is None
    if timeless and len(batches) > 1:
        return NOTHING
    chosen = set(batches)
    reasons: dict[str, str | None] = {}
    rows: dict[str, dict[str, Any]] = {}
    for flag in reviewed_flags(paths, (v for v in said if v.batch in chosen)):
        rows[flag.flag_id] = flag.row
        reasons[flag.flag_id] = {Standing.TRUE: CONFIRMED, Standing.FALSE: None}.get(flag.standing, FLAGGED)
    for batch in batches:
        for row in _flags(paths.report(batch)):
            rows.setdefault(row["flag_id"], row)
            kept = row.get("suppressed") or (row.get("severity") or 0.0) < least_severity
            reasons.setdefault(row["flag_id"], None if kept else FLAGGED)
    out = [(rows[flag_id], reason) for flag_id, reason in reasons.items() if reason is not None]
    if config.kind == "images":
        # The same picture may be called true in one batch and stand unreviewed in another.
        ordered = sorted(out, key=lambda pair: pair[1] == CONFIRMED)
        return LeftOut(images={row["sha256"]: reason for row, reason in ordered})
    return LeftOut.of_spans(
        Span(row["entity"], to_us(row["start"]), to_us(row["end"]), reason) for row, reason in out
    )


def verdicts_since(said: Iterable[Verdict], since: datetime) -> int:
    """How many flags were called true or false after the time `since` (aware), by words that hold."""
    held = words_that_hold(said).values()
    return len({v.flag_id for v in held if v.at > since and v.word in {Word.TRUE, Word.FALSE}})


def _flags(report: Path) -> Iterator[dict[str, Any]]:
    if (report / FLAGS_FILE).is_file():
        with reading(report / FLAGS_FILE), pq.ParquetFile(report / FLAGS_FILE) as file:
            names = [name for name in _COLUMNS if name in file.schema_arrow.names]
            yield from file.read(columns=names).to_pylist()
