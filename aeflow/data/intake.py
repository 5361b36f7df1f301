"""What a finished intake leaves behind: an account of the batch, beside the staged files.

`intake.json` is written last, so a folder that holds it is complete; a killed intake leaves none.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aeflow.exceptions import AccountingError, IntegrityError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from aeflow.config import Kind

ACCOUNT_FILE = "intake.json"
ROWS_FILE = "rows.parquet"
QUARANTINE_FILE = "quarantine.parquet"


def in_words(reasons: Mapping[str, int]) -> str:
    """Reason codes with how often each came, in the order of the codes; "none" where there are none."""
    return ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items())) or "none"


@dataclass(frozen=True)
class Intake:
    """The account of one staged batch.

    Raises:
        AccountingError: `rows_in` is not `valid` plus everything quarantined.
    """

    folder: Path
    """Where the staged files lie."""
    batch: str
    kind: Kind
    rows_in: int
    """Rows (images: files) of the batch itself; rows staged as context are not counted."""
    valid: int
    """Of `rows_in`, those that are fit to score."""
    quarantined: dict[str, int]
    """Reason code -> rows set aside for it."""
    digest: str
    """sha256 (hex) of the valid content in canonical order, and of the context before it where there is
    any: whatever decides a score."""
    out_of_order: int = 0
    """Series: rows that came later in their file than a row of a later time of the same entity."""
    context_rows: int = 0
    """Series: rows of the time before the batch, staged for the first windows."""
    start: datetime | None = None
    """First instant of the batch's period, inclusive, UTC; None where a batch is no period."""
    end: datetime | None = None
    """End of the batch's period, exclusive, UTC."""
    channels: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    """Series: those with at least one valid row in the batch, sorted."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Series parted by time: file that could not be read to its end -> why. Some of its rows may belong to
    this batch; they are in no count."""

    def __post_init__(self) -> None:
        """Refuse an account that does not add up."""
        aside = sum(self.quarantined.values())
        if self.rows_in != self.valid + aside or min(self.rows_in, self.valid, aside) < 0:
            msg = (
                f"batch {self.batch}: {self.rows_in} rows came in, but {self.valid} are valid and "
                f"{aside} set aside ({self.valid + aside - self.rows_in:+d})"
            )
            raise AccountingError(msg)

    @property
    def rows_path(self) -> Path:
        """Series: the valid rows, sorted by entity, time, file, row."""
        return self.folder / ROWS_FILE

    @property
    def quarantine_path(self) -> Path:
        """What was set aside, as `schemas.QUARANTINE`."""
        return self.folder / QUARANTINE_FILE

    @property
    def quarantined_share(self) -> float:
        """Rows set aside as a share of all, 0..1; 0 for an empty batch."""
        return sum(self.quarantined.values()) / self.rows_in if self.rows_in else 0.0

    def save(self) -> None:
        """Write the account into `folder`, whole or not at all. The folder itself is not part of it:
        a staged batch may be moved.

        Raises:
            StorageError: the folder cannot be written.
        """
        account: dict[str, Any] = asdict(self)
        del account["folder"]
        account["quarantined"] = dict(sorted(self.quarantined.items()))
        for key in ("start", "end"):
            account[key] = account[key].isoformat() if account[key] else None
        unfinished = self.folder / f"{ACCOUNT_FILE}.part"
        try:
            with unfinished.open("w", encoding="utf-8") as file:
                json.dump(account, file, indent=1, ensure_ascii=False)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.folder / ACCOUNT_FILE)
        except OSError as error:
            msg = f"the account of the intake cannot be written: {error.strerror}"
            raise StorageError(msg, where=str(self.folder)) from error

    @classmethod
    def load(cls, folder: Path) -> Intake:
        """The account that lies in `folder`.

        Raises:
            StorageError: there is none (no intake, or one that was killed), or it cannot be read.
            IntegrityError: it is not an account that `save` wrote.
        """
        path = folder / ACCOUNT_FILE
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            msg = f"expected a finished intake, but its account cannot be read: {error.strerror}"
            raise StorageError(msg, where=str(path), remedy="Take the batch in again.") from error
        try:
            account = json.loads(text)
            known = {f.name for f in fields(cls)}
            values = {key: value for key, value in account.items() if key in known}
            for key in ("start", "end"):
                values[key] = datetime.fromisoformat(values[key]).astimezone(UTC) if values[key] else None
            for key in ("channels", "entities"):
                values[key] = tuple(values[key])
            return cls(folder=folder, **values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            msg = f"{path} is no account of an intake ({error}); take the batch in again"
            raise IntegrityError(msg) from error
