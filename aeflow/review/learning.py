"""What verdicts and flags leave out of the next training set, and how many verdicts are new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from aeflow.data.left_out import CONFIRMED, FLAGGED, NOTHING, LeftOut, Span
from aeflow.data.periods import from_us, to_us
from aeflow.report.reviewed import reviewed_flags
from aeflow.report.stored import FLAGS_FILE, reading
from aeflow.store.verdicts import Standing, Word, words_that_hold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from aeflow.config import PipelineConfig
    from aeflow.review.moved_nights import MovedNights
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
    moved: MovedNights | None = None,
) -> LeftOut:
    """What nothing is to be learnt from of the history that `batches` make up: events and images that were
    called true, and flagged ones that nobody called false. False flags, and those that are suppressed since
    they are like one, are learnt from.

    Rows without a time of their own are numbered on from batch to batch, so that in a history of several
    batches the events of their reports cannot be found again: nothing is left out there.

    Args:
        config: the pipeline.
        paths: where its reports lie.
        said: all verdicts.
        batches: the history.
        least_severity: flags that nobody has judged are learnt from below this severity: a calibration without every
            score beyond its cut could never raise it.
        moved: nights on which everything moved: of their flags that nobody has judged, only what stands out even so
            is left out.

    Raises:
        StorageError: a report cannot be read.
    """
    timeless = config.source.kind == "table" and config.source.time_column is None
    if timeless and len(batches) > 1:
        return NOTHING
    chosen = set(batches)
    out: list[tuple[dict[str, Any], str]] = []
    judged: set[str] = set()
    for flag in reviewed_flags(paths, (v for v in said if v.batch in chosen)):
        judged.add(flag.flag_id)
        reason = {Standing.TRUE: CONFIRMED, Standing.FALSE: None}.get(flag.standing, FLAGGED)
        if reason is not None:
            out.append((flag.row, reason))
    for batch in batches:
        unjudged = [
            row
            for row in _flags(paths.report(batch))
            if row["flag_id"] not in judged
            and not row.get("suppressed")
            and (row.get("severity") or 0.0) >= least_severity
        ]
        if moved is not None and unjudged and moved.holds(batch, paths.report(batch)):
            unjudged = list(_parts(unjudged, moved.standing_out(paths.report(batch))))
        out += [(row, FLAGGED) for row in unjudged]
    if config.kind == "images":
        # The same picture may be called true in one batch and stand unreviewed in another.
        ordered = sorted(out, key=lambda pair: pair[1] == CONFIRMED)
        return LeftOut(images={row["sha256"]: reason for row, reason in ordered})
    return LeftOut.of_spans(
        Span(row["entity"], to_us(row["start"]), to_us(row["end"]), reason) for row, reason in out
    )


def _parts(
    flags: Sequence[dict[str, Any]], standing_out: Mapping[str, list[tuple[int, int]]]
) -> Iterator[dict[str, Any]]:
    """Of each of the `flags` the parts that stand out; of images, those that do."""
    for row in flags:
        if row["flag_id"] not in standing_out:
            continue
        stretches = standing_out[row["flag_id"]]
        if not stretches:
            yield row
        for first_us, last_us in stretches:
            yield row | {"start": from_us(first_us), "end": from_us(last_us)}


def verdicts_since(said: Iterable[Verdict], since: datetime) -> int:
    """How many flags were called true or false after the time `since` (aware), by words that hold."""
    held = words_that_hold(said).values()
    return len({v.flag_id for v in held if v.at > since and v.word in {Word.TRUE, Word.FALSE}})


def _flags(report: Path) -> Iterator[dict[str, Any]]:
    if (report / FLAGS_FILE).is_file():
        with reading(report / FLAGS_FILE), pq.ParquetFile(report / FLAGS_FILE) as file:
            names = [name for name in _COLUMNS if name in file.schema_arrow.names]
            yield from file.read(columns=names).to_pylist()
