"""Take a batch of a series in: read it once, set aside what is not fit to score, stage the rest.

The folder of an intake holds `rows.parquet` (what is valid, and the context before it), sorted by
entity, time, file and row; `quarantine.parquet`; and `intake.json`, written last.
"""

from __future__ import annotations

import math
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb

from aeflow.data import periods, sql, tables
from aeflow.data.history import batch_not_found, select_history
from aeflow.data.intake import ACCOUNT_FILE, QUARANTINE_FILE, ROWS_FILE, Intake
from aeflow.data.left_out import NOTHING
from aeflow.data.row_rules import RowRules
from aeflow.data.spooling import (
    layout_of,
    readable_times,
    refuse_if_none_is_sound,
    spool_files,
    spool_folders_before,
    spool_periods,
)
from aeflow.data.staged_files import Cut, Staged, stage
from aeflow.data.staging import Spool
from aeflow.exceptions import BatchNotFound, SourceError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from aeflow.config import PipelineConfig
    from aeflow.data.left_out import LeftOut

EVERYTHING = "all"
"""The only batch id with batch.by: source."""
HISTORY = "history"
"""The batch id of the rows to learn from."""
_SCRATCH = "unfinished"
LOOK_BACK_BATCHES = 10
"""Context is looked for at most this many folders before the batch; without a known cadence, so many periods."""


def survey_series(config: PipelineConfig) -> tuple[list[str], dict[str, str]]:
    """The ids of the batches that hold rows, in order; and of a source that is parted by time, each file
    that cannot be read to its end, and why: what batches its rows belong to is not known.

    For a SQL source: every period from the first to the last time in the query.

    Raises:
        SourceError: the source cannot be read, nor any of its files.
    """
    if config.batch.by == "source":
        return [EVERYTHING], {}
    if config.batch.by == "folder":
        return tables.list_folders(config), {}
    if config.source.kind == "sql":
        span = sql.time_span_us(config)
        if span is None:
            return [], {}
        first, last = (periods.id_at(periods.from_us(us), config.batch) for us in span)
        return periods.ids_between(first, last, config.batch), {}
    ids: set[str] = set()
    unreadable: dict[str, str] = {}
    complaint: SourceError | None = None
    for file in tables.find_files(config):
        try:
            for us in readable_times(config, file):
                ids |= periods.ids_of(us, config.batch)
        except SourceError as error:
            unreadable[file.name] = error.problem
            complaint = complaint or error
    if complaint is not None and not ids:
        raise complaint
    return sorted(ids), unreadable


def list_series_batches(config: PipelineConfig) -> list[str]:
    """The ids of `survey_series`; raises as it."""
    return survey_series(config)[0]


def take_in_series(
    config: PipelineConfig,
    batch: str,
    folder: Path,
    *,
    context_points: int = 0,
    cadence_seconds: float | None = None,
    chunk_rows: int = tables.CHUNK_ROWS,
) -> Intake:
    """Stage one batch in `folder`; what an earlier intake left there is thrown away.

    Context is staged for the first windows. By period: the rows in the `context_points` steps of the
    cadence before the batch; without a cadence the last `context_points` rows of each entity, looked
    for at most `LOOK_BACK_BATCHES` periods back. By folder: such rows of at most so many folders before,
    if the source has a time column and the cadence is known. A faulty row of context is left out: its own
    batch counted it.

    Args:
        config: the pipeline.
        batch: id of the batch.
        folder: made if it is not there.
        context_points: grid points wanted before the first row of the batch.
        cadence_seconds: the step of the grid; None: that of the config, if it has one.
        chunk_rows: how many rows are held at once; changes nothing in the result.

    Returns:
        The account; `rows_in` is 0 for a batch that exists and holds no row.

    Raises:
        BatchNotFound: the source has no such batch.
        SourceError: the source cannot be read as the config says.
        StorageError: the folder cannot be written.
    """
    cadence = cadence_seconds or getattr(config.prepare, "cadence_seconds", None)
    reach = _us(context_points * cadence) if cadence else None
    with _staging_folder(folder) as scratch, Spool(scratch, layout_of(config)) as spool:
        start = end = None
        if config.batch.by == "period":
            start, end = periods.bounds(batch, config.batch)
            back = reach if reach is not None else LOOK_BACK_BATCHES * _us((end - start).total_seconds())
            spool_periods(config, [(start, end)], spool, context_us=back if context_points else 0)
            _refuse_unknown_period(config, batch, spool)
        else:
            spool_files(config, _files_of(config, batch), spool)
            if config.batch.by == "source":
                refuse_if_none_is_sound(spool)
            elif reach:
                spool_folders_before(config, batch, spool, reach, at_most=LOOK_BACK_BATCHES)
        limit = context_points if reach is None else None
        cut = Cut(last_context=limit)
        staged = stage(spool, folder, batch, _rules(config), cut=cut, chunk_rows=chunk_rows)
        return _account(config, batch, staged, spool, (start, end))


