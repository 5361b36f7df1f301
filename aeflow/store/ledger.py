"""The ledger: every batch of every pipeline, what became of it, and each change on the way.

A batch is `running`, `published`, `refused` or `failed`. That one is missing or late is no state: who
reads the ledger sees it by comparing with the source and the calendar.

`batches` holds one row a batch. Its `state`, times, `attempts` and `message` tell of the last
attempt; its facts (revision, digests, counts) tell of the report that can be read now, and of the
last attempt only while there is no report. So a night that was published and whose re-run failed
reads: failed, revision 1. `history` holds every change of state, with the facts of that attempt; no
row of it is ever changed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, cast

import sqlalchemy as sa

from aeflow import settings
from aeflow.exceptions import InputError
from aeflow.store.ledger_tables import batches, database_errors, history, open_database, writing

if TYPE_CHECKING:
    from datetime import datetime

    from aeflow.store.claims import Claim
    from aeflow.store.paths import Paths

State = Literal["running", "published", "refused", "failed"]


@dataclass(frozen=True)
class Facts:
    """What is known of a batch after an attempt. None: not known, or not got that far."""

    revision: int | None = None
    """The number of the published report, from 1."""
    report_digest: str | None = None
    """SHA-256 of the report's manifest."""
    input_digest: str | None = None
    """SHA-256 of the valid rows in canonical order."""
    config_digest: str | None = None
    detector_version: int | None = None
    rows_in: int | None = None
    scored: int | None = None
    quarantined: int | None = None
    not_scorable: int | None = None
    flags: int | None = None


@dataclass(frozen=True)
class Batch:
    """One row of `batches`. Times are aware, in UTC."""

    pipeline: str
    batch: str
    state: State
    facts: Facts
    started_at: datetime
    finished_at: datetime | None
    attempts: int
    message: str


@dataclass(frozen=True)
class Change:
    """One row of `history`: the batch came into `state` at the time `at`, by a process on a host."""

    pipeline: str
    batch: str
    state: State
    at: datetime
    facts: Facts
    attempt: int
    host: str
    pid: int
    message: str


