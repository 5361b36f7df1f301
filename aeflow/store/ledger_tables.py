"""The tables of the ledger, the nightly runs, the verdicts, the incidents and the retrainings, and their database: SQLite by default,
PostgreSQL by `AEFLOW_LEDGER_URL`."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.pool import NullPool

from aeflow.exceptions import StorageError
from aeflow.store.claims import exclusive
from aeflow.store.files import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1
_BUSY_SECONDS = 60
# Any number that other users of the same PostgreSQL database do not lock by ("aefl" in ASCII).
_CREATION_LOCK = 0x6165666C


class UtcTime(sa.TypeDecorator[datetime]):
    """An aware time, stored in UTC without an offset: SQLite has no other way."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Aware to naive UTC."""
        del dialect
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Naive UTC to aware."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC)


def _facts() -> list[sa.Column[Any]]:
    return [
        sa.Column("revision", sa.Integer),
        sa.Column("report_digest", sa.String(64)),
        sa.Column("input_digest", sa.String(64)),
        sa.Column("config_digest", sa.String(64)),
        sa.Column("detector_version", sa.Integer),
        sa.Column("rows_in", sa.BigInteger),
        sa.Column("scored", sa.BigInteger),
        sa.Column("quarantined", sa.BigInteger),
        sa.Column("not_scorable", sa.BigInteger),
        sa.Column("flags", sa.BigInteger),
    ]


_metadata = sa.MetaData()

about = sa.Table(
    "aeflow_ledger",
    _metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
)