def take_in_history(
    config: PipelineConfig,
    folder: Path,
    *,
    left_out: LeftOut = NOTHING,
    chunk_rows: int = tables.CHUNK_ROWS,
) -> Intake:
    """Stage all rows of the batches that `config.history` selects, as one batch called "history"; those that
    are `left_out` are set aside.

    `first_rows` and `first_share` count the rows of each entity in the order of time, those that are
    set aside included; rows after that are not part of the history. Without a time column, the rows
    of an entity are numbered on from batch to batch.

    Raises:
        BatchNotFound: the history selects no batch.
        SourceError: the source cannot be read as the config says.
        StorageError: the folder cannot be written.
    """
    chosen = select_history(config, list_series_batches(config))
    with _staging_folder(folder) as scratch, Spool(scratch, layout_of(config)) as spool:
        if config.batch.by == "period":
            spool_periods(config, _contiguous(config, chosen), spool)
        else:
            for chosen_batch in chosen:
                spool_files(config, _files_of(config, chosen_batch), spool)
            refuse_if_none_is_sound(spool)
        cut = Cut(first_rows=config.history.first_rows, first_share=config.history.first_share)
        staged = stage(
            spool, folder, HISTORY, _rules(config), cut=cut, chunk_rows=chunk_rows, left_out=left_out
        )
        return _account(config, HISTORY, staged, spool, (None, None))


def _rules(config: PipelineConfig) -> RowRules:
    return RowRules.of(config.channels, config.checks.limits, config.batch.time_zone)


def _account(
    config: PipelineConfig,
    batch: str,
    staged: Staged,
    spool: Spool,
    period: tuple[datetime | None, datetime | None],
) -> Intake:
    intake = Intake(
        folder=staged.folder,
        batch=batch,
        kind="series",
        rows_in=staged.rows_in,
        valid=staged.valid,
        quarantined=staged.quarantined,
        digest=staged.digest,
        out_of_order=spool.out_of_order,
        context_rows=staged.context_rows,
        start=period[0],
        end=period[1],
        channels=config.channels,
        entities=staged.entities,
        unreadable=spool.unreadable if config.batch.by == "period" else {},
    )
    intake.save()
    return intake


def _files_of(config: PipelineConfig, batch: str) -> list[tables.TableFile]:
    """The files of a batch that is no period.

    Raises:
        BatchNotFound: the source has no such batch.
    """
    known = list_series_batches(config)
    if batch not in known:
        raise batch_not_found(batch, known, where=config.name)
    return tables.find_files(config, batch if config.batch.by == "folder" else None)


def _refuse_unknown_period(config: PipelineConfig, batch: str, spool: Spool) -> None:
    """A period without a row is a batch all the same, if it lies between others that hold some."""
    if spool.rows:
        return
    span = spool.seen_us
    if config.source.kind == "sql":
        span = sql.time_span_us(config)
    if span is None:
        raise BatchNotFound("the source holds no row at all", where=f"batch {batch}", remedy="Check source.")
    ids = [periods.id_at(periods.from_us(us), config.batch) for us in span]
    if not ids[0] <= batch <= ids[1]:
        nearest = ids[0] if batch < ids[0] else ids[1]
        msg = f"the source has no such batch: its first is {ids[0]}, its last {ids[1]}; the nearest is {nearest}"
        raise BatchNotFound(msg, where=f"batch {batch}", remedy="Its rows may be late, or the id wrong.")


def _contiguous(config: PipelineConfig, ids: list[str]) -> list[tuple[datetime, datetime]]:
    """The periods of the ids, neighbours joined into one."""
    joined: list[tuple[datetime, datetime]] = []
    for start, end in (periods.bounds(batch, config.batch) for batch in ids):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


@contextmanager
def _staging_folder(folder: Path) -> Iterator[Path]:
    """An empty folder inside `folder` for unfinished files; gone afterwards. The account of an earlier
    intake goes first, so that nothing half-done ever looks complete."""
    scratch = folder / _SCRATCH
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (ACCOUNT_FILE, ROWS_FILE, QUARANTINE_FILE):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
    except OSError as error:
        raise _no_room(folder, error) from error
    try:
        yield scratch
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException) as error:
        # The readers turn trouble with the source into a SourceError: what is left is our own folder.
        raise _no_room(folder, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _no_room(folder: Path, error: Exception) -> StorageError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    remedy = "Check its rights and the space left on the disk."
    return StorageError(f"the batch cannot be staged: {reason}", where=str(folder), remedy=remedy)


def _us(seconds: float) -> int:
    return math.ceil(seconds * 1e6)
