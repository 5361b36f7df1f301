"""Rows from a query with bound `:start` and `:end`, on DuckDB, SQLite and PostgreSQL.

The bounds reach the database as values, never as text of the query. What each gets:

    DuckDB, PostgreSQL   timestamps with a zone; the session's zone is batch.time_zone, so that a
                         column of plain timestamps is compared as local time of the pipeline
    SQLite               text "2026-11-20 00:00:00", local time of batch.time_zone, for it has no
                         times; compare with datetime(column), which also reads other forms of text

Rows are streamed, sorted by the database. Those outside the bounds are dropped here once more.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa

from aeflow.data.readings import Cells, read_times
from aeflow.exceptions import ConfigError, SourceError
from aeflow.settings import environment_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aeflow.config import PipelineConfig, SqlSource

_CHUNK_ROWS = 16_384
_EVER = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))  # bounds that hold any batch
_BOUND = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | \$(\w*)\$.*?\$\1\$ | :: | :(start|end)\b""",
    re.VERBOSE | re.DOTALL,
)
_NAME = re.compile(r"\$\{(\w+)\}")


class Database(Protocol):
    """One open database; the query has `:start` and `:end` in its own style already."""

    def batches(self, query: str, start: datetime, end: datetime) -> Iterator[pa.RecordBatch]:
        """The result of the query, streamed."""


def read_cells(config: PipelineConfig, start: datetime, end: datetime, *, scratch: Path) -> Iterator[Cells]:
    """The rows of the query between the bounds, sorted by entity, time and values, in chunks.

    Args:
        config: of a pipeline with a SQL source.
        start: first instant, aware.
        end: end, exclusive, aware.
        scratch: folder in which DuckDB may spill.

    Raises:
        ConfigError: the query file or the url is not as it has to be.
        SourceError: the database cannot be reached, the query fails, or a column is missing.
    """
    source = _source(config)
    named = [name for name in (source.entity_column, source.time_column, *source.channels) if name]
    wanted = ", ".join(_quoted(name) for name in named)
    query = f"select {wanted} from (\n{_query(config)}\n) as readings order by {wanted}"  # noqa: S608
    row = 0
    with _open(config, scratch) as database, _explained(config):
        for batch in database.batches(query, start, end):
            if batch.num_rows:
                columns = dict(zip(named, batch.columns, strict=True))
                yield Cells(row + 1 + np.arange(batch.num_rows), columns)
                row += batch.num_rows


def first_rows(config: PipelineConfig, rows: int) -> pa.Table:
    """At most so many rows of the query with the widest bounds, with all its columns.

    Raises:
        ConfigError: the query file or the url is not as it has to be.
        SourceError: the database cannot be reached, or the query fails.
    """
    query = f"select * from (\n{_query(config)}\n) as readings limit {rows:d}"  # noqa: S608
    with _open(config, None) as database, _explained(config):
        batches = list(database.batches(query, *_EVER))
    return pa.Table.from_batches(batches) if batches else pa.table({})


def time_span_us(config: PipelineConfig, *, scratch: Path | None = None) -> tuple[int, int] | None:
    """First and last time of the query with the widest bounds, microseconds since 1970 in UTC; None
    if it gives no row.

    Raises:
        ConfigError: the query file or the url is not as it has to be.
        SourceError: the database cannot be reached, the query fails, or its time cannot be read.
    """
    source = _source(config)
    time = _quoted(source.time_column)
    query = f"select min({time}) as low, max({time}) as high from (\n{_query(config)}\n) as readings"  # noqa: S608
    with _open(config, scratch) as database, _explained(config):
        batches = [batch for batch in database.batches(query, *_EVER) if batch.num_rows]
    edges = (
        pa.concat_arrays([batches[0].column("low"), batches[0].column("high")]) if batches else pa.nulls(2)
    )
    if edges.null_count:
        return None
    times = read_times(edges, config.batch.time_zone, where=f"{source.query}, {source.time_column}")
    if not times.readable.all():
        msg = f"expected ISO 8601 times, got {edges[0].as_py()!r} to {edges[1].as_py()!r}"
        raise SourceError(msg, where=f"{source.query}, {source.time_column}")
    return int(times.us[0]), int(times.us[1])


@dataclass(frozen=True)
class _DuckDB:
    connection: Any

    def batches(self, query: str, start: datetime, end: datetime) -> Iterator[pa.RecordBatch]:
        bound = _bind(query, {"start": "$start", "end": "$end"})
        yield from self.connection.sql(bound, params={"start": start, "end": end}).to_arrow_reader(
            _CHUNK_ROWS
        )


