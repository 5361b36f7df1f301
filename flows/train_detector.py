"""Train a detector: take in the history, fit, measure, register, promote if earned.

A killed run starts again where its last epoch ended, if history and config are still the same.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow import detector as detectors
from aeflow import registry
from aeflow.config import BASELINE, ImageSource, TableSource, load_config
from aeflow.data.take_in import history_batches, take_in_training
from aeflow.detector.fitting import Fitted, TrainingData, fit, prepare
from aeflow.detector.forest import FOREST_FOLDER, ForestDetector, fit_forest, save_forest
from aeflow.detector.series_fitting import SeriesHistory
from aeflow.detector.trending import trend_note
from aeflow.report.model_card import model_card
from aeflow.report.training_figures import training_figures
from aeflow.review.learning import left_out_of_training
from aeflow.review.moved_nights import MovedNights
from aeflow.settings import home_for
from aeflow.store.claims import claim
from aeflow.store.digests import sha256_folder
from aeflow.store.paths import Paths
from aeflow.store.verdicts import open_verdicts
from aeflow.training.devices import choose_device
from flows.artifacts import show_summary
from flows.champion import crown
from flows.contest import hold_contest
from flows.io_tasks import io_step, step
from flows.recent_history import recent_history

if TYPE_CHECKING:
    from collections.abc import Callable

    from aeflow.config import Model, PipelineConfig, SqlSource
    from aeflow.data.intake import Intake
    from aeflow.promotion import Decision, Figures
    from flows.contest import Contest


@dataclass(frozen=True)
class TrainedDetector:
    """What a training run came to."""

    pipeline: str
    version: int
    live: bool
    decision: Decision
    challenger: Figures
    baseline: Figures
    champion: Figures | None
    rows: int
    """Rows or images of the history that it learnt from."""
    quarantined: dict[str, int]
    """Reason code -> rows or images of the history that were set aside."""
    epochs: int
    items_per_second: float
    device: str
    note: str
    unreadable: dict[str, str]
    """File of the source that could not be read to its end -> why: what of it belongs to the history is
    not learnt from."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Baselines:
    """What every evaluation of the detector compares it with, fitted to the same history."""

    linear: Fitted
    forest: ForestDetector


