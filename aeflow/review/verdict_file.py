"""Verdicts as a CSV file that people fill in with a spreadsheet, and give back.

One row a flag and reviewer: `flag_id`, `verdict` (true, false, unsure, or empty), `reviewer`, `at`, `note`,
and before these what the flag is. Only `flag_id` and `verdict` are needed to read it.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aeflow.exceptions import SourceError
from aeflow.store.files import atomic_file
from aeflow.store.verdicts import Verdict, Word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

OF_FLAG = ("batch", "entity", "item", "start", "end", "severity", "channels")
COLUMNS = ("flag_id", *OF_FLAG, "verdict", "reviewer", "at", "note", "detector_version")
# What spreadsheets make of them, and what people write.
_WORDS = {"1": Word.TRUE, "yes": Word.TRUE, "0": Word.FALSE, "no": Word.FALSE, "?": Word.UNSURE}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Flag:
    """What a flag is, in words for a table; detector_version: that of its report. boxes: of an image's
    regions x, y, width, height in its own pixels and share of the error, where they were asked for; and its
    size."""

    flag_id: str
    batch: str
    entity: str
    item: str
    start: str
    end: str
    severity: str
    channels: str
    detector_version: int
    boxes: tuple[tuple[int, int, int, int, float], ...] = ()
    width_px: int = 0
    height_px: int = 0


@dataclass(frozen=True)
class Known:
    """What whoever reads a file of verdicts, of any form, knows beside it.

    flags: those that there are, by id. said: what is kept of each. reviewer: who said it where the file names
    nobody; now: when, where it has no time.
    """

    flags: Mapping[str, Flag]
    said: Mapping[str, list[Verdict]]
    reviewer: str
    now: datetime

    def repeats(self, verdict: Verdict) -> bool:
        """Whether it is what its reviewer said last."""
        mine = [v for v in self.said.get(verdict.flag_id, ()) if v.reviewer == verdict.reviewer]
        last = max(mine, key=lambda v: v.at, default=None)
        return last is not None and (last.word, last.note) == (verdict.word, verdict.note)


def write_verdicts(path: Path, flags: Iterable[Flag], said: Mapping[str, list[Verdict]]) -> int:
    """Write every flag with all that was said of it, a row each; one of which nothing was said has a row to
    be filled in. Text that a spreadsheet would take for a formula gets an apostrophe before it.

    Returns:
        The number of rows.

    Raises:
        StorageError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    rows = 0
    for flag in flags:
        what = [getattr(flag, name) for name in ("flag_id", *OF_FLAG)]
        of_flag: list[Verdict | None] = [*said.get(flag.flag_id, ())]
        for verdict in of_flag or [None]:
            words = (
                ["", "", "", "", flag.detector_version]
                if verdict is None
                else [
                    str(verdict.word),
                    verdict.reviewer,
                    verdict.at.isoformat(timespec="seconds"),
                    verdict.note,
                    verdict.detector_version,
                ]
            )
            table.writerow([_plain(value) for value in [*what, *words]])
            rows += 1
    with atomic_file(path) as file:
        file.write(text.getvalue().encode())
    return rows


def read_verdicts(path: Path, known: Known) -> list[Verdict]:
    """The verdicts in the file. Rows with an empty one are passed over, and so are those without a time
    that say what their reviewer said last: a file that is given twice changes nothing.

    Raises:
        SourceError: it cannot be read, a column is missing, a verdict is another word, a time cannot be
            read or has no zone, or a flag is not known. Nothing is half read.
    """
    found = []
    for number, row in enumerate(_rows(path), start=1):
        where = f"{path}, row {number}"
        word = row["verdict"].strip().lower()
        if not word:
            continue
        flag = known.flags.get(row["flag_id"].strip())
        if flag is None:
            raise SourceError(
                f"expected the id of a published flag, got {row['flag_id']!r}",
                where=where,
                remedy="`aeflow verdicts CONFIG --export FILE` writes every flag with its id.",
            )
        version = (row.get("detector_version") or "").strip()
        at = time_of(row.get("at"), where)
        verdict = Verdict(
            flag_id=flag.flag_id,
            batch=flag.batch,
            word=word_of(word, where),
            reviewer=_restored(row.get("reviewer")) or known.reviewer,
            at=at or known.now,
            note=_restored(row.get("note")),
            detector_version=int(version)
            if version.isdecimal() and len(version) < 10
            else flag.detector_version,
        )
        if at is not None or not known.repeats(verdict):
            found.append(verdict)
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    remedy = "Give a CSV with a header: flag_id, verdict, and if you like reviewer, at, note."
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            # Spreadsheets write semicolons where a comma is the decimal sign.
            separator = max(",;\t", key=header.count)
            file.seek(0)
            table = csv.DictReader(file, restval="", delimiter=separator)
            names, rows = table.fieldnames or (), list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"the verdicts cannot be read: {error}", where=str(path), remedy=remedy) from error
    for name in ("flag_id", "verdict"):
        if name not in names:
            has = ", ".join(names) or "nothing"
            raise SourceError(f"expected a column {name!r}, and it has {has}", where=str(path), remedy=remedy)
    return rows


def word_of(text: str, where: str) -> Word:
    """The word that a text means, in lower case.

    Raises:
        SourceError: it is none of a verdict.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text not in set(Word):
        raise SourceError(f"expected true, false or unsure, got {text!r}", where=where)
    return Word(text)


def time_of(text: str | None, where: str) -> datetime | None:
    """The aware time that a text means; None where there is none.

    Raises:
        SourceError: it cannot be read, or has no offset.
    """
    if not text or not text.strip():
        return None
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise SourceError(
            f"expected a time such as 2026-11-20T08:30:00+01:00, got {text!r}", where=where
        ) from error
    if time.tzinfo is None:
        raise SourceError(f"expected a time with its offset, got {text!r}", where=where, remedy="Add +00:00.")
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise SourceError(f"expected a time of these centuries, got {text!r}", where=where) from error


def _plain(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _restored(text: str | None) -> str:
    """What `_plain` was given."""
    text = (text or "").strip()
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text
