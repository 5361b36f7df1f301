"""What people said of flags: one row each time somebody said something, never changed or deleted.

They lie in the ledger's database, so that several people can review at once. What holds of a flag is
read from all that was said of it: the last word of each reviewer counts. Who takes a word back appends
that too, and what they said before it holds again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from aeflow import settings
from aeflow.exceptions import InputError
from aeflow.store.ledger_tables import database_errors, open_database, verdicts, writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aeflow.store.paths import Paths


class Word(StrEnum):
    """What a person says of a flag."""

    TRUE = "true"
    """It is abnormal."""
    FALSE = "false"
    """It is normal: a false flag."""
    UNSURE = "unsure"
    RETRACTED = "retracted"
    """I take back my last word on it; the one before, if there is one, holds again."""


class Standing(StrEnum):
    """What holds of a flag after all that was said."""

    TRUE = "true"
    FALSE = "false"
    UNSURE = "unsure"
    """Nobody said more than that."""
    DISPUTED = "disputed"
    """The last word of one reviewer is true, that of another false."""


@dataclass(frozen=True)
class Verdict:
    """One word of one person on one flag. `at` is aware, in UTC; detector_version: of the report that was
    looked at."""

    flag_id: str
    batch: str
    word: Word
    reviewer: str
    at: datetime
    note: str = ""
    detector_version: int | None = None


@dataclass(frozen=True)
class Verdicts:
    """The verdicts of one pipeline. Every call is one transaction of its own; any number of processes may
    read and write at once.

    Raises (every method):
        StorageError: the database cannot be read or written.
    """

    engine: sa.Engine
    pipeline: str

    def add(self, said: Sequence[Verdict]) -> int:
        """Append all of them or none; what was already kept, to the second and the word, is passed over.

        Returns:
            How many are new.

        Raises:
            InputError: a verdict has no reviewer, or its time no zone.
        """
        for verdict in said:
            _require_whole(verdict)
        with database_errors(str(self.engine.url)), writing(self.engine) as connection:
            known = {identity(verdict) for verdict in self._read(connection)}
            new = {identity(v): v for v in said if identity(v) not in known}
            if new:
                connection.execute(sa.insert(verdicts), [self._row(verdict) for verdict in new.values()])
            return len(new)

    def append(self, said: Sequence[Verdict]) -> None:
        """Append all of them or none, whatever is kept already: for those who say it at this moment.

        Raises:
            InputError: a verdict has no reviewer, or its time no zone.
        """
        for verdict in said:
            _require_whole(verdict)
        if said:
            with database_errors(str(self.engine.url)), writing(self.engine) as connection:
                connection.execute(sa.insert(verdicts), [self._row(verdict) for verdict in said])

    def since(self, number: int) -> list[tuple[int, Verdict]]:
        """What was kept under a number above `number`, with the numbers, in their order. Of two writers at
        once the higher number may be seen first: ask again from somewhat further back."""
        query = self._query().where(verdicts.c.id > number)
        with database_errors(str(self.engine.url)), self.engine.connect() as connection:
            return [(row["id"], _verdict(row)) for row in connection.execute(query).mappings()]

    def all(self) -> list[Verdict]:
        """Everything that was said, in the order in which it was kept."""
        with database_errors(str(self.engine.url)), self.engine.connect() as connection:
            return self._read(connection)

    def _read(self, connection: sa.Connection) -> list[Verdict]:
        return [_verdict(row) for row in connection.execute(self._query()).mappings()]

    def _query(self) -> sa.Select[Any]:
        return sa.select(verdicts).where(verdicts.c.pipeline == self.pipeline).order_by(verdicts.c.id)

    def _row(self, verdict: Verdict) -> dict[str, Any]:
        changed = {"word": str(verdict.word), "at": verdict.at.astimezone(UTC), "pipeline": self.pipeline}
        return asdict(verdict) | changed


def words_that_hold(said: Iterable[Verdict]) -> dict[tuple[str, str], Verdict]:
    """The word of each reviewer on each flag that holds: (flag id, reviewer) -> verdict. It is the one with
    the latest time, of two with the same the one kept later; one taken back uncovers the one before it."""
    spoken: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in sorted(said, key=lambda v: v.at):
        words = spoken.setdefault((verdict.flag_id, verdict.reviewer), [])
        if verdict.word is not Word.RETRACTED:
            words.append(verdict)
        elif words:
            words.pop()
    return {who: words[-1] for who, words in spoken.items() if words}


def standing(said: Iterable[Verdict]) -> dict[str, Standing]:
    """What holds of each flag: flag id -> standing, from the words that hold; who is unsure contradicts
    nobody. A flag of which every word was taken back is not among them."""
    words: dict[str, set[Word]] = {}
    for (flag, _), verdict in words_that_hold(said).items():
        words.setdefault(flag, set()).add(verdict.word)
    return {flag: _agreed(of_flag) for flag, of_flag in words.items()}


def _agreed(words: set[Word]) -> Standing:
    definite = words - {Word.UNSURE}
    if len(definite) > 1:
        return Standing.DISPUTED
    return Standing(str(definite.pop())) if definite else Standing.UNSURE


def open_verdicts(paths: Paths) -> Verdicts:
    """The verdicts of a pipeline, in the database of its ledger.

    Raises:
        StorageError: it cannot be reached or written.
    """
    return Verdicts(open_database(paths.ledger, settings.ledger_url()), paths.pipeline)


def _verdict(row: sa.RowMapping) -> Verdict:
    return Verdict(
        flag_id=row["flag_id"],
        batch=row["batch"],
        word=Word(row["word"]),
        reviewer=row["reviewer"],
        at=row["at"],
        note=row["note"],
        detector_version=row["detector_version"],
    )


def identity(verdict: Verdict) -> tuple[Any, ...]:
    """What makes it the same saying, to compare: a spreadsheet keeps seconds, not less."""
    second = verdict.at.astimezone(UTC).replace(microsecond=0)
    return verdict.flag_id, verdict.reviewer, verdict.word, second, verdict.note


def _require_whole(verdict: Verdict) -> None:
    where = f"verdict on flag {verdict.flag_id}"
    if not verdict.reviewer.strip():
        raise InputError("expected the name of the reviewer, got none", where=where)
    if verdict.at.tzinfo is None:
        raise InputError(f"expected a time with its zone, got {verdict.at}", where=where)
    for text in (verdict.reviewer, verdict.note):
        if not all(character.isprintable() or character in "\n\t" for character in text):
            raise InputError(f"expected text of characters that can be shown, got {text!r}", where=where)
