"""What people have to be told, and what they were told: one incident is one message on each channel.

An incident is known by its kind and key. While it is open, coming up again only counts; once it is
over, the same key is a new incident. A telling is begun before its message is sent and ended after, so
that two processes do not both send it, and one that was killed between is done again by a later one.

What came and went by itself, such as new flags, is never over: a channel is told of what came since it is
there. Of what lasts, such as a night that is missing, it is told however long that has lasted.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import sqlalchemy as sa

from aeflow import settings
from aeflow.store.ledger_tables import channels, database_errors, incidents, open_database, tellings, writing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aeflow.store.paths import Paths

_MOMENTARY = ("flags", "promotion")
"""Kinds of what is never over, since it does not last."""
_UNFINISHED = timedelta(minutes=5)
"""A telling that was begun so long ago and not ended was that of a process that died."""


@dataclass(frozen=True)
class Incident:
    """One row of `incidents`. Times are aware, in UTC."""

    id: int
    kind: str
    key: str
    title: str
    body: str
    severity: float | None
    first_at: datetime
    last_at: datetime
    times: int
    """How often it has come up."""
    over_at: datetime | None


@dataclass(frozen=True)
class Incidents:
    """The incidents of one pipeline. Every call is one transaction of its own; any number of processes
    may read and write at once. Times (`now`) are aware.

    Raises (every method):
        StorageError: the database cannot be read or written.
    """

    engine: sa.Engine
    pipeline: str

    def report(
        self, kind: str, key: str, title: str, body: str, *, severity: float | None, now: datetime
    ) -> Incident:
        """It has come up: a new incident, or one more time of an open one, whose words become these."""
        with database_errors(str(self.engine.url)), writing(self.engine) as connection:
            found = self._open(connection, kind, key)
            words = {"title": title, "body": body, "severity": severity, "last_at": now}
            if found is None:
                first = {"pipeline": self.pipeline, "kind": kind, "key": key, "first_at": now, "times": 1}
                connection.execute(sa.insert(incidents).values(**first, **words))
            else:
                again = sa.update(incidents).where(incidents.c.id == found.id)
                connection.execute(again.values(times=found.times + 1, **words))
            return cast("Incident", self._open(connection, kind, key))

    def settle(self, kind: str, key: str, *, now: datetime) -> bool:
        """The incident is over; False where none was open. One that nobody was told of yet never will
        be told."""
        with database_errors(str(self.engine.url)), writing(self.engine) as connection:
            found = self._open(connection, kind, key)
            if found is None:
                return False
            connection.execute(sa.update(incidents).where(incidents.c.id == found.id).values(over_at=now))
            return True

    def open(self) -> list[Incident]:
        """Every incident that is not over, in the order in which they came up."""
        query = sa.select(incidents).where(self._mine & incidents.c.over_at.is_(None))
        with database_errors(str(self.engine.url)), self.engine.connect() as connection:
            return [_incident(row) for row in connection.execute(query.order_by(incidents.c.id)).mappings()]

    def meet(self, names: Sequence[str], *, now: datetime) -> None:
        """The channels of these names are there; those that were not are from `now` on."""
        mine = sa.select(channels.c.channel).where(channels.c.pipeline == self.pipeline)
        with database_errors(str(self.engine.url)):
            with self.engine.connect() as connection:
                if set(names) <= set(connection.scalars(mine)):
                    return
            with writing(self.engine) as connection:
                if connection.dialect.name == "postgresql":  # two that meet it at once note it once
                    connection.execute(sa.text("LOCK TABLE channels IN SHARE ROW EXCLUSIVE MODE"))
                for name in sorted(set(names) - set(connection.scalars(mine))):
                    row = {"pipeline": self.pipeline, "channel": name, "since": now}
                    connection.execute(sa.insert(channels).values(**row))

    def begin_telling(self, channel: str, wanted: Sequence[str], *, now: datetime) -> list[Incident]:
        """The open incidents of the kinds `wanted` that `channel` has not been told of and that nobody
        else is about to tell; of those that do not last, the ones since the channel was met. They are the
        caller's to tell, then to end.

        Args:
            channel: a name of the channel that stays the same.
            wanted: kinds.
            now: the present.
        """
        told = sa.select(tellings.c.incident).where(
            (tellings.c.channel == channel)
            & (tellings.c.told_at.is_not(None) | (tellings.c.begun_at > now - _UNFINISHED))
        )
        since = sa.select(channels.c.since).where(
            (channels.c.pipeline == self.pipeline) & (channels.c.channel == channel)
        )
        query = sa.select(incidents).where(
            self._mine
            & incidents.c.over_at.is_(None)
            & incidents.c.kind.in_(wanted)
            & (incidents.c.kind.not_in(_MOMENTARY) | (incidents.c.last_at >= since.scalar_subquery()))
            & incidents.c.id.not_in(told)
        )
        with database_errors(str(self.engine.url)), writing(self.engine) as connection:
            if connection.dialect.name == "postgresql":  # SQLite's writers wait for each other anyway
                connection.execute(sa.text("LOCK TABLE tellings IN EXCLUSIVE MODE"))
            found = [_incident(row) for row in connection.execute(query.order_by(incidents.c.id)).mappings()]
            for incident in found:
                connection.execute(sa.delete(tellings).where(_telling(incident, channel)))
                connection.execute(
                    sa.insert(tellings).values(incident=incident.id, channel=channel, begun_at=now)
                )
            return found

    def end_telling(self, channel: str, told: Sequence[Incident], *, succeeded: bool, now: datetime) -> None:
        """The message was sent, or was not: then it is still to be told."""
        with database_errors(str(self.engine.url)), writing(self.engine) as connection:
            for incident in told:
                mine = _telling(incident, channel)
                if succeeded:
                    connection.execute(sa.update(tellings).where(mine).values(told_at=now))
                else:
                    connection.execute(sa.delete(tellings).where(mine))

    def _open(self, connection: sa.Connection, kind: str, key: str) -> Incident | None:
        query = sa.select(incidents).where(
            self._mine & (incidents.c.kind == kind) & (incidents.c.key == key) & incidents.c.over_at.is_(None)
        )
        if connection.dialect.name == "postgresql":  # two that come up at once are one incident
            connection.execute(sa.text("LOCK TABLE incidents IN SHARE ROW EXCLUSIVE MODE"))
        row = connection.execute(query).mappings().first()
        return None if row is None else _incident(row)

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        return incidents.c.pipeline == self.pipeline


def open_incidents(paths: Paths) -> Incidents:
    """The incidents of a pipeline, in the database of its ledger.

    Raises:
        StorageError: it cannot be reached or written.
    """
    return Incidents(open_database(paths.ledger, settings.ledger_url()), paths.pipeline)


def _telling(incident: Incident, channel: str) -> sa.ColumnElement[bool]:
    return (tellings.c.incident == incident.id) & (tellings.c.channel == channel)


def _incident(row: sa.RowMapping) -> Incident:
    return Incident(**{f.name: row[f.name] for f in fields(Incident)})