def train_detector(
    config: Path,
    *,
    go_live: bool = True,
    recent: bool = False,
    new_normal_since: str | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> TrainedDetector:
    """Train on the configured history and register the detector as challenger; it becomes champion
    where that is earned (`aeflow.promotion`) and `go_live` is True. recent: on the most recent batches
    instead (`flows.recent_history`). new_normal_since: what came from this batch on is what is normal now: it alone is
    learnt from, and of its flags that nobody has judged only those are left out that stand out even so.

    Raises:
        UserError: see `aeflow.exceptions`: what has to be mended is in the message.
    """
    pipeline = load_config(config)
    paths = Paths(home_for(config), pipeline.name)
    with claim(paths.training_claim, f"training of {pipeline.name}", now=datetime.now(UTC)):
        resumed = paths.training.exists()
        notes: tuple[str, ...] = ()
        if recent:
            moved_up = recent_history(pipeline, paths, new_normal_since=new_normal_since)
            pipeline, notes = moved_up.config, moved_up.notes
        batches, staged = take_in_history(pipeline, paths, new_normal_since)
        data = prepare(pipeline, staged, batches=batches)
        challenger = fit_model(pipeline, pipeline.model, data, paths.training / "checkpoint", progress)
        baseline = fit_model(pipeline, BASELINE, data, None, None)
        baselines = Baselines(baseline, grow_forest(baseline, data))
        contest = hold_contest(
            pipeline,
            paths,
            data.history,
            challenger.detector,
            baseline.detector,
            broken_since=new_normal_since,
        )
        trends = trend_note(pipeline, data.history) if isinstance(data.history, SeriesHistory) else ""
        version = register(
            pipeline, paths, staged, batches, challenger, baselines, contest, trends=trends, resumed=resumed
        )
        live = contest.decision.promote and go_live
        if live:
            crown(paths, version)
        shutil.rmtree(paths.training)
    done = TrainedDetector(
        pipeline=pipeline.name,
        version=version,
        live=live,
        decision=contest.decision,
        challenger=contest.challenger,
        baseline=contest.baseline,
        champion=contest.champion,
        rows=staged.rows_in - sum(data.set_aside.values()),
        quarantined=dict(data.set_aside),
        epochs=len(challenger.training.history),
        items_per_second=challenger.training.samples_per_second,
        device=str(challenger.training.device),
        note=" ".join(filter(None, [*notes, challenger.detector.calibration.note, trends])),
        unreadable=staged.unreadable,
    )
    show_summary(f"train-{pipeline.name}", "\n\n".join([f"Version {version}", contest.page]))
    return done


@io_step
def take_in_history(
    config: PipelineConfig, paths: Paths, new_normal_since: str | None
) -> tuple[list[str], Intake]:
    """The batches to learn from, and a snapshot of them without what is flagged or confirmed to be abnormal."""
    batches = history_batches(config)
    live = registry.resolve(paths)
    moved = None
    if new_normal_since is not None and live is not None:
        reach = config.item_shape[0] if config.kind == "series" else 0
        moved = MovedNights(new_normal_since, live.version, reach)
    left_out = left_out_of_training(config, paths, open_verdicts(paths).all(), batches, moved=moved)
    return batches, take_in_training(config, paths.training / "intake", left_out=left_out)


@step
def fit_model(
    config: PipelineConfig,
    model: Model,
    data: TrainingData,
    checkpoint: Path | None,
    progress: Callable[[float, str], None] | None,
) -> Fitted:
    """Fit one model to the history; `progress` is told the share of epochs done."""
    shown = None
    if progress is not None:
        tell = progress

        def shown(p: Any) -> None:
            of = f"{p.stage}, " if p.stage else ""
            tell(p.epoch / p.epochs, f"{of}epoch {p.epoch}, validation loss {p.validation_loss:.4g}")

    device = choose_device(config.compute.device)
    return fit(
        config,
        model,
        data,
        device=device,
        checkpoint=checkpoint,
        progress=shown,
        with_drift=model is config.model,
    )


@step
def grow_forest(baseline: Fitted, data: TrainingData) -> ForestDetector:
    """What evaluations compare with besides the linear baseline."""
    return fit_forest(baseline.detector, data)


@io_step
def register(
    config: PipelineConfig,
    paths: Paths,
    staged: Intake,
    batches: list[str],
    challenger: Fitted,
    baselines: Baselines,
    contest: Contest,
    *,
    trends: str,
    resumed: bool,
) -> int:
    """The detector, with what it is measured against, as the next version: challenger. Where a
    killed run is resumed that had come so far, its version is the one."""
    folder = paths.training / "detector"
    shutil.rmtree(folder, ignore_errors=True)
    detectors.save(challenger.detector, folder)
    detectors.save(baselines.linear.detector, folder / detectors.BASELINE_FOLDER)
    save_forest(baselines.forest, folder / detectors.BASELINE_FOLDER / FOREST_FOLDER)
    newest = max(registry.versions(paths), key=lambda v: v.version, default=None) if resumed else None
    if newest is not None and newest.digest == sha256_folder(folder):
        registry.set_alias(paths, registry.CHALLENGER, newest.version)
        return newest.version
    measured, baseline, decision = contest.challenger, contest.baseline, contest.decision
    history = challenger.training.history
    ref = registry.register(
        paths,
        folder,
        python_model=detectors.PYFUNC,
        kind=config.kind,
        input_example=np.zeros((2, *challenger.detector.network.item_shape), dtype=np.float32),
        data=registry.TrainingData(
            name=f"{config.name}-history",
            digest=staged.digest,
            rows=staged.valid,
            source=_place_of(config.source),
        ),
        model_card=model_card(staged, batches, challenger, measured, baseline, decision, trends=trends),
        params={
            "family": config.model.family,
            "seed": config.seed,
            "batches": len(batches),
            "rows": staged.valid,
        },
        metrics={
            **measured.metrics(),
            **{f"baseline_{name}": value for name, value in baseline.metrics().items()},
            "samples_per_second": challenger.training.samples_per_second,
            "train_loss": [r.train_loss for r in history],
            "validation_loss": [r.validation_loss for r in history],
        },
        figures=training_figures(challenger),
        pages={"promotion.md": contest.page},
        tags={"family": config.model.family, "decision": " ".join(decision.reasons)},
    )
    registry.set_alias(paths, registry.CHALLENGER, ref.version)
    return ref.version


def _place_of(source: ImageSource | TableSource | SqlSource) -> str:
    """Where the data lie, as the config names it."""
    if isinstance(source, ImageSource):
        return source.root
    return source.path if isinstance(source, TableSource) else source.query
