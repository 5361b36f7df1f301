"""What was decided about training, and what came of it: an append-only table in the ledger's database.

A retraining is `asked` for; then it is `vetoed`, or it is `begun` and `ended`, or it `failed`. `recalibrated`
stands for a calibration fitted anew to the same weights, `not_recalibrated` for an attempt at one that failed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import sqlalchemy as sa

from aeflow import settings
from aeflow.exceptions import InputError
from aeflow.store.ledger_tables import database_errors, open_database, retrainings, writing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aeflow.store.paths import Paths


class Step(StrEnum):
    """See the module."""

    ASKED = "asked"
    VETOED = "vetoed"
    BEGUN = "begun"
    ENDED = "ended"
    FAILED = "failed"
    RECALIBRATED = "recalibrated"
    NOT_RECALIBRATED = "not_recalibrated"


@dataclass(frozen=True)
class RetrainingStep:
    """One row. at: aware, in UTC. trigger: what it was for. batch: the last one that was looked at.
    version: the detector that came of it."""

    step: Step
    at: datetime
    trigger: str = ""
    reason: str = ""
    batch: str | None = None
    version: int | None = None


@dataclass(frozen=True)
class Retrainings:
    """The retrainings of one pipeline. Every call is one transaction of its own.

    Raises (every method):
        StorageError: the database cannot be read or written.
    """

    engine: sa.Engine
    pipeline: str

    def add(self, step: RetrainingStep) -> None:
        """Append one step.

        Raises:
            InputError: its time has no zone.
        """
        if step.at.tzinfo is None:
            raise InputError(f"expected a time with its zone, got {step.at}", where="retrainings")
        row = asdict(step) | {
            "step": str(step.step),
            "pipeline": self.pipeline,
            "at": step.at.astimezone(UTC),
        }
        with database_errors(str(self.engine.url)), writing(self.engine) as connection:
            connection.execute(sa.insert(retrainings).values(**row))

    def all(self) -> list[RetrainingStep]:
        """Every step in the order in which it was kept."""
        query = (
            sa.select(retrainings).where(retrainings.c.pipeline == self.pipeline).order_by(retrainings.c.id)
        )
        with database_errors(str(self.engine.url)), self.engine.connect() as connection:
            return [_step(row) for row in connection.execute(query).mappings()]


def last_training_at(steps: Iterable[RetrainingStep]) -> datetime | None:
    """When the last retraining ended, or the calibration was fitted anew; None: never. A recalibration that
    failed counts, too: nobody asks for one, so that it would be tried, and fail, every night."""
    done = [s.at for s in steps if s.step in {Step.ENDED, Step.RECALIBRATED, Step.NOT_RECALIBRATED}]
    return max(done, default=None)


def asked_since(steps: Iterable[RetrainingStep]) -> datetime | None:
    """Since when a retraining has been asked for without an answer; None where none is."""
    since: datetime | None = None
    for step in steps:
        if step.step == Step.ASKED:
            since = since or step.at
        elif step.step in {Step.VETOED, Step.ENDED}:
            since = None
    return since


def vetoed_at(steps: Iterable[RetrainingStep]) -> datetime | None:
    """When somebody said no last; None: never, or it was trained since."""
    at: datetime | None = None
    for step in steps:
        if step.step == Step.VETOED:
            at = step.at
        elif step.step == Step.ENDED:
            at = None
    return at


def open_retrainings(paths: Paths) -> Retrainings:
    """The retrainings of a pipeline, in the database of its ledger.

    Raises:
        StorageError: it cannot be reached or written.
    """
    return Retrainings(open_database(paths.ledger, settings.ledger_url()), paths.pipeline)


def _step(row: sa.RowMapping) -> RetrainingStep:
    return RetrainingStep(
        step=Step(row["step"]),
        at=row["at"],
        trigger=row["trigger"],
        reason=row["reason"],
        batch=row["batch"],
        version=row["version"],
    )