@dataclass(frozen=True)
class _SQLite:
    connection: sqlite3.Connection
    zone: ZoneInfo

    def batches(self, query: str, start: datetime, end: datetime) -> Iterator[pa.RecordBatch]:
        bounds = {"start": self._text(start), "end": self._text(end)}
        cursor = self.connection.execute(query, bounds)
        names = [column[0] for column in cursor.description]
        while rows := cursor.fetchmany(_CHUNK_ROWS):
            columns = [_untyped(cells) for cells in zip(*rows, strict=True)]
            yield pa.record_batch(columns, names=names)

    def _text(self, time: datetime) -> str:
        return time.astimezone(self.zone).strftime("%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True)
class _PostgreSQL:
    connection: Any
    zone: str

    def batches(self, query: str, start: datetime, end: datetime) -> Iterator[pa.RecordBatch]:
        # A query with parameters would come as one block; one that reads them from the session streams.
        bound = _bind(
            query, {key: f"current_setting('aeflow.{key}')::timestamptz" for key in ("start", "end")}
        )
        with self.connection.cursor() as cursor:
            for key, value in (
                ("TimeZone", self.zone),
                ("aeflow.start", start.isoformat()),
                ("aeflow.end", end.isoformat()),
            ):
                cursor.execute("select set_config($1, $2, false)", (key, value))
                cursor.fetchall()
            cursor.execute(bound)
            yield from cursor.fetch_record_batch()


@contextmanager
def _open(config: PipelineConfig, scratch: Path | None) -> Iterator[Database]:
    url = _url(config)
    scheme, _, rest = url.partition("://")
    if scheme in {"duckdb", "sqlite"}:
        path = config.folder / unquote(rest.removeprefix("/"))
        if not path.is_file():
            raise SourceError(
                "expected a database file, and there is none", where=str(path), remedy="Check source.url."
            )
        if scheme == "duckdb":
            settings = {
                "memory_limit": "256MB",
                "threads": "2",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
            }
            if scratch is not None:
                settings["temp_directory"] = str(scratch / "query")
            with _explained(config):
                duck = duckdb.connect(str(path), read_only=True, config=settings)
            with duck:
                duck.execute(f"set TimeZone = '{config.batch.time_zone}'")  # checked to be a zone
                yield _DuckDB(duck)
        else:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as lite:
                yield _SQLite(lite, ZoneInfo(config.batch.time_zone))
    elif scheme in {"postgresql", "postgres"}:
        try:
            from adbc_driver_postgresql import dbapi  # noqa: PLC0415 - an optional extra
        except ImportError as error:
            msg = "a PostgreSQL source needs the driver adbc-driver-postgresql, which is not installed"
            raise SourceError(msg, where="source.url", remedy="pip install 'aeflow[postgresql]'") from error
        with _explained(config):
            postgres = dbapi.connect(url)
        with postgres:
            yield _PostgreSQL(postgres, config.batch.time_zone)
    else:
        msg = f"expected duckdb:///, sqlite:/// or postgresql://, got {scheme}://"
        raise ConfigError(msg, where="source.url")


@contextmanager
def _explained(config: PipelineConfig) -> Iterator[None]:
    """Whatever a driver raises, as one message that holds no password."""
    try:
        yield
    except (SourceError, ConfigError):
        raise
    except (duckdb.Error, sqlite3.Error, OSError, pa.ArrowException) as error:
        raise _failure(config, error) from None
    except Exception as error:
        if type(error).__module__.split(".")[0] != "adbc_driver_manager":
            raise
        # Not chained: the driver's own text may hold the url.
        raise _failure(config, error) from None


def _failure(config: PipelineConfig, error: Exception) -> SourceError:
    source = _source(config)
    url = _url(config)
    text = " ".join(str(error).split()).replace(url, source.url)
    password = urlsplit(url).password
    for secret in {password, unquote(password)} if password else set():
        text = text.replace(secret, "***")
    return SourceError(
        f"the query failed: {text[:500]}", where=source.query, remedy="Check the query and source.url."
    )


def _source(config: PipelineConfig) -> SqlSource:
    assert config.source.kind == "sql"
    return config.source


def _query(config: PipelineConfig) -> str:
    """The text of the query, without the semicolon at its end."""
    path = config.folder / Path(_source(config).query).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"the query cannot be read: {getattr(error, 'strerror', None) or error}"
        raise ConfigError(msg, where=str(path), remedy="Check source.query.") from error
    text = re.sub(r";\s*((--[^\n]*\s*)*)$", r"\n\1", text)
    bound = {match[2] for match in _BOUND.finditer(text) if match[2]}
    if bound != {"start", "end"}:
        missing = " and ".join(f":{name}" for name in ("start", "end") if name not in bound)
        msg = f"expected a query bound to :start and :end, but {missing} does not stand in it"
        raise ConfigError(msg, where=str(path), remedy="Add: where time >= :start and time < :end")
    return text


def _bind(query: str, style: dict[str, str]) -> str:
    """The query with `:start` and `:end` in the style of a driver; strings, comments, casts stay."""
    return _BOUND.sub(lambda match: style[match[2]] if match[2] else match[0], query)


def _url(config: PipelineConfig) -> str:
    """The url with each `${NAME}` taken from the environment."""

    def value(match: re.Match[str]) -> str:
        found = environment_value(match[1])
        if found is None:
            msg = f"expected the environment variable {match[1]}, which is not set"
            raise ConfigError(msg, where="source.url", remedy=f"export {match[1]}=...")
        return found

    return _NAME.sub(value, _source(config).url)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _untyped(cells: Sequence[object]) -> pa.Array:
    """A column of a database whose cells each have their own type: numbers if all are, else text."""
    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds <= {int, float}:
        return pa.array(cells, pa.int64() if kinds == {int} else pa.float64())
    text = [
        c.decode("utf-8", "replace") if isinstance(c, bytes) else c if c is None else str(c) for c in cells
    ]
    return pa.array(text, pa.string())
