"""Fit a detector of either kind: one door for the config's own model and for the baseline."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from aeflow.config import dump_json
from aeflow.data.checks import examples_of
from aeflow.data.image_intake import iter_items
from aeflow.data.intake import in_words
from aeflow.data.reference import learn_reference
from aeflow.data.splits import PARTS, TEST, split_groups
from aeflow.detector import image_fitting, series_fitting
from aeflow.detector.codes import usual_codes, usual_items
from aeflow.detector.detector import Detector, FittedOn, fingerprint
from aeflow.detector.drift_reference import learn_drift_reference
from aeflow.detector.exemplars import choose_exemplars
from aeflow.detector.image_fitting import ImageHistory
from aeflow.detector.series_fitting import SeriesFit, SeriesHistory
from aeflow.exceptions import DetectorError
from aeflow.numerics.likeness import fit_code_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from aeflow.config import Model, PipelineConfig
    from aeflow.data.intake import Intake
    from aeflow.data.reference import Reference
    from aeflow.detector.image_fitting import ImageFit
    from aeflow.training.loop import Progress, TrainingResult

History = SeriesHistory | ImageHistory


@dataclass(frozen=True)
class Fitted:
    """A detector, how its training went, and the scores of the parts that trained nothing.

    samples: a few held-out items `(K, *item_shape)` as the network meets them, and what it expects.
    """

    detector: Detector
    training: TrainingResult
    calibration_scores: NDArray[np.float32]
    test_scores: NDArray[np.float32]
    samples: tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class TrainingData:
    """A staged history, prepared; what every model of one training run is fitted to.

    items_per_batch: images or rows that a batch is expected to hold.
    set_aside: reason code -> images or rows of the history that nothing was learnt from.
    """

    history: History
    reference: Reference
    fitted_on: FittedOn
    items_per_batch: float
    set_aside: Mapping[str, int]


def prepare(config: PipelineConfig, intake: Intake, *, batches: Sequence[str]) -> TrainingData:
    """The staged history as arrays; `batches` are the ids it is made of.

    Raises:
        DetectorError: it holds nothing to learn from.
    """
    _refuse_nothing_valid(config, intake)
    items_per_batch = config.calibration.items_per_batch or max(1.0, intake.valid / len(batches))
    reference = learn_reference(config, intake)
    if config.kind == "images":
        images = image_fitting.prepare_history(config, intake)
        fitted_on = _fitted_on_images(config, intake, images, batches)
        set_aside = images.damaged + Counter(intake.quarantined)
        return TrainingData(images, reference, fitted_on, items_per_batch, set_aside)
    series = series_fitting.prepare_history(config, intake.rows_path)
    fitted_on = _fitted_on_series(config, intake, series, batches)
    return TrainingData(series, reference, fitted_on, items_per_batch, intake.quarantined)


def expect_enough(config: PipelineConfig, intake: Intake) -> None:
    """Whether the staged history is enough to be fitted, found without fitting. Images are not decoded: there
    may be fewer of them.

    Raises:
        DetectorError: it holds nothing valid, or a part of it no whole window.
        InputError: it holds fewer groups of images than parts.
    """
    _refuse_nothing_valid(config, intake)
    if config.kind == "images":
        images = list(iter_items(intake))
        groups, contents = [i.group for i in images], [i.sha256 for i in images]
        split_groups(groups, contents, config.split, config.seed)
        return
    history = series_fitting.prepare_history(config, intake.rows_path)
    for part in range(len(PARTS)):
        series_fitting.window_ends(config, history, part)


def _refuse_nothing_valid(config: PipelineConfig, intake: Intake) -> None:
    if intake.valid:
        return
    examples = "".join(f"\n  {example}" for example in examples_of(intake))
    raise DetectorError(
        f"the history holds nothing valid to learn from; set aside: {in_words(intake.quarantined)}{examples}",
        where=f"pipeline {config.name}",
        remedy="Mend the source, or widen `history` in the config.",
    )


def fit(
    config: PipelineConfig,
    model: Model,
    data: TrainingData,
    *,
    device: torch.device,
    checkpoint: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    with_drift: bool = True,
) -> Fitted:
    """Fit `model` to the prepared history. with_drift: and learn what later batches are held against for
    drift, which a baseline needs not.

    Raises:
        DetectorError: a part of the history is too short.
    """
    config = config.without_operation().model_copy(update={"model": model}).at(config.folder)
    found = _fit_history(config, model, data, device, checkpoint, progress)
    own, of_cohorts = {}, {}
    if isinstance(found, SeriesFit):
        own, of_cohorts = found.entity_calibrations, found.cohort_calibrations
    window = getattr(config.prepare, "window_points", 0)
    count = len(getattr(found.network, "members", (found.network,)))
    usual, member = usual_items(data.history, found.normal, window, count=count)
    codes = usual_codes(
        found.network,
        found.normal,
        data.history,
        usual,
        member,
        window,
        device=device,
        chunk_items=config.compute.chunk_items,
    )
    code_space = fit_code_space(codes, member, count)
    detector = Detector(
        config=config,
        network=found.network,
        normal=found.normal,
        calibration=found.calibration,
        entity_calibrations=own,
        cohort_calibrations=of_cohorts,
        reference=data.reference,
        fitted_on=data.fitted_on,
        code_space=code_space,
        exemplars=choose_exemplars(data.history, usual, code_space.signatures(codes, member), member),
    )
    if with_drift:
        drift = learn_drift_reference(
            detector, data.history, items_per_batch=data.items_per_batch, device=device
        )
        detector = replace(detector, drift=drift)
    return Fitted(detector, found.training, found.calibration_scores, found.test_scores, found.samples)


def _fit_history(
    config: PipelineConfig,
    model: Model,
    data: TrainingData,
    device: torch.device,
    checkpoint: Path | None,
    progress: Callable[[Progress], None] | None,
) -> ImageFit | SeriesFit:
    # A checkpoint is that of this very run: the data, the model, and how it is trained.
    run_name = hashlib.sha256(f"{data.fitted_on.digest}\n{dump_json(config)}".encode()).hexdigest()
    if isinstance(data.history, ImageHistory):
        return image_fitting.fit_images(
            config,
            model,
            data.history,
            items_per_batch=data.items_per_batch,
            device=device,
            fingerprint=run_name,
            checkpoint=checkpoint,
            progress=progress,
        )
    return series_fitting.fit_series(
        config,
        model,
        data.history,
        items_per_batch=data.items_per_batch,
        device=device,
        fingerprint=run_name,
        checkpoint=checkpoint,
        progress=progress,
    )


def _fingerprints(names: Iterable[str]) -> NDArray[np.uint64]:
    return np.unique(np.array([fingerprint(name) for name in names], dtype=np.uint64))


def _fitted_on_images(
    config: PipelineConfig, intake: Intake, history: ImageHistory, batches: Sequence[str]
) -> FittedOn:
    used = np.unique(history.item[history.part != TEST])
    groups = {history.groups[i] for i in used} - {None}
    return FittedOn(
        digest=intake.digest,
        rows=intake.valid,
        seed=config.seed,
        items=_fingerprints(history.sha256[i] for i in used),
        groups=_fingerprints(str(g) for g in groups),
        until_us={},
        batches=tuple(batches),
    )


def _fitted_on_series(
    config: PipelineConfig, intake: Intake, history: SeriesHistory, batches: Sequence[str]
) -> FittedOn:
    grid, used = history.grid, history.part != TEST
    until = {
        name: int(grid.time_us[used & (grid.entity == code)].max(initial=-(2**62)))
        for code, name in enumerate(grid.entities)
    }
    nothing = np.empty(0, dtype=np.uint64)
    return FittedOn(intake.digest, intake.valid, config.seed, nothing, nothing, until, tuple(batches))
