"""What each column of a table is: a time, a number to watch, a label, a name."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aeflow.data.readings import read_names, read_numbers, read_times
from aeflow.data.time_formats import find_epoch_unit, find_patterns, read_times_as
from aeflow.exceptions import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

# A column is of a kind if at most this share of its cells is not: some rows of real data are broken.
_MISFITS = 0.05
_LABEL_NAMES = {
    "anomaly", "anomalies", "is_anomaly", "isanomaly", "anomalous", "label", "labels", "is_outlier", "outlier",
    "changepoint", "change_point", "ground_truth", "target_label", "fault", "is_fault",
}  # fmt: skip
_TIME_NAMES = ("timestamp", "datetime", "time", "date", "ts")
_EPOCH_NAMES = {*_TIME_NAMES, "epoch", "unix", "unixtime", "unix_time", "timestamp_ms", "time_ms", "t"}
_ENTITY_NAMES = {
    "entity", "machine", "machine_id", "device", "device_id", "sensor", "sensor_id", "unit", "unit_id", "asset",
    "asset_id", "host", "line", "station", "series", "series_id", "id", "well", "pump", "turbine", "server",
}  # fmt: skip
_INDEX_NAMES = {"", "index", "row", "rowid", "row_id", "unnamed: 0"}
_MAX_ENTITIES = 10_000
_NAMED_COLUMNS = 6  # in a message

ColumnKind = Literal["time", "number", "text", "empty"]


@dataclass(frozen=True)
class Column:
    """One column, judged by a sample of its cells."""

    name: str
    kind: ColumnKind
    missing: float
    """Share of cells without a value, 0..1."""
    distinct: int
    """Different values in the sample."""
    zero_or_one: bool
    counts_rows: bool
    """Whole numbers that grow by one from row to row."""
    mean: float = math.nan
    """Of a column of numbers."""
    follows: float = math.nan
    """How much a value is like that of the row before: autocorrelation, -1..1; NaN where nothing varies."""
    time_formats: tuple[str, ...] = ()
    """Of a column of times that are no ISO 8601 text: `source.time_format`; several if it is not clear."""


NOT_IN_EVERY_FILE = "not in every file"
"""Why a column is no channel."""


@dataclass(frozen=True)
class Roles:
    """Which column does what."""

    time: str | None
    entity: str | None
    channels: tuple[str, ...]
    left_out: dict[str, str]
    """Column -> why it is no channel."""


def look_at_column(name: str, cells: pa.Array, *, formats: bool = True, decimal: str = ".") -> Column:
    """Judge a column by the rules with which the pipeline will read it.

    Args:
        name: of the column.
        cells: (R,) text or typed, a sample.
        formats: times may come in other forms than ISO 8601.
        decimal: the decimal sign of numbers as text.
    """
    kind, values = _kind(name, cells, decimal)
    found = _time_formats(name, cells, kind, values) if formats else ()
    if found:
        kind, values = "time", None
    given = values[~np.isnan(values)] if values is not None else np.zeros(0)
    blank = pc.sum(pc.equal(pc.utf8_trim_whitespace(cells), "")).as_py() or 0 if _is_text(cells) else 0
    missing = float(np.isnan(values).mean()) if values is not None and len(cells) else 0.0
    if values is None and len(cells):
        missing = (cells.null_count + blank) / len(cells)
    return Column(
        name=name,
        kind=kind,
        missing=missing,
        distinct=len(np.unique(given)) if values is not None else len(cells.unique()),
        zero_or_one=bool(given.size) and bool(np.isin(given, (0.0, 1.0)).all()),
        counts_rows=len(given) > 1 and bool((np.diff(given) == 1).all()),
        mean=float(given.mean()) if given.size else math.nan,
        follows=autocorrelation(given),
        time_formats=found,
    )


def autocorrelation(values: np.ndarray) -> float:
    """Of values (R,) at one step; NaN where nothing varies."""
    apart = values - values.mean() if values.size else values
    squares = float(apart @ apart)
    return float(apart[1:] @ apart[:-1]) / squares if squares > 0 else math.nan


def with_time_format(column: Column, cells: pa.Array, form: str, *, named: bool) -> Column:
    """The column as one of times if its cells (R,) are of the format `form`, else as it is. Numbers are times
    only where the column was named as such, or its own name says so."""
    if column.kind == "empty" or (
        column.kind == "number" and not named and column.name.lower() not in _EPOCH_NAMES
    ):
        return column
    try:
        readable = read_times_as(cells, form, "UTC", where=column.name).readable
    except SourceError:
        return column
    present = np.array(cells.is_valid())
    if (present & ~readable).sum() > _MISFITS * present.sum():
        return column
    return replace(column, kind="time", time_formats=(form,))


def assign_roles(
    columns: Sequence[Column], rows: int, *, time: str | None, entity: str | None, where: str
) -> Roles:
    """Give every column its role; `time` and `entity` are the user's own choice, None: find them.

    Args:
        columns: all columns of the table.
        rows: how many rows the sample has.
        time: column of the times, or None.
        entity: column of the entities, or None.
        where: the file, for the message.

    Raises:
        SourceError: a column that was named is not there or does not fit, or no numeric column is left.
    """
    by_name = {column.name: column for column in columns}
    for named in (time, entity):
        if named is not None and named not in by_name:
            close = difflib.get_close_matches(named, by_name, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            msg = f"there is no column {named!r}; the columns are {', '.join(by_name)}"
            raise SourceError(msg, where=where, remedy=f"Name one of them.{hint}")
    if time is not None and by_name[time].kind != "time":
        msg = f"expected times in column {time!r}, such as 2026-11-20 06:00:00, got {by_name[time].kind}"
        raise SourceError(
            msg,
            where=where,
            remedy="Give its form: --time-format '%d.%m.%Y %H:%M' (or epoch_seconds); or turn it into timestamps.",
        )
    times = [column.name for column in columns if column.kind == "time"]
    time = time or next(
        (n for wish in _TIME_NAMES for n in times if n.lower() == wish), next(iter(times), None)
    )
    if time is not None and len(by_name[time].time_formats) > 1:
        msg = f"the times in column {time!r} fit {' and '.join(map(repr, by_name[time].time_formats))}"
        raise SourceError(msg, where=where, remedy="Say which it is: --time-format.")
    entity = entity or _find_entity(columns, rows)
    left_out = {
        column.name: reason
        for column in columns
        if column.name not in {time, entity} and (reason := _why_no_channel(column)) is not None
    }
    channels = tuple(n for n in by_name if n not in left_out and n not in {time, entity})
    if not channels:
        some = [f"{name[:40]!r} ({reason})" for name, reason in list(left_out.items())[:_NAMED_COLUMNS]]
        came = ", ".join(some) + (", ..." if len(left_out) > len(some) else "") or "no other column"
        msg = f"expected at least one column of numbers to watch, got {came}"
        raise SourceError(msg, where=where, remedy="Check the delimiter and the decimal sign.")
    return Roles(time, entity, channels, left_out)


def _find_entity(columns: Sequence[Column], rows: int) -> str | None:
    """A column of names that come again and again; whole numbers only if the column's name says so."""
    most = min(_MAX_ENTITIES, max(2, rows // 20))
    fit = [
        c for c in columns if c.kind in {"text", "number"} and 2 <= c.distinct <= most and not c.zero_or_one
    ]
    named = [c.name for c in fit if c.name.lower() in _ENTITY_NAMES]
    return next(iter(named), next((c.name for c in fit if c.kind == "text"), None))


def _why_no_channel(column: Column) -> str | None:
    name = column.name.lower()
    if column.kind != "number":
        return {"time": "a second time", "text": "text", "empty": "empty"}[column.kind]
    if column.zero_or_one and name in _LABEL_NAMES:
        return "a label: what is to be found is no input"
    if column.counts_rows and name in _INDEX_NAMES | _ENTITY_NAMES:
        return "counts the rows"
    if column.counts_rows and name in {*_TIME_NAMES, "epoch"}:
        return "a time without a unit"
    return None


def _kind(name: str, cells: pa.Array, decimal: str) -> tuple[ColumnKind, np.ndarray | None]:
    """The kind, and the numbers (R,) float64 of a column of numbers."""
    if len(cells) == 0 or cells.null_count == len(cells):
        return "empty", None
    try:
        values, bad = read_numbers(cells, where=name, decimal=decimal)
        given = ~np.isnan(values) | bad
        if not given.any():
            return "empty", None
        if bad.sum() <= _MISFITS * given.sum():
            return "number", values
    except SourceError:
        pass
    try:
        readable = read_times(cells, "UTC", where=name).readable
        present = np.array(cells.is_valid())
        if (present & ~readable).sum() <= _MISFITS * present.sum():
            return "time", None
        read_names(cells, where=name)
    except SourceError:
        return "empty", None  # lists and the like: nothing that can be watched
    return "text", None


def _time_formats(name: str, cells: pa.Array, kind: ColumnKind, values: np.ndarray | None) -> tuple[str, ...]:
    """In which forms other than ISO 8601 the cells are times; only a column that is called one can be
    numbers since 1970."""
    if kind == "number" and values is not None and name.lower() in _EPOCH_NAMES:
        unit = find_epoch_unit(values)
        return (unit,) if unit else ()
    return tuple(find_patterns(cells, where=name, misfits=_MISFITS)) if kind == "text" else ()


def _is_text(cells: pa.Array) -> bool:
    return bool(pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type))