batches = sa.Table(
    "batches",
    _metadata,
    sa.Column("pipeline", sa.Text, primary_key=True),
    sa.Column("batch", sa.Text, primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    *_facts(),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("finished_at", UtcTime),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
)

history = sa.Table(
    "history",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("batch", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    *_facts(),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Index("history_of_batch", "pipeline", "batch", "id"),
)


verdicts = sa.Table(
    "verdicts",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("flag_id", sa.Text, nullable=False),
    sa.Column("batch", sa.Text, nullable=False),
    sa.Column("word", sa.String(16), nullable=False),
    sa.Column("reviewer", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("detector_version", sa.Integer),
    sa.Index("verdicts_of_flag", "pipeline", "flag_id", "id"),
)

incidents = sa.Table(
    "incidents",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("severity", sa.Float),
    sa.Column("first_at", UtcTime, nullable=False),
    sa.Column("last_at", UtcTime, nullable=False),
    sa.Column("times", sa.Integer, nullable=False),
    sa.Column("over_at", UtcTime),
    sa.Index("incidents_of_key", "pipeline", "kind", "key"),
)

tellings = sa.Table(
    "tellings",
    _metadata,
    sa.Column("incident", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("begun_at", UtcTime, nullable=False),
    sa.Column("told_at", UtcTime),
)

channels = sa.Table(
    "channels",
    _metadata,
    sa.Column("pipeline", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("since", UtcTime, nullable=False),
)

nightly_runs = sa.Table(
    "nightly_runs",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("begun_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Index("nightly_runs_of_pipeline", "pipeline", "begun_at"),
)


retrainings = sa.Table(
    "retrainings",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("pipeline", sa.Text, nullable=False),
    sa.Column("step", sa.String(16), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("trigger", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("batch", sa.Text),
    sa.Column("version", sa.Integer),
    sa.Index("retrainings_of_pipeline", "pipeline", "id"),
)

marks = sa.Table(
    "marks",
    _metadata,
    sa.Column("pipeline", sa.Text, primary_key=True),
    sa.Column("batch", sa.Text, primary_key=True),
    sa.Column("mark", sa.String(64), nullable=False),
)


def open_database(file: Path, url: str | None) -> sa.Engine:
    """The ledger's database, made on first use: the SQLite file `file`, or the one at `url`.

    Raises:
        StorageError: it cannot be reached or written, or another version of aeflow made it.
    """
    with database_errors(url or str(file)):
        engine = _sqlite(file) if url is None else _from_url(url)
        tables = set(sa.inspect(engine).get_table_names())
        if not tables >= set(_metadata.tables):  # new, or made before a table came
            if engine.dialect.name == "sqlite":
                # SQLite switches to WAL without waiting for others, so the first of them does it alone.
                with exclusive(_database_file(engine).with_suffix(".lock")):
                    _create(engine)
            else:
                _create(engine)
        with engine.connect() as connection:
            found = connection.execute(sa.select(about.c.version)).scalar_one()
    if found != VERSION:
        msg = f"expected a ledger of version {VERSION}, found version {found}"
        raise StorageError(msg, where=_shown(url or str(file)), remedy="Use the aeflow that made it.")
    return engine


@contextmanager
def database_errors(where: str) -> Iterator[None]:
    """Turns an error of the database in the block into a `StorageError`."""
    try:
        yield
    except (exc.SQLAlchemyError, sqlite3.Error) as error:  # the latter where SQLAlchemy is passed by
        reason = str(getattr(error, "orig", None) or error).strip()
        msg = f"the ledger cannot be read or written: {reason}"
        remedy = "Look whether the database is reachable and its disk has room; then run again."
        raise StorageError(msg, where=_shown(where), remedy=remedy) from error


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that reads and then writes: on SQLite it takes the write lock at once, since one
    that upgrades from reading later is refused without waiting."""
    with engine.execution_options(sqlite_begin="IMMEDIATE").begin() as connection:
        yield connection


def _sqlite(file: Path) -> sa.Engine:
    if file.is_file() and not all(os.access(place, os.W_OK) for place in (file, file.parent)):
        return _only_read(file)
    with storage_errors(file, "make the ledger's folder"):
        file.parent.mkdir(parents=True, exist_ok=True)
    return _tuned(sa.create_engine(sa.URL.create("sqlite", database=str(file)), poolclass=NullPool))


def _only_read(file: Path) -> sa.Engine:
    """A ledger that this user may read and not write: commands that only look work all the same."""
    # Of what a living writer has not yet put into the file, the file beside it tells; without one there is
    # nothing more, and SQLite must not try to make one.
    how = "mode=ro" if file.with_name(f"{file.name}-wal").exists() else "mode=ro&immutable=1"
    address = f"sqlite:///file:{quote(str(file))}?{how}&uri=true"
    return _tuned(sa.create_engine(address, poolclass=NullPool))


def _from_url(url: str) -> sa.Engine:
    remedy = "AEFLOW_LEDGER_URL is sqlite:///file.db or postgresql://user@host/database."
    try:
        parsed = sa.make_url(url)
        if parsed.drivername in {"postgresql", "postgres"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(parsed, poolclass=NullPool)
    except ModuleNotFoundError as error:
        msg = f"the driver of the ledger's database is not installed ({error.name})"
        raise StorageError(
            msg, where=_shown(url), remedy="Install it: pip install 'aeflow[postgresql]'."
        ) from error
    except (exc.ArgumentError, exc.NoSuchModuleError) as error:
        msg = f"expected the address of a database, got one that cannot be read ({error})"
        raise StorageError(msg, where="AEFLOW_LEDGER_URL", remedy=remedy) from error
    return _tuned(engine) if engine.dialect.name == "sqlite" else engine


def _tuned(engine: sa.Engine) -> sa.Engine:
    """SQLite for many processes: readers do not wait, writers wait for each other."""

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # sqlite3 itself begins no transaction: `_begin` does
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _create(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
    with writing(engine) as connection_:
        if engine.dialect.name == "postgresql":
            connection_.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION_LOCK)))
        _metadata.create_all(connection_, checkfirst=True)
        if connection_.execute(sa.select(about.c.version)).first() is None:
            connection_.execute(sa.insert(about).values(version=VERSION))


def _database_file(engine: sa.Engine) -> Path:
    return Path(engine.url.database or "")


def _shown(where: str) -> str:
    """The address without its password."""
    try:
        return sa.make_url(where).render_as_string(hide_password=True)
    except exc.ArgumentError:
        return where
