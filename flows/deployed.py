"""The flows that deployments run. What they take is typed, so that the form of the Prefect UI, and every
other way of starting one, refuses what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger
from pydantic import BaseModel, ConfigDict, Field, model_validator

from aeflow.backlog import choose_batches
from aeflow.exceptions import AlreadyRunning, InputError, NightFailed
from aeflow.retraining import Outcome
from aeflow.settings import home_for, prepare_environment
from flows.nightly import note_attempt, note_promotion, score_pending
from flows.notifications import Notice, deliver, settle, tell
from flows.retrain_if_needed import retrain_if_needed
from flows.score_batches import Attempt, score_batches
from flows.watch import watch_nights

Jobs = Annotated[int, Field(ge=1, le=256)]
RETRAINING = "retraining"
"""The key of the incident that a retraining failed."""


class Backfill(BaseModel):
    """Which batches to score (again)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: str | None = Field(default=None, description="The first batch id. None: the first of the source.")
    last: str | None = Field(default=None, description="The last batch id. None: the last of the source.")
    force: bool = Field(default=False, description="Score again although nothing changed.")
    version: int | None = Field(default=None, ge=1, description="Detector version. None: the champion.")
    jobs: int = Field(default=1, ge=1, le=256, description="Batches that are scored at once.")

    @model_validator(mode="after")
    def _bounded(self) -> Backfill:
        if self.first is None and self.last is None:
            msg = "give first, last or both: which batches are to be scored?"
            raise ValueError(msg)
        if self.first is not None and self.last is not None and self.first > self.last:
            msg = f"first ({self.first}) comes after last ({self.last})"
            raise ValueError(msg)
        return self


@flow(name="nightly", persist_result=False)
def nightly(config: Path, jobs: Jobs = 1) -> None:
    """Score every batch that has no report yet, and tell people what came of it.

    Args:
        config: the pipeline's YAML file.
        jobs: batches that are scored at once.
    """
    _prepare(config)
    night = score_pending(config, jobs=jobs, ended=_log)
    get_run_logger().info(night.sentence())
    night.raise_if_failed()


@flow(name="backfill", persist_result=False)
def backfill(config: Path, batches: Backfill) -> None:
    """Score the batches of a span of the source, and tell people what came of it; those whose report still holds are
    left alone.

    Args:
        config: the pipeline's YAML file.
        batches: which ones.
    """
    _prepare(config)
    chosen = choose_batches(config, batch=None, first=batches.first, last=batches.last, pending=False)
    attempts = score_batches(
        config,
        chosen,
        jobs=batches.jobs,
        version=batches.version,
        force=batches.force,
        ended=lambda attempt: _ended(config, attempt),
    )
    deliver(config)
    failed = [a for a in attempts if a.error is not None]
    if failed:
        raise NightFailed("\n".join(a.complaint for a in failed), where=str(config))


@flow(name="retrain", persist_result=False)
def retrain(config: Path, force: bool = False, recalibrate: bool = False, reason: str = "") -> None:
    """Decide by the last nights whether to train, train, and let the detector go live if that is earned.

    Args:
        config: the pipeline's YAML file.
        force: train whatever the decision would be.
        recalibrate: fit the calibration alone anew, whatever the decision would be. Not with force.
        reason: who asks, and why.
    """
    _prepare(config)
    if force and recalibrate:
        raise InputError("expected at most one of force and recalibrate", where="the parameters of retrain")
    wanted = Outcome.RETRAIN if force else Outcome.RECALIBRATE if recalibrate else None
    try:
        done = retrain_if_needed(config, wanted=wanted, reason=reason)
    except AlreadyRunning:  # nothing was tried
        raise
    except Exception as error:
        tell(config, Notice("run_failed", "The retraining failed", str(error), key=RETRAINING))
        raise
    settle(config, "run_failed", RETRAINING)
    get_run_logger().info(done.decision.sentence())
    note_promotion(config, done)
    deliver(config)


@flow(name="watch", persist_result=False)
def watch(config: Path) -> None:
    """Tell people of nights that are missing, and what has waited for the end of the quiet hours.

    Args:
        config: the pipeline's YAML file.
    """
    _prepare(config)
    for trouble in watch_nights(config):
        get_run_logger().warning(trouble.sentence())


def _prepare(config: Path) -> None:
    prepare_environment(home_for(config))


def _ended(config: Path, attempt: Attempt) -> None:
    _log(attempt)
    note_attempt(config, attempt)


def _log(attempt: Attempt) -> None:
    log = get_run_logger()
    if attempt.scored is not None:
        log.info(attempt.scored.sentence())
    else:
        log.error(attempt.complaint)