@dataclass(frozen=True)
class Ledger:
    """The ledger of one pipeline. Every call is one transaction of its own; any number of processes
    may read and write at once. Times (`now`) are aware.

    Raises (every method):
        StorageError: the database cannot be read or written.
    """

    engine: sa.Engine
    pipeline: str

    def begin(self, batch: str, claim: Claim, *, now: datetime) -> Batch:
        """The batch is running: one more attempt. `claim` is the proof that no other process runs it;
        one that is `running` here was killed and is taken over.

        Raises:
            InputError: the batch id is no text that a database can hold.
        """
        _require_aware(now)
        _require_text(batch)
        with database_errors(str(self.engine.url)), writing(self.engine) as connection:
            before = self._row(connection, batch)
            values: dict[str, Any] = {
                "state": "running",
                "started_at": now,
                "finished_at": None,
                "attempts": before.attempts + 1 if before else 1,
                "message": "taken over from a run that was killed"
                if before is not None and before.state == "running"
                else "",
            }
            if before is None:
                connection.execute(sa.insert(batches).values(pipeline=self.pipeline, batch=batch, **values))
            else:
                connection.execute(sa.update(batches).where(self._is(batches, batch)).values(**values))
            self._remember(connection, batch, claim, Facts(), now)
            return cast("Batch", self._row(connection, batch))

    def finish(self, batch: str, claim: Claim, facts: Facts, *, now: datetime, message: str = "") -> Batch:
        """The batch is published as `facts` say, `facts.revision` among them.

        Raises:
            InputError: the facts name no revision, or the batch is not running.
        """
        if facts.revision is None:
            msg = "expected the revision of the published report, got none"
            raise InputError(msg, where=f"ledger, batch {batch}")
        return self._end(batch, claim, "published", facts, message, now=now)

    def refuse(
        self, batch: str, claim: Claim, message: str, *, now: datetime, facts: Facts | None = None
    ) -> Batch:
        """The batch was read and found unfit to score; `message` says why.

        Raises:
            InputError: the batch is not running.
        """
        return self._end(batch, claim, "refused", facts or Facts(), message, now=now)

    def fail(
        self, batch: str, claim: Claim, message: str, *, now: datetime, facts: Facts | None = None
    ) -> Batch:
        """The attempt ended by an error; `message` is its text.

        Raises:
            InputError: the batch is not running.
        """
        return self._end(batch, claim, "failed", facts or Facts(), message, now=now)

    def withdraw(self, batch: str, claim: Claim, message: str, *, now: datetime) -> None:
        """The attempt found no such batch: the history keeps it, but a batch that was never anything
        else is not one of the pipeline's batches.

        Raises:
            InputError: the batch is not running.
        """
        ended = self.fail(batch, claim, message, now=now)
        if ended.facts.revision is None and ended.attempts == 1:
            with database_errors(str(self.engine.url)), writing(self.engine) as connection:
                connection.execute(sa.delete(batches).where(self._is(batches, batch)))

    def get(self, batch: str) -> Batch | None:
        """What is known of the batch; None where it was never begun."""
        with database_errors(str(self.engine.url)), self.engine.connect() as connection:
            return self._row(connection, batch)

    def all(self) -> list[Batch]:
        """Every batch of the pipeline that was ever begun, by id."""
        query = sa.select(batches).where(batches.c.pipeline == self.pipeline)
        with database_errors(str(self.engine.url)), self.engine.connect() as connection:
            found = [_batch(row) for row in connection.execute(query).mappings()]
        # Sorted here: PostgreSQL would sort by the rules of its locale.
        return sorted(found, key=lambda b: b.batch)

    def history(self, batch: str | None = None) -> list[Change]:
        """Every change of state in the order it was written, of one batch or of all."""
        query = sa.select(history).where(history.c.pipeline == self.pipeline).order_by(history.c.id)
        if batch is not None:
            query = query.where(history.c.batch == batch)
        with database_errors(str(self.engine.url)), self.engine.connect() as connection:
            return [_change(row) for row in connection.execute(query).mappings()]

    def _end(
        self, batch: str, claim: Claim, state: State, facts: Facts, message: str, *, now: datetime
    ) -> Batch:
        _require_aware(now)
        with database_errors(str(self.engine.url)), writing(self.engine) as connection:
            before = self._row(connection, batch)
            if before is None or before.state != "running":
                msg = f"expected a running batch, but it {f'is {before.state}' if before else 'was never begun'}"
                raise InputError(msg, where=f"ledger, batch {batch}", remedy="Call begin first.")
            values: dict[str, Any] = {"state": state, "finished_at": now, "message": _storable(message)}
            if state == "published" or before.facts.revision is None:
                values |= asdict(facts)
            connection.execute(sa.update(batches).where(self._is(batches, batch)).values(**values))
            self._remember(connection, batch, claim, facts, now)
            return cast("Batch", self._row(connection, batch))

    def _remember(
        self, connection: sa.Connection, batch: str, claim: Claim, facts: Facts, now: datetime
    ) -> None:
        """Append what the row of the batch says now, with the facts of this attempt."""
        row = cast("Batch", self._row(connection, batch))
        connection.execute(
            sa.insert(history).values(
                pipeline=self.pipeline,
                batch=batch,
                state=row.state,
                at=now,
                attempt=row.attempts,
                host=claim.host,
                pid=claim.pid,
                message=row.message,
                **asdict(facts),
            )
        )

    def _row(self, connection: sa.Connection, batch: str) -> Batch | None:
        found = connection.execute(sa.select(batches).where(self._is(batches, batch))).mappings().first()
        return None if found is None else _batch(found)

    def _is(self, table: sa.Table, batch: str) -> sa.ColumnElement[bool]:
        return (table.c.pipeline == self.pipeline) & (table.c.batch == batch)


def open_ledger(paths: Paths) -> Ledger:
    """The ledger of a pipeline, made on first use: the database that `AEFLOW_LEDGER_URL` names, or
    `ledger.db` in the home folder.

    Raises:
        StorageError: the database cannot be reached, written, or was made by another version.
    """
    return Ledger(engine=open_database(paths.ledger, settings.ledger_url()), pipeline=paths.pipeline)


def _batch(row: sa.RowMapping) -> Batch:
    return Batch(facts=_facts_of(row), **{f.name: row[f.name] for f in fields(Batch) if f.name != "facts"})


def _change(row: sa.RowMapping) -> Change:
    return Change(facts=_facts_of(row), **{f.name: row[f.name] for f in fields(Change) if f.name != "facts"})


def _facts_of(row: sa.RowMapping) -> Facts:
    return Facts(**{f.name: row[f.name] for f in fields(Facts)})


def _require_aware(now: datetime) -> None:
    if now.tzinfo is None:
        msg = f"expected an aware time, got {now.isoformat()} without an offset"
        raise InputError(msg, where="ledger", remedy="Pass datetime.now(UTC).")


def _require_text(batch: str) -> None:
    if _storable(batch) != batch:
        msg = "expected a batch id that is text, got one with a NUL or with bytes that are no UTF-8"
        raise InputError(msg, where=_storable(batch), remedy="Rename the batch's folder.")


def _storable(text: str) -> str:
    """The text as every database takes it: a file's name in it may hold bytes that are no UTF-8."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8").replace("\0", "\\x00")
