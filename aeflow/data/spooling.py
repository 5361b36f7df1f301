"""From a source into a spool: periods of it, or its files."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aeflow.data import periods, sql, tables
from aeflow.data.placement import Span
from aeflow.data.staging import Layout
from aeflow.data.time_formats import read_times_as
from aeflow.exceptions import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from aeflow.config import PipelineConfig
    from aeflow.data.staging import Spool


def spool_periods(
    config: PipelineConfig, ranges: list[tuple[datetime, datetime]], spool: Spool, *, context_us: int = 0
) -> None:
    """Spool the rows of these periods [start, end), sorted, and of the time before the first as context.

    Raises:
        SourceError: the source, or not one of its files, can be read as the config says.
    """
    spans = [Span(periods.to_us(start), periods.to_us(end)) for start, end in ranges]
    if context_us:
        spans.insert(0, Span(spans[0].start_us - context_us, spans[0].start_us, context=True))
    if config.source.kind == "sql":
        for group in _adjoining(spans):
            _spool_query(config, spool, group)
    else:
        spool_files(config, tables.find_files(config), spool, tuple(spans))
        refuse_if_none_is_sound(spool)


def _spool_query(config: PipelineConfig, spool: Spool, spans: tuple[Span, ...]) -> None:
    start, end = periods.from_us(spans[0].start_us), periods.from_us(spans[-1].end_us)
    chunks = sql.read_cells(config, start, end, scratch=spool.folder)
    assert config.source.kind == "sql"
    # A row whose time cannot be read came in answer to these bounds: it belongs to this batch.
    spool.add_file(config.source.query, chunks, spans=spans, first_time_us=lambda: spans[-1].start_us)


def _spool_file(
    config: PipelineConfig,
    files: list[tables.TableFile],
    i: int,
    spool: Spool,
    spans: tuple[Span, ...] | None,
) -> None:
    source, file = config.source, files[i]
    assert source.kind == "table"
    needed = (spans[0].start_us, spans[-1].end_us) if spans else None
    columns = layout_of(config).columns
    spool.add_file(
        file.name,
        tables.read_cells(file, source, columns, config.batch.time_zone, span_us=needed),
        entity=file.entity,
        spans=spans,
        first_time_us=lambda: _nearest_time(config, files, i, spool.last_us),
        set_aside=True,
    )


def _nearest_time(
    config: PipelineConfig, files: list[tables.TableFile], i: int, last_us: int | None
) -> int | None:
    """Where rows belong that no readable row of their file precedes: to the first one that follows
    in the file; in a file without any, to the last of the files before, else the first of those after."""
    own = _first_time(config, files[i])
    if own is not None or last_us is not None:
        return own if own is not None else last_us
    later = (_first_time(config, file) for file in files[i + 1 :])
    return next((us for us in later if us is not None), None)


def _first_time(config: PipelineConfig, file: tables.TableFile) -> int | None:
    try:
        return next((int(us[0]) for us in readable_times(config, file) if us.size), None)
    except SourceError:  # told of where the file itself is read
        return None


def readable_times(config: PipelineConfig, file: tables.TableFile) -> Iterator[np.ndarray]:
    """The times of a file that can be read, (R,) int64 microseconds since 1970 in UTC, chunk by chunk."""
    source, zone = config.source, config.batch.time_zone
    assert source.kind == "table"
    assert source.time_column is not None
    for cells in tables.read_cells(file, source, [source.time_column], zone):
        column = cells.columns[source.time_column]
        where = f"{file.path}, {source.time_column}"
        times = read_times_as(column, source.time_format, zone, where=where)
        yield times.us[times.readable]


def spool_files(
    config: PipelineConfig,
    files: list[tables.TableFile],
    spool: Spool,
    spans: tuple[Span, ...] | None = None,
) -> None:
    """Spool the rows of the files that lie in the spans; None: all rows."""
    for i in range(len(files)):
        _spool_file(config, files, i, spool, spans)


def refuse_if_none_is_sound(spool: Spool) -> None:
    """Where no file at all is as the config says, it is the config that is wrong.

    Raises:
        SourceError: what is wrong with the first.
    """
    if not spool.sound and spool.complaint is not None:
        raise spool.complaint


def spool_folders_before(
    config: PipelineConfig, batch: str, spool: Spool, reach_us: int, *, at_most: int
) -> None:
    """Spool, as context, the rows of the folders before `batch` from the last `reach_us` microseconds before
    the first row of the batch: the nearest folder, and those before it until one begins so early; nothing
    without a time column."""
    source = config.source
    assert source.kind == "table"
    first = spool.first_taken_us
    if first is None or source.time_column is None:
        return
    span = Span(first - reach_us, first, context=True)
    before = [name for name in tables.list_folders(config) if name < batch]
    for name in before[: -at_most - 1 : -1]:
        spool_files(config, tables.find_files(config, name), spool, (span,))
        if spool.seen_us is not None and spool.seen_us[0] <= span.start_us:
            return


def _adjoining(spans: list[Span]) -> Iterator[tuple[Span, ...]]:
    """Groups of spans without a hole between them: one query each."""
    group: list[Span] = []
    for span in spans:
        if group and group[-1].end_us != span.start_us:
            yield tuple(group)
            group = []
        group.append(span)
    yield tuple(group)


def layout_of(config: PipelineConfig) -> Layout:
    """Which column means what in the source of a series."""
    source = config.source
    assert source.kind != "images"
    layout = Layout(
        channels=source.channels,
        time_column=source.time_column,
        entity_column=source.entity_column,
        time_zone=config.batch.time_zone,
    )
    if source.kind == "table":
        layout = replace(layout, time_format=source.time_format, decimal=source.decimal)
    if source.kind == "sql" or source.time_column is not None:
        return layout
    first = source.first_time if source.first_time.tzinfo else source.first_time.replace(tzinfo=UTC)
    step = getattr(config.prepare, "cadence_seconds", None)
    assert step is not None  # the config refuses rows without time and cadence
    return replace(layout, first_us=periods.to_us(first), step_us=step * 1e6)
