"""Look at a table of readings, in files or behind a query: columns, entities, cadence, gaps, folders."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aeflow.config import (
    EPOCH_UNITS_US,
    SqlSource,
    TableSource,
    is_time_format,
)
from aeflow.data import sql
from aeflow.data.csv_text import CsvFile
from aeflow.data.readings import Cells, read_names
from aeflow.data.tables import TableFile, find_files, read_cells
from aeflow.data.time_formats import read_times_as
from aeflow.exceptions import ConfigError, SourceError
from aeflow.onboarding.columns import (
    NOT_IN_EVERY_FILE,
    Column,
    Roles,
    assign_roles,
    autocorrelation,
    look_at_column,
    with_time_format,
)
from aeflow.onboarding.dated_folders import are_dates
from aeflow.onboarding.sniffing import PLACEHOLDER, format_of, provisional, sniff
from aeflow.onboarding.zones import UNKNOWN, Zone, zone_of

if TYPE_CHECKING:
    from collections.abc import Iterator

FROM_PATH = "path"
"""As `entity`: each file is one entity, whatever its columns."""

_SAMPLED_FILES, _SAMPLED_ROWS = 20, 5_000  # by which the columns are judged
_MAX_FILES, _MAX_ROWS = 500, 2_000_000  # by which the times are
_FEWEST_ITEMS, _UNLIKE = 50, 0.3  # rows; what is read of machines every minute comes to .7 and more
_FEWEST_READINGS, _ALIKE = 16, 0.7  # columns


@dataclass(frozen=True)
class EntityProfile:
    """One machine, line or series. Times in microseconds since 1970, UTC."""

    name: str
    rows: int
    first_us: int | None
    last_us: int | None
    step_seconds: float | None
    """Median step; None without times or with a single row."""
    gaps: int
    """Steps longer than one and a half times the median."""
    longest_gap_seconds: float


@dataclass(frozen=True)
class Readings:
    """What the rows show, wherever they come from."""

    columns: tuple[Column, ...]
    roles: Roles
    entities: tuple[EntityProfile, ...]
    """Sorted by name; one with an empty name where there is no entity."""
    rows: int
    whole: bool
    """Every row was looked at."""
    zone: Zone = UNKNOWN

    @property
    def cadence_seconds(self) -> float | None:
        """The median step, if it is the same for all entities."""
        steps = {entity.step_seconds for entity in self.entities} - {None}
        return steps.pop() if len(steps) == 1 else None

    @property
    def rows_are_items(self) -> bool:
        """The rows carry no time and are no more like those before them than like any others: each is an item by
        itself, such as a heartbeat or a part."""
        follows = [abs(c.follows) for c in self.columns if c.name in self.roles.channels]
        known = [value for value in follows if not math.isnan(value)]
        enough = self.roles.time is None and len(known) > 1 and self.rows >= _FEWEST_ITEMS
        return enough and float(np.median(known)) < _UNLIKE

    @property
    def columns_follow(self) -> bool:
        """The columns are many, and their means go over into each other: readings of one quantity, one after the
        other."""
        means = np.array([c.mean for c in self.columns if c.name in self.roles.channels])
        return means.size >= _FEWEST_READINGS and autocorrelation(means) > _ALIKE

    @property
    def span_us(self) -> tuple[int, int] | None:
        """The first and the last time."""
        first = [entity.first_us for entity in self.entities if entity.first_us is not None]
        last = [entity.last_us for entity in self.entities if entity.last_us is not None]
        return (min(first), max(last)) if first else None


@dataclass(frozen=True)
class TableProfile:
    """Files of readings."""

    path: Path
    format: str
    delimiter: str
    decimal: str
    header: bool
    time_format: str | None
    files: int
    folders: dict[str, int]
    """First-level folder -> files in it."""
    entity_from_path: bool
    folders_are_batches: bool
    """The folders are named by dates; or the rows carry no time and the same files lie in several folders,
    such as train and test."""
    readings: Readings


@dataclass(frozen=True)
class SqlProfile:
    """A query's rows."""

    query: Path
    url: str
    readings: Readings


