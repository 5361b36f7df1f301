"""Questions to all reports of a pipeline: those that come along, by name, and the user's own.

A query is one SELECT. Comments at its head say what it tells and which parameters it takes:

    -- The flags of the last nights.
    -- $nights = 7: so many nights, up to the last.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from aeflow.config import load_config
from aeflow.exceptions import InputError
from aeflow.report.stored import damaged
from aeflow.report.views import VIEWS, damaged_file, open_views
from aeflow.settings import home_for
from aeflow.store.files import atomic_file, storage_errors
from aeflow.store.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PARAMETER = re.compile(r"--\s*\$(\w+)\s*=\s*([^:]*):\s*(.*)")
_NAME = re.compile(r"\w+")
_ROWS_AT_ONCE = 10_000
Value = int | float | str
_WRONG_QUERY = (
    duckdb.ParserException,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.PermissionException,
)


@dataclass(frozen=True)
class Parameter:
    """What stands for `$name` in a query unless another value is given."""

    name: str
    default: Value
    meaning: str


@dataclass(frozen=True)
class Query:
    """name: of a query that comes along, or of the file; "" of a text that was typed in."""

    name: str
    text: str
    about: str
    parameters: tuple[Parameter, ...]


@cache
def shipped_queries() -> dict[str, Query]:
    """The queries that come along, by name."""
    folder = files("aeflow.report") / "sql"
    found = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda f: f.name)
    return {q.name: q for q in (_parsed(f.name.removesuffix(".sql"), f.read_text("utf-8")) for f in found)}


def find_query(what: str) -> Query:
    """The query that `what` means: the name of one that comes along, a file, or SQL itself.

    Raises:
        InputError: a single word that is neither.
        StorageError: the file cannot be read.
    """
    if what in shipped_queries():
        return shipped_queries()[what]
    if what.endswith(".sql"):
        path = Path(what)
        with storage_errors(path, "read the query"):
            try:
                return _parsed(path.name, path.read_text("utf-8-sig"))
            except UnicodeDecodeError as error:
                raise InputError(f"expected a text in UTF-8: {error}", where=str(path)) from error
    if _NAME.fullmatch(what.strip()):
        raise InputError(
            f"expected SQL, a file that ends in .sql, or one of {', '.join(shipped_queries())}; got {what!r}"
        )
    return _parsed("", what)


@contextmanager
def ask(config: Path, query: Query, given: Mapping[str, Value]) -> Iterator[pa.RecordBatchReader]:
    """The answer, portion by portion, as long as the block runs.

    Args:
        config: the pipeline's file.
        query: what to ask.
        given: parameter -> value, instead of its default.

    Raises:
        InputError: it is not one SELECT, a parameter is missing or unknown, or DuckDB refuses it.
        StorageError, IntegrityError: a report or the database cannot be read.
    """
    pipeline = load_config(config)
    paths = Paths(home_for(config), pipeline.name)
    # Thousands of files take seconds to look into: only those that the query speaks of.
    wanted = [view for view in VIEWS if re.search(rf"\b{view}\b", query.text, re.IGNORECASE)]
    with (
        _refused(query, paths, wanted),
        open_views(paths, pipeline.kind, zone=pipeline.batch.time_zone, wanted=wanted) as connection,
    ):
        values = _bound(query, given)
        relation = connection.sql(query.text, params=values) if values else connection.sql(query.text)
        yield relation.to_arrow_reader(_ROWS_AT_ONCE)


def describe_views(config: Path) -> list[tuple[str, str, str]]:
    """Every column that a query can name: view, column, type.

    Raises:
        StorageError, IntegrityError: a report or the database cannot be read.
    """
    pipeline = load_config(config)
    with open_views(
        Paths(home_for(config), pipeline.name), pipeline.kind, zone=pipeline.batch.time_zone
    ) as connection:
        found = connection.sql(
            "select table_name, column_name, data_type from information_schema.columns "
            "where table_schema = 'main' order by table_name, ordinal_position"
        ).fetchall()
    return [(str(view), str(column), str(kind)) for view, column, kind in found]


def write_csv(reader: pa.RecordBatchReader, path: Path) -> int:
    """Write the answer as CSV with a header; lists and structs as JSON. Returns the number of rows.

    Raises:
        InputError: a column holds pictures.
        StorageError: the file cannot be written.
    """
    for field in reader.schema:
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            raise InputError(
                f"the column {field.name} holds pictures, which CSV cannot",
                remedy="Leave it out (select * exclude (...)), or write --parquet.",
            )
    nested = [pa.types.is_nested(field.type) for field in reader.schema]
    schema = pa.schema(
        [pa.field(f.name, pa.string()) if n else f for f, n in zip(reader.schema, nested, strict=True)]
    )
    rows = 0
    with atomic_file(path) as file, pa.csv.CSVWriter(file, schema) as writer:
        for batch in reader:
            columns = [_as_json(c) if n else c for c, n in zip(batch.columns, nested, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            rows += len(batch)
    return rows


def write_parquet(reader: pa.RecordBatchReader, path: Path) -> int:
    """Write the answer as Parquet. Returns the number of rows.

    Raises:
        StorageError: the file cannot be written.
    """
    rows = 0
    with atomic_file(path) as file, pq.ParquetWriter(file, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += len(batch)
    return rows


def parameter_value(text: str) -> Value:
    """A value as it is typed in: a whole number, a number, or text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


@contextmanager
def _refused(query: Query, paths: Paths, wanted: Sequence[str]) -> Iterator[None]:
    """What DuckDB has against a query is the user's to mend: the query, or a file that was damaged."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise InputError(
            f"the answer does not fit into memory: {error}", where=query.name, remedy="Ask for less at once."
        ) from error
    except duckdb.Error as error:
        broken = None if isinstance(error, _WRONG_QUERY) else damaged_file(paths, wanted, str(error))
        if broken is not None:
            raise damaged(broken, str(error)) from error
        raise InputError(
            f"DuckDB cannot answer this: {error}",
            where=query.name,
            remedy="`aeflow sql CONFIG --list` names every view and column; files cannot be read or written.",
        ) from error


def _bound(query: Query, given: Mapping[str, Value]) -> dict[str, Value]:
    statements = duckdb.extract_statements(query.text)
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        came = ", ".join(str(kind).rpartition(".")[2] for kind in kinds) or "nothing"
        raise InputError(f"expected one SELECT, got {came}", where=query.name)
    named = set(statements[0].named_parameters)
    values = {p.name: p.default for p in query.parameters if p.name in named} | dict(given)
    for problem, names in (("no value for", named - values.keys()), ("no parameter", values.keys() - named)):
        if names:
            raise InputError(
                f"the query has {problem} {', '.join(f'${name}' for name in sorted(names))}",
                where=query.name,
                remedy="Parameters are given as --set NAME=VALUE.",
            )
    return values


def _parsed(name: str, text: str) -> Query:
    about, parameters = [], []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        found = _PARAMETER.fullmatch(line.strip())
        if found is None:
            about.append(line.strip("- "))
        else:
            parameters.append(Parameter(found[1], parameter_value(found[2].strip()), found[3]))
    return Query(name, text, " ".join(about), tuple(parameters))


def _as_json(column: pa.Array) -> pa.Array:
    values: Sequence[Any] = column.to_pylist()
    texts = [None if v is None else json.dumps(v, default=str, ensure_ascii=False) for v in values]
    return pa.array(texts, pa.string())
