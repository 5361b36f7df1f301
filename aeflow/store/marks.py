"""The mark that each batch had when it was last found to be as its report says (`aeflow.data.marks`)."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from aeflow import settings
from aeflow.data.marks import MarkCache
from aeflow.store.files import atomic_file
from aeflow.store.ledger_tables import database_errors, marks, open_database, writing

if TYPE_CHECKING:
    from aeflow.store.paths import Paths


@dataclass(frozen=True)
class Marks:
    """The marks of one pipeline.

    Raises (every method):
        StorageError: the database cannot be read or written.
    """

    engine: sa.Engine
    pipeline: str

    def all(self) -> dict[str, str]:
        """Batch id -> mark."""
        query = sa.select(marks.c.batch, marks.c.mark).where(marks.c.pipeline == self.pipeline)
        with database_errors(str(self.engine.url)), self.engine.connect() as connection:
            return {batch: mark for batch, mark in connection.execute(query)}  # noqa: C416 - rows, not pairs

    def keep(self, batch: str, mark: str) -> None:
        """The report of the batch holds for data of this mark."""
        mine = (marks.c.pipeline == self.pipeline) & (marks.c.batch == batch)
        with database_errors(str(self.engine.url)), writing(self.engine) as connection:
            connection.execute(sa.delete(marks).where(mine))
            connection.execute(sa.insert(marks).values(pipeline=self.pipeline, batch=batch, mark=mark))


def open_marks(paths: Paths) -> Marks:
    """The marks of a pipeline, in the database of its ledger.

    Raises:
        StorageError: it cannot be reached or written.
    """
    return Marks(open_database(paths.ledger, settings.ledger_url()), paths.pipeline)


def read_mark_cache(paths: Paths) -> MarkCache:
    """The cache that was kept; empty where there is none that can be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return MarkCache.from_json(json.loads(paths.mark_cache.read_text(encoding="utf-8")))
    return MarkCache()


def keep_mark_cache(paths: Paths, cache: MarkCache) -> None:
    """Keep it for the next time.

    Raises:
        StorageError: it cannot be written.
    """
    with atomic_file(paths.mark_cache) as file:
        file.write(json.dumps(cache.to_json()).encode())