def profile_table(
    path: Path, time: str | None = None, entity: str | None = None, time_format: str | None = None
) -> TableProfile:
    """Look at CSV or Parquet files.

    Args:
        path: a file, a folder or a glob.
        time: column of the times; None: the first column that holds some.
        entity: column of the entities, or `FROM_PATH`; None: found by its values or by the files.
        time_format: of the times, as `source.time_format`; None: found by their values.

    Raises:
        SourceError: nothing is there, a file cannot be read, a named column is missing, or no column
            holds numbers.
    """
    if time_format is not None and not is_time_format(time_format):
        msg = f"expected {', '.join(EPOCH_UNITS_US)} or a pattern such as %d.%m.%Y %H:%M:%S, got {time_format!r}"
        raise SourceError(msg, where="--time-format")
    path = Path(path).expanduser().absolute()
    source = sniff(path, TableSource(path=str(path), format=format_of(path), channels=(PLACEHOLDER,)))
    files = find_files(provisional(source))
    sampled, odd = _sample(files, source)
    columns, comma = (
        tuple(look_at_column(name, cells, decimal=sign) for name, cells in sampled.items()) for sign in ".,"
    )
    if source.delimiter != "," and _count_numbers(comma) > _count_numbers(columns):
        columns, source = comma, source.model_copy(update={"decimal": ","})
    wish = None if entity == FROM_PATH else entity
    rows = len(next(iter(sampled.values())))
    if time_format is not None:
        columns = tuple(
            with_time_format(c, sampled[c.name], time_format, named=c.name == time) for c in columns
        )
    if time_format is not None and not any(c.time_formats == (time_format,) for c in columns):
        msg = f"expected times of the format {time_format!r} in {time or 'a column'}, and there are none"
        raise SourceError(msg, where=str(path), remedy="Mend --time-format, or leave it away.")
    roles = assign_roles(columns, rows, time=time, entity=wish, where=str(path))
    forms = next((c.time_formats for c in columns if c.name == roles.time), ())
    source = source.model_copy(update={"time_column": roles.time, "time_format": next(iter(forms), None)})
    by_folder: dict[str, set[str]] = defaultdict(set)
    for file in files:
        folder, slash, rest = file.name.partition("/")
        if slash:
            by_folder[folder].add(rest)
    dated = are_dates(by_folder) and all("/" in file.name for file in files)
    as_batches = (dated or (roles.time is None and len(by_folder) > 1)) and not any(
        "=" in folder for folder in by_folder
    )
    from_path = entity == FROM_PATH
    if roles.entity is None and not from_path and len(files) > 1:
        groups = by_folder.values() if as_batches else [{file.name for file in files}]
        from_path = any(len(group) > 1 for group in groups) and (
            roles.time is None or _files_overlap(files, source)
        )
    entity_column = None if from_path else roles.entity
    left_out = {**roles.left_out, **dict.fromkeys(odd, NOT_IN_EVERY_FILE)}
    roles = Roles(roles.time, entity_column, roles.channels, left_out)
    entities, whole = _entities(files, source, roles, from_path=from_path, as_batches=as_batches)
    zone = UNKNOWN if roles.time is None else zone_of(sampled[roles.time])
    readings = Readings(columns, roles, entities, sum(e.rows for e in entities), whole, zone)
    counts = {folder: len(below) for folder, below in sorted(by_folder.items())}
    return TableProfile(
        path=path,
        format=source.format,
        delimiter=source.delimiter,
        decimal=source.decimal,
        header=source.header,
        time_format=source.time_format,
        files=len(files),
        folders=counts,
        entity_from_path=from_path,
        folders_are_batches=as_batches,
        readings=readings,
    )


def profile_sql(query: Path, url: str, time: str | None = None, entity: str | None = None) -> SqlProfile:
    """Look at the rows of a query bound to :start and :end.

    Args:
        query: the .sql file.
        url: the database, as in `source.url`.
        time: column of the times; None: the first column that holds some.
        entity: column of the entities; None: found by its values.

    Raises:
        ConfigError: the query or the url is not as it has to be.
        SourceError: the database cannot be reached, the query fails, or its columns do not fit.
    """
    query = Path(query).expanduser().absolute()
    if not query.is_file():
        msg = "expected a file with a query, and there is none"
        raise ConfigError(msg, where=str(query), remedy="Give the .sql file: --sql FILE.")
    source = SqlSource(query=str(query), url=url, time_column=PLACEHOLDER, channels=(PLACEHOLDER,))
    table = sql.first_rows(provisional(source).at(Path.cwd()), _MAX_ROWS // 10)
    if table.num_rows == 0:
        msg = "expected rows to look at, but the query gives none"
        raise SourceError(
            msg, where=str(query), remedy="Check its conditions; :start and :end are set wide open."
        )
    sampled = {name: table.column(name).combine_chunks() for name in table.column_names}
    columns = tuple(look_at_column(name, cells, formats=False) for name, cells in sampled.items())
    roles = assign_roles(columns, table.num_rows, time=time, entity=entity, where=str(query))
    if roles.time is None:
        msg = f"expected a column of times, got only {', '.join(table.column_names)}"
        raise SourceError(msg, where=str(query), remedy="Select the time too: batches are cut by it.")
    seen = _Times()
    seen.add(Cells(np.arange(table.num_rows), sampled), roles, "")
    whole = table.num_rows < _MAX_ROWS // 10
    readings = Readings(columns, roles, seen.profiles(), table.num_rows, whole, zone_of(sampled[roles.time]))
    return SqlProfile(query, url, readings)


@dataclass
class _Times:
    """The times of each entity, gathered chunk by chunk."""

    times: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, cells: Cells, roles: Roles, entity: str, time_format: str | None = None) -> None:
        count = len(cells.row)
        if roles.entity:
            encoded = read_names(cells.columns[roles.entity], where=roles.entity).dictionary_encode()
            codes = np.asarray(encoded.indices.fill_null(-1))
            names = encoded.dictionary.to_pylist()
        else:
            codes, names = np.zeros(count, np.int64), [entity]
        times = None
        if roles.time:
            times = read_times_as(cells.columns[roles.time], time_format, "UTC", where=roles.time)
        for code, name in enumerate(names):
            mine = codes == code
            self.rows[name] += int(mine.sum())
            if times is not None:
                self.times[name].append(times.us[mine & times.readable])

    def profiles(self) -> tuple[EntityProfile, ...]:
        return tuple(
            _entity_profile(name, self.rows[name], self.times.get(name, [])) for name in sorted(self.rows)
        )


