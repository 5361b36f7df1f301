"""When the pipeline last looked for batches to score, and how that went: what a dead-man alarm watches.

The ledger tells what became of each batch. That nobody looked at all leaves no trace there: a night
without data and a night on which nothing ran look the same. Here each nightly run leaves a row.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, cast

import sqlalchemy as sa

from aeflow import settings
from aeflow.store.ledger_tables import database_errors, nightly_runs, open_database, writing

if TYPE_CHECKING:
    from datetime import datetime

    from aeflow.store.paths import Paths

NIGHTLY = "nightly"
"""The task whose claim a nightly run holds."""
NightOutcome = Literal["scheduled", "running", "done", "failed"]


@dataclass(frozen=True)
class NightlyRun:
    """One row of `nightly_runs`. Times are aware, in UTC."""

    id: int
    begun_at: datetime
    ended_at: datetime | None
    outcome: NightOutcome
    """scheduled: from then on nightly runs are expected; running: or killed; failed: at least one batch
    could not be scored."""
    message: str


@dataclass(frozen=True)
class NightlyRuns:
    """The nightly runs of one pipeline. Every call is one transaction of its own; any number of
    processes may read and write at once. Times (`now`) are aware.

    Raises (every method):
        StorageError: the database cannot be read or written.
    """

    engine: sa.Engine
    pipeline: str

    def expect(self, *, now: datetime) -> None:
        """From now on there is a schedule: nights that do not come are missed. Said once."""
        if self.first() is None:
            values = {"pipeline": self.pipeline, "begun_at": now, "outcome": "scheduled", "message": ""}
            with database_errors(str(self.engine.url)), writing(self.engine) as connection:
                connection.execute(sa.insert(nightly_runs).values(**values))

    def begin(self, *, now: datetime) -> NightlyRun:
        """A nightly run begins: whatever the source holds by now, it will look at."""
        with database_errors(str(self.engine.url)), writing(self.engine) as connection:
            values = {"pipeline": self.pipeline, "begun_at": now, "outcome": "running", "message": ""}
            connection.execute(sa.insert(nightly_runs).values(**values))
            return cast("NightlyRun", self._one(connection, self._mine, nightly_runs.c.id.desc()))

    def end(self, run: NightlyRun, outcome: NightOutcome, message: str, *, now: datetime) -> None:
        """It ended so."""
        with database_errors(str(self.engine.url)), writing(self.engine) as connection:
            query = sa.update(nightly_runs).where(nightly_runs.c.id == run.id)
            connection.execute(query.values(ended_at=now, outcome=outcome, message=message))

    def first(self) -> NightlyRun | None:
        """The first row: when the nights began to be watched. None where there is none."""
        with database_errors(str(self.engine.url)), self.engine.connect() as connection:
            return self._one(connection, self._mine, nightly_runs.c.id)

    def last_ended(self) -> NightlyRun | None:
        """The one that began last of those that came to their end, well or not."""
        ended = self._mine & nightly_runs.c.ended_at.is_not(None)
        with database_errors(str(self.engine.url)), self.engine.connect() as connection:
            return self._one(connection, ended, nightly_runs.c.id.desc())

    def _one(
        self, connection: sa.Connection, which: sa.ColumnElement[bool], order: sa.ColumnElement[int]
    ) -> NightlyRun | None:
        query = sa.select(nightly_runs).where(which).order_by(order).limit(1)
        row = connection.execute(query).mappings().first()
        return None if row is None else NightlyRun(**{f.name: row[f.name] for f in fields(NightlyRun)})

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        return nightly_runs.c.pipeline == self.pipeline


def open_nightly_runs(paths: Paths) -> NightlyRuns:
    """The nightly runs of a pipeline, in the database of its ledger.

    Raises:
        StorageError: it cannot be reached or written.
    """
    return NightlyRuns(open_database(paths.ledger, settings.ledger_url()), paths.pipeline)
