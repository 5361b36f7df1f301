"""Fit the calibration of the champion anew to the batches since its errors changed; the weights stay.

The result is a registered version of its own: what is scored by it is scored by the same network.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow import detector as detectors
from aeflow import registry
from aeflow.config import History, Split, load_config
from aeflow.data.take_in import list_batches, take_in_training
from aeflow.detector.recalibration import recalibrate
from aeflow.exceptions import DetectorError
from aeflow.report.model_card import recalibration_card
from aeflow.review.learning import left_out_of_training
from aeflow.settings import home_for
from aeflow.store.claims import claim
from aeflow.store.ledger import open_ledger
from aeflow.store.paths import Paths
from aeflow.store.verdicts import open_verdicts
from aeflow.training.devices import choose_device
from flows.champion import crown
from flows.contest import hold_contest, live_detector
from flows.io_tasks import io_step

if TYPE_CHECKING:
    from pathlib import Path

    from aeflow.config import PipelineConfig
    from aeflow.data.intake import Intake
    from aeflow.detector import Detector
    from aeflow.promotion import Decision
    from flows.contest import Contest

_CERTAIN = 100.0
"""A flag of this severity lies so far beyond the cut that no stale calibration explains it."""
# Nothing trains: three quarters calibrate (whatever the parts are called), the last is to try the result on.
_PARTS = {"train": 0.5, "validation": 0.05, "calibration": 0.2, "test": 0.25}


@dataclass(frozen=True)
class Recalibrated:
    """What came of it. rows: rows or images that calibrated or were tried on."""

    pipeline: str
    version: int
    live: bool
    decision: Decision
    batches: tuple[str, ...]
    rows: int
    left_out: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def recalibrate_detector(config: Path, *, since: str | None = None) -> Recalibrated:
    """Recalibrate the champion on the published batches from `since` on (None: all that it scored) that the
    source still holds, without what people confirmed to be abnormal and what is flagged beyond any doubt. It goes live if it keeps the
    promise where the champion does not.

    Raises:
        DetectorError: there is no champion, or no batch to calibrate on.
        UserError: see `aeflow.exceptions`.
    """
    pipeline = load_config(config)
    paths = Paths(home_for(config), pipeline.name)
    with claim(paths.training_claim, f"recalibration of {pipeline.name}", now=datetime.now(UTC)):
        ref, champion = live_detector(paths)
        if ref is None or champion is None:
            raise DetectorError(
                "expected a champion to recalibrate, and there is none",
                where=f"pipeline {pipeline.name}",
                remedy=f"Train one: aeflow train {pipeline.name}",
            )
        champion.check_fits(pipeline)
        batches = _scored_by(pipeline, paths, ref.version, since)
        if not batches:
            raise DetectorError(
                "expected batches that the champion has scored and the source still holds, and there is none",
                where=f"pipeline {pipeline.name}",
                remedy="Score some first: aeflow score --pending",
            )
        recent = _recent(pipeline, batches)
        staged = _stage(recent, paths, batches)
        device = choose_device(pipeline.compute.device)
        challenger, history = recalibrate(champion, recent, staged, batches, device=device)
        baseline = detectors.load(
            registry.fetch(paths, ref.version, digest=ref.digest) / detectors.BASELINE_FOLDER
        )
        contest = hold_contest(recent, paths, history, challenger, baseline)
        version = _register(pipeline, paths, ref.version, staged, batches, challenger, contest)
        if contest.decision.promote:
            crown(paths, version)
        shutil.rmtree(paths.training, ignore_errors=True)
    return Recalibrated(
        pipeline.name,
        version,
        contest.decision.promote,
        contest.decision,
        batches,
        staged.valid,
        dict(staged.quarantined),
    )


def _scored_by(config: PipelineConfig, paths: Paths, version: int, since: str | None) -> tuple[str, ...]:
    """The batches with a report by this detector, from `since` on, that the source has not rotated away."""
    still_there = set(list_batches(config))
    return tuple(
        b.batch
        for b in open_ledger(paths).all()
        if b.facts.detector_version == version
        and b.batch in still_there
        and paths.report(b.batch).is_dir()
        and (since is None or b.batch >= since)
    )


def _recent(config: PipelineConfig, batches: tuple[str, ...]) -> PipelineConfig:
    """The pipeline with these batches as its history, each of which is shared out."""
    update = {"history": History(batches=batches), "split": Split(**_PARTS, stretches=len(batches))}
    return config.model_copy(update=update).at(config.folder)


@io_step
def _stage(config: PipelineConfig, paths: Paths, batches: tuple[str, ...]) -> Intake:
    said = open_verdicts(paths).all()
    left_out = left_out_of_training(config, paths, said, batches, least_severity=_CERTAIN)
    shutil.rmtree(paths.training, ignore_errors=True)
    return take_in_training(config, paths.training / "intake", left_out=left_out)


@io_step
def _register(
    config: PipelineConfig,
    paths: Paths,
    of_version: int,
    staged: Intake,
    batches: tuple[str, ...],
    challenger: Detector,
    contest: Contest,
) -> int:
    folder = paths.training / "detector"
    detectors.save(challenger, folder)
    known = registry.find(paths, of_version)
    baseline = registry.fetch(paths, of_version, digest=known.digest) / detectors.BASELINE_FOLDER
    shutil.copytree(baseline, folder / detectors.BASELINE_FOLDER)
    ref = registry.register(
        paths,
        folder,
        python_model=detectors.PYFUNC,
        kind=config.kind,
        input_example=np.zeros((2, *challenger.network.item_shape), dtype=np.float32),
        data=registry.TrainingData(
            name=f"{config.name}-recalibration",
            digest=staged.digest,
            rows=staged.valid,
            source=", ".join(batches),
        ),
        model_card=recalibration_card(config.name, of_version, staged, batches, challenger, contest.decision),
        params={
            "family": challenger.config.model.family,
            "recalibrates": of_version,
            "batches": len(batches),
        },
        metrics=contest.challenger.metrics(),
        pages={"promotion.md": contest.page},
        tags={
            "family": challenger.config.model.family,
            "recalibrates": str(of_version),
            "decision": " ".join(contest.decision.reasons),
        },
    )
    registry.set_alias(paths, registry.CHALLENGER, ref.version)
    return ref.version
