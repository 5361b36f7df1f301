"""The flags that somebody said something of, as they are now.

A verdict names a flag by its id, which is made of batch, entity and path or first time. Where a batch was
scored again and an event now begins at another time, the verdict binds the event of that entity which
overlaps it most; where none does it stays with the flag that was, which lies in the revisions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aeflow.report.receipt import read_receipt
from aeflow.report.stored import FLAGS_FILE, reading
from aeflow.schemas import FLAGS
from aeflow.store.files import storage_errors
from aeflow.store.verdicts import Standing, Word, standing, words_that_hold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from aeflow.store.paths import Paths
    from aeflow.store.verdicts import Verdict

_PICTURES = {"window", "image_png", "reconstruction_png", "heatmap_png"}
_PLACE = ["flag_id", "entity", "start", "end"]
_REVISION = "rev="


@dataclass(frozen=True)
class ReviewedFlag:
    """A flag with what holds of it.

    row: of `schemas.FLAGS`, without windows and pictures; a column that its report does not have is missing.
    words: those that hold of it, by time; at least one.
    report: the folder that the row lies in, of detector `detector_version`.
    present: whether the published report has it; else it lies in a revision.
    """

    row: dict[str, Any]
    standing: Standing
    words: tuple[Verdict, ...]
    report: Path
    detector_version: int
    present: bool

    @property
    def flag_id(self) -> str:
        """Its id in `report`."""
        return str(self.row["flag_id"])

    @property
    def decided(self) -> tuple[str, datetime] | None:
        """Who agrees that it is true, or false, and when the last of them said so; None where nothing is
        decided."""
        if self.standing not in {Standing.TRUE, Standing.FALSE}:
            return None
        agree = [w for w in self.words if w.word == Word(str(self.standing))]
        return ", ".join(sorted({w.reviewer for w in agree})), agree[-1].at

    def picture(self, column: str) -> Any:
        """What `row` leaves out: `window` or one of the pictures; None where there is none."""
        with storage_errors(self.report, "read a flag"), _opened(self.report) as file:
            if column not in file.schema_arrow.names:
                return None
            rows = file.read(columns=["flag_id", column])
        found = rows.filter(pc.equal(rows["flag_id"], self.flag_id))[column].to_pylist()
        return found[0] if found else None


def renamed_flags(paths: Paths, said: Iterable[Verdict]) -> dict[str, str]:
    """Id of a flag that its batch's report no longer has -> id of the event there that its verdicts bind.

    Raises:
        StorageError: a report cannot be read.
    """
    found: dict[str, str] = {}
    for batch, of_batch in _by_batch(said).items():
        if not paths.revisions(batch).is_dir():
            continue  # never published anew: each flag is called as it was
        present = _rows(paths.report(batch), None, _PLACE)
        gone = _replaced(paths, batch, {verdict.flag_id for verdict in of_batch} - present.keys())
        now = {old: _bound(row, present.values()) for old, (row, _) in gone.items()}
        found |= {old: new for old, new in now.items() if new is not None}
    return found


def bound_verdicts(paths: Paths, said: Iterable[Verdict]) -> list[Verdict]:
    """Everything that was said, each verdict on the flag that it binds now; raises as `renamed_flags`."""
    words = list(said)
    now = renamed_flags(paths, words)
    return [replace(word, flag_id=now.get(word.flag_id, word.flag_id)) for word in words]


def reviewed_flags(paths: Paths, said: Iterable[Verdict]) -> list[ReviewedFlag]:
    """Every flag that a word holds of, by batch and id. Of a flag that no report has nothing is told.

    Raises:
        StorageError: a report cannot be read.
    """
    by_batch = _by_batch(said)
    return [flag for batch in sorted(by_batch) for flag in _of_batch(paths, batch, by_batch[batch])]


def _by_batch(said: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    by_batch: dict[str, list[Verdict]] = {}
    for verdict in said:
        by_batch.setdefault(verdict.batch, []).append(verdict)
    return by_batch


def _of_batch(paths: Paths, batch: str, said: Sequence[Verdict]) -> Iterator[ReviewedFlag]:
    named = {verdict.flag_id for verdict in said}
    present = _rows(paths.report(batch), None)
    gone = _replaced(paths, batch, named - present.keys())
    now = {old: _bound(row, present.values()) for old, (row, _) in gone.items()}
    bound = [replace(verdict, flag_id=now.get(verdict.flag_id) or verdict.flag_id) for verdict in said]
    holds = standing(bound)
    words: dict[str, list[Verdict]] = {}
    for verdict in sorted(words_that_hold(bound).values(), key=lambda v: v.at):
        words.setdefault(verdict.flag_id, []).append(verdict)
    for flag_id in sorted(holds):
        if flag_id in present:
            row, report = present[flag_id], paths.report(batch)
        elif flag_id in gone:
            row, report = gone[flag_id]
        else:
            continue
        version = read_receipt(report).detector_version
        yield ReviewedFlag(
            row, holds[flag_id], tuple(words[flag_id]), report, version, present=flag_id in present
        )


def _replaced(paths: Paths, batch: str, wanted: set[str]) -> dict[str, tuple[dict[str, Any], Path]]:
    """Flags that only an earlier report has, and which; the newest of them."""
    found: dict[str, tuple[dict[str, Any], Path]] = {}
    folder = paths.revisions(batch)
    if not wanted or not folder.is_dir():
        return found
    numbers = sorted(
        (int(p.name.removeprefix(_REVISION)) for p in folder.glob(f"{_REVISION}*")), reverse=True
    )
    for report in (folder / f"{_REVISION}{number}" for number in numbers):
        rows = _rows(report, wanted - found.keys())
        found |= {flag_id: (row, report) for flag_id, row in rows.items()}
    return found


def _bound(was: dict[str, Any], present: Iterable[dict[str, Any]]) -> str | None:
    """The id of the event that overlaps the one that was most; None where none does."""
    if was["start"] is None:
        return None
    best, longest = None, None
    for row in present:
        if row["entity"] != was["entity"] or row["start"] is None:
            continue
        together = min(row["end"], was["end"]) - max(row["start"], was["start"])
        if together.total_seconds() >= 0 and (longest is None or together > longest):
            best, longest = str(row["flag_id"]), together
    return best


def _rows(
    report: Path, wanted: set[str] | None, columns: Sequence[str] = FLAGS.names
) -> dict[str, dict[str, Any]]:
    """The flags of a report by id, those of `wanted` (None: all), without pictures; none where there is no
    report."""
    if not (report / FLAGS_FILE).is_file():
        return {}
    with reading(report / FLAGS_FILE), _opened(report) as file:
        names = [name for name in columns if name in file.schema_arrow.names and name not in _PICTURES]
        table = file.read(columns=names)
    if wanted is not None:
        table = table.filter(pc.is_in(table["flag_id"], pa.array(sorted(wanted), pa.string())))
    return {row["flag_id"]: row for row in table.to_pylist()}


def _opened(report: Path) -> pq.ParquetFile:
    return pq.ParquetFile(report / FLAGS_FILE, pre_buffer=False)
