"""Where everything of one pipeline lies below the home folder.

    <home>/ledger.db
    <home>/reports/<pipeline>/batch=<id>/            what people read; appears whole or not at all
    <home>/reports/<pipeline>/index.html             the last nights, each with its report
    <home>/revisions/<pipeline>/batch=<id>/rev=<n>/  reports that a newer one has replaced
    <home>/quarantine/<pipeline>/batch=<id>.parquet
    <home>/runs/<pipeline>/batch=<id>/validation/    what the checks left behind
    <home>/work/<pipeline>/batch=<id>/               staging of a running batch
    <home>/work/<pipeline>/training/                 checkpoints of a running training
    <home>/work/<pipeline>/<task>/                   staging of a task beside the nightly runs
    <home>/claims/<pipeline>/                        who runs what at this moment
    <home>/detectors/<pipeline>/version=<n>/         copies of registered detectors
    <home>/embeddings/<pipeline>/batch=<id>/         codes of items, and pictures of them
    <home>/restored/<pipeline>/batch=<id>/           what the network makes of items
    <home>/generated/<pipeline>/                     what it makes of codes that no item has
    <home>/review/<pipeline>/access.json             whose tokens open the review app
    <home>/cache/                                   what is made again where it is missing

A batch id may come from a folder's name, so it stands percent-encoded in every path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from aeflow.exceptions import InputError

if TYPE_CHECKING:
    from pathlib import Path

_PIPELINE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_BATCH = "batch="
# A file name holds 255 bytes on every usual file system; the longest form is
# `.batch=<id>.parquet.<pid>.part`, and a pid has up to seven digits.
_MAX_ESCAPED = 255 - len(f".{_BATCH}.parquet.1234567.part")


def escape_batch(batch: str) -> str:
    """The batch id as one file-name part of ASCII letters, digits and `-_.~%`: everything else is
    percent-encoded as UTF-8, and so is a leading dot. Dates and plain names stay as they are.

    Raises:
        InputError: the id is empty, or too long for a file name once encoded.
    """
    escaped = quote(batch, safe="", errors="surrogateescape")
    if escaped.startswith("."):
        escaped = f"%2E{escaped[1:]}"
    if not escaped:
        msg = "expected a batch id, got an empty one"
        raise InputError(msg, remedy="Name the batch by a date or a folder.")
    if len(escaped) > _MAX_ESCAPED:
        msg = f"the batch id has {len(escaped)} characters as a file name; at most {_MAX_ESCAPED} fit"
        raise InputError(msg, where=batch[:60], remedy="Give the batch's folder a shorter name.")
    return escaped


def unescape_batch(escaped: str) -> str:
    """The batch id that `escape_batch` encoded."""
    return unquote(escaped, errors="surrogateescape")


@dataclass(frozen=True)
class Paths:
    """The folders and files of one pipeline. Nothing is created by asking.

    Raises:
        InputError: the pipeline's name could not be a folder's name.
    """

    home: Path
    pipeline: str

    def __post_init__(self) -> None:
        """Refuses a name that would lead elsewhere."""
        if not _PIPELINE.fullmatch(self.pipeline):
            msg = "a pipeline's name has lower-case letters, digits, - and _, at most 63"
            raise InputError(msg, where=repr(self.pipeline))

    @property
    def ledger(self) -> Path:
        """The embedded ledger's SQLite file, of all pipelines."""
        return self.home / "ledger.db"

    @property
    def reports(self) -> Path:
        """The folder of all published reports of the pipeline."""
        return self.home / "reports" / self.pipeline

    def report(self, batch: str) -> Path:
        """The published report of a batch."""
        return self.reports / _named(batch)

    def revisions(self, batch: str) -> Path:
        """The reports of the batch that newer ones have replaced, as `rev=<n>`."""
        return self.home / "revisions" / self.pipeline / _named(batch)

    def quarantine(self, batch: str) -> Path:
        """The Parquet file of what was set aside of a batch."""
        return self.home / "quarantine" / self.pipeline / f"{_named(batch)}.parquet"

    def validation(self, batch: str) -> Path:
        """What the checks of the batch left behind for people: suite, results, Data Docs."""
        return self.home / "runs" / self.pipeline / _named(batch) / "validation"

    def work(self, batch: str) -> Path:
        """The staging folder of a running batch: on the file system of the reports, so that
        publishing is a rename."""
        return self.home / "work" / self.pipeline / _named(batch)

    @property
    def training(self) -> Path:
        """The staging folder of a running training: checkpoints, figures, the new detector."""
        return self.home / "work" / self.pipeline / "training"

    def embeddings(self, batch: str) -> Path:
        """The codes of a batch's items."""
        return self.home / "embeddings" / self.pipeline / _named(batch)

    def restored(self, batch: str) -> Path:
        """What the network makes of a batch's items."""
        return self.home / "restored" / self.pipeline / _named(batch)

    @property
    def generated(self) -> Path:
        """What the network makes of codes that no item has."""
        return self.home / "generated" / self.pipeline

    @property
    def review_access(self) -> Path:
        """Whose tokens open the review app."""
        return self.home / "review" / self.pipeline / "access.json"

    def task(self, name: str) -> Path:
        """The staging folder of a task beside the nightly runs."""
        return self.home / "work" / self.pipeline / name

    def task_claim(self, name: str) -> Path:
        """The file that a process locks while it runs the task."""
        return self.home / "claims" / self.pipeline / f"{name}.claim"

    def claim(self, batch: str) -> Path:
        """The file that a process locks while it runs the batch."""
        return self.home / "claims" / self.pipeline / f"{_named(batch)}.claim"

    @property
    def training_claim(self) -> Path:
        """The file that a process locks while it trains."""
        return self.home / "claims" / self.pipeline / "training.claim"

    @property
    def nights_lock(self) -> Path:
        """The file that a process locks while it writes the page of the last nights."""
        return self.home / "cache" / f"{self.pipeline}-nights.lock"

    def page(self, batch: str) -> Path:
        """The page of a batch with other nights beside it, as it was opened last; safe to delete."""
        return self.home / "cache" / "pages" / self.pipeline / f"{_named(batch)}.html"

    @property
    def mark_cache(self) -> Path:
        """What was read of each source file to mark its batches; safe to delete."""
        return self.home / "cache" / "marks" / f"{self.pipeline}.json"

    def detector(self, version: int) -> Path:
        """The local copy of a registered detector."""
        return self.home / "detectors" / self.pipeline / f"version={version}"

    @property
    def artifacts(self) -> Path:
        """Where the embedded registry stores the files of the pipeline's training runs."""
        return self.home / "mlartifacts" / self.pipeline

    def published(self) -> list[str]:
        """The ids of all batches that have a report, sorted."""
        if not self.reports.is_dir():
            return []
        names = (p.name for p in self.reports.iterdir() if p.is_dir())
        return sorted(unescape_batch(n.removeprefix(_BATCH)) for n in names if n.startswith(_BATCH))


def _named(batch: str) -> str:
    return f"{_BATCH}{escape_batch(batch)}"