def _entity_profile(name: str, rows: int, pieces: list[np.ndarray]) -> EntityProfile:
    times = np.unique(np.concatenate(pieces)) if pieces else np.zeros(0, np.int64)
    if times.size == 0:
        return EntityProfile(name, rows, None, None, None, 0, 0.0)
    steps = np.diff(times) / 1e6
    median = float(np.median(steps)) if steps.size else None
    longer = steps[steps > 1.5 * median] if median else np.zeros(0)
    return EntityProfile(
        name, rows, int(times[0]), int(times[-1]), median, len(longer), float(longer.max(initial=0.0))
    )


def _count_numbers(columns: tuple[Column, ...]) -> int:
    return sum(column.kind == "number" for column in columns)


def _names(file: TableFile, source: TableSource) -> list[str]:
    if source.format == "csv":
        own = list(CsvFile.look(file.path, delimiter=source.delimiter, header=source.header).columns)
    else:
        try:
            own = pq.read_schema(file.path).names
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"expected a Parquet file: {error}", where=str(file.path)) from error
    return [*own, *(name for name in file.partitions if name not in own)]


def _sample(files: list[TableFile], source: TableSource) -> tuple[dict[str, pa.Array], list[str]]:
    """The first rows of some files, by column, of the columns that all of these files have; and the
    columns that only some have."""
    some = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, _SAMPLED_FILES).astype(int))]
    columns = [(file, names) for file in some if (names := _names(file, source))]
    if not columns:
        raise SourceError("expected rows, but every file looked at is empty", where=str(files[0].path))
    shared = [name for name in columns[0][1] if all(name in names for _, names in columns)]
    if not shared:
        msg = (
            f"expected the same columns in all files, but {columns[0][0].name!r} shares none with the others"
        )
        remedy = "Give files of one form only: a folder, or a glob such as 'data/t*/*.csv'."
        raise SourceError(msg, where=str(files[0].path), remedy=remedy)
    odd = sorted({name for _, names in columns for name in names} - set(shared))
    pieces: dict[str, list[pa.Array]] = {name: [] for name in shared}
    for file, _ in columns:
        chunk = next(read_cells(file, source, shared, "UTC"), None)
        for name in shared if chunk is not None else ():
            assert chunk is not None
            piece = chunk.columns[name][:_SAMPLED_ROWS]
            pieces[name].append(piece.cast(pa.string()) if pa.types.is_null(piece.type) else piece)
    if not pieces[shared[0]]:
        raise SourceError("expected rows, but the files hold only a header", where=str(files[0].path))
    return {name: pa.concat_arrays(parts) for name, parts in pieces.items()}, odd


def _files_overlap(files: list[TableFile], source: TableSource) -> bool:
    """Whether the first rows of the files cover the same time: then each is an entity of its own, and
    not the next piece of one series."""
    time = source.time_column
    assert time is not None
    spans = []
    for file in files[:_SAMPLED_FILES]:
        chunk = next(read_cells(file, source, [time], "UTC"), None)
        if chunk is not None:
            found = read_times_as(chunk.columns[time], source.time_format, "UTC", where=file.name)
            if found.readable.any():
                spans.append((found.us[found.readable].min(), found.us[found.readable].max()))
    spans.sort()
    return any(later[0] <= earlier[1] for earlier, later in pairwise(spans))


def _entities(
    files: list[TableFile], source: TableSource, roles: Roles, *, from_path: bool, as_batches: bool
) -> tuple[tuple[EntityProfile, ...], bool]:
    """The entities, and whether every row was looked at."""
    wanted = [name for name in (roles.time, roles.entity) if name] or [roles.channels[0]]
    seen, left, whole = _Times(), _MAX_ROWS, len(files) <= _MAX_FILES
    for file in files[:_MAX_FILES]:
        name = _entity_name(file, as_batches=as_batches) if from_path else ""
        for cells in _up_to(read_cells(file, source, wanted, "UTC"), left):
            seen.add(cells, roles, name, source.time_format)
            left -= len(cells.row)
        if left <= 0:
            return seen.profiles(), False
    return seen.profiles(), whole


def _up_to(chunks: Iterator[Cells], rows: int) -> Iterator[Cells]:
    for cells in chunks:
        if rows <= 0:
            return
        yield cells
        rows -= len(cells.row)


def _entity_name(file: TableFile, *, as_batches: bool) -> str:
    below = file.name.partition("/")[2] if as_batches and "/" in file.name else file.name
    bare = below[:-3] if below.lower().endswith(".gz") else below
    return Path(bare).with_suffix("").as_posix()
