"""Look at the last nights, decide, and train if the decision says so.

Two runs that are triggered at once make one training: the second finds the first at work, or done within the
cool-down.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aeflow.config import load_config
from aeflow.exceptions import AlreadyRunning
from aeflow.retraining import Outcome, RetrainingDecision, decide_retraining
from aeflow.settings import home_for
from aeflow.store.claims import claim
from aeflow.store.paths import Paths
from aeflow.store.retrainings import RetrainingStep, Step, open_retrainings
from flows.artifacts import show_summary
from flows.events import RETRAIN_REQUESTED, emit
from flows.last_nights import read_last_nights
from flows.recalibrate_detector import recalibrate_detector
from flows.train_detector import train_detector

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flows.recalibrate_detector import Recalibrated
    from flows.train_detector import TrainedDetector


@dataclass(frozen=True)
class Retrained:
    """What was decided, and what came of it. trained, recalibrated: None where nothing was."""

    pipeline: str
    decision: RetrainingDecision
    trained: TrainedDetector | None = None
    recalibrated: Recalibrated | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def retrain_if_needed(
    config: Path,
    *,
    wanted: Outcome | None = None,
    reason: str = "",
    progress: Callable[[float, str], None] | None = None,
) -> Retrained:
    """Decide by the last nights, the verdicts and the champion's age whether to train, and train.

    Args:
        config: the pipeline's YAML file.
        wanted: RETRAIN or RECALIBRATE, to do that whatever the decision would be.
        reason: who asks, and why; kept with the decision.
        progress: told how far a training is.

    Raises:
        UserError: see `aeflow.exceptions`: what has to be mended is in the message.
    """
    pipeline = load_config(config)
    paths = Paths(home_for(config), pipeline.name)
    try:
        with claim(paths.task_claim("retraining"), f"retraining of {pipeline.name}", now=datetime.now(UTC)):
            decision = _decide(config, wanted=wanted, reason=reason)
            done = Retrained(pipeline.name, decision)
            if decision.outcome == Outcome.RETRAIN:
                done = replace(done, trained=_train(config, paths, decision, progress))
            elif decision.outcome == Outcome.RECALIBRATE:
                done = replace(done, recalibrated=_recalibrate(config, paths, decision))
    except AlreadyRunning as error:
        if wanted is not None:
            raise
        done = Retrained(pipeline.name, RetrainingDecision(Outcome.HOLD, (str(error),)))
    show_summary(f"retrain-{pipeline.name}", done.decision.sentence())
    return done


def decide_only(config: Path) -> RetrainingDecision:
    """What `retrain_if_needed` would decide now; nothing is kept and nothing trained."""
    return _decide(config)


def request_retraining(config: Path) -> Retrained:
    """Decide after the nightly scoring: a retraining that is due is asked for in the ledger, and where it
    may begin, an event tells Prefect's automation so. Nothing is trained here; a stale calibration, which takes
    no more than scoring its batches once, is fitted anew at once where no person has to be asked."""
    pipeline = load_config(config)
    paths = Paths(home_for(config), pipeline.name)
    decision = _decide(config)
    nights = read_last_nights(paths)
    if decision.outcome == Outcome.RETRAIN or (decision.trigger and decision.waits_for):
        if nights.known.asked_at is None:
            _keep(paths, Step.ASKED, decision, batch=nights.last_batch)
        decision = _decide(config)
    if decision.outcome == Outcome.RECALIBRATE:
        return retrain_if_needed(config)
    if decision.outcome == Outcome.RETRAIN:
        payload = {"config": str(config.resolve()), "reason": " ".join(decision.reasons)}
        emit(RETRAIN_REQUESTED, pipeline.name, payload)
    return Retrained(pipeline.name, decision)


def veto(config: Path, reason: str = "") -> bool:
    """Somebody says no to the retraining that is asked for; False where none is."""
    paths = Paths(home_for(config), load_config(config).name)
    if read_last_nights(paths).known.asked_at is None:
        return False
    step = RetrainingStep(Step.VETOED, datetime.now(UTC), reason=reason)
    open_retrainings(paths).add(step)
    return True


def _decide(config: Path, *, wanted: Outcome | None = None, reason: str = "") -> RetrainingDecision:
    pipeline = load_config(config)
    last = read_last_nights(Paths(home_for(config), pipeline.name))
    rule = pipeline.retraining
    return decide_retraining(
        last.judge(rule), last.known, rule, now=datetime.now(UTC), wanted=wanted, reason=reason
    )


def _train(
    config: Path,
    paths: Paths,
    decision: RetrainingDecision,
    progress: Callable[[float, str], None] | None,
) -> TrainedDetector:
    _keep(paths, Step.BEGUN, decision)
    try:
        trained = train_detector(
            config, recent=True, new_normal_since=decision.new_normal_since, progress=progress
        )
    except BaseException as error:
        _keep(paths, Step.FAILED, decision, reason=f"{type(error).__name__}: {error}")
        raise
    _keep(paths, Step.ENDED, decision, reason=" ".join(trained.decision.reasons), version=trained.version)
    return trained


def _recalibrate(config: Path, paths: Paths, decision: RetrainingDecision) -> Recalibrated:
    try:
        done = recalibrate_detector(config, since=decision.since)
    except AlreadyRunning:  # nothing was tried
        raise
    except BaseException as error:
        _keep(paths, Step.NOT_RECALIBRATED, decision, reason=f"{type(error).__name__}: {error}")
        raise
    reasons = " ".join(done.decision.reasons)
    _keep(paths, Step.RECALIBRATED, decision, reason=reasons, version=done.version)
    return done


def _keep(
    paths: Paths,
    step: Step,
    decision: RetrainingDecision,
    *,
    reason: str = "",
    batch: str | None = None,
    version: int | None = None,
) -> None:
    """One step into the ledger's database."""
    open_retrainings(paths).add(
        RetrainingStep(
            step=step,
            at=datetime.now(UTC),
            trigger=decision.trigger,
            reason=reason or " ".join(decision.reasons),
            batch=batch,
            version=version,
        )
    )
