"""The calibration of a detector fitted anew to recent data; its weights and its scores stay as they are.

What the detector learnt of the data calibrates nothing and is not tried, since a network errs less on it. All the
rest may calibrate but for a part that is kept to try the result on.

Legend: N items, L grid points.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from aeflow.config import SeriesPrepare
from aeflow.data.image_intake import items_path
from aeflow.data.series import history_grid
from aeflow.data.splits import CALIBRATION, TEST, TRAIN, split_time, stretches
from aeflow.detector import image_fitting
from aeflow.detector.detector import Detector, FittedOn, fingerprint
from aeflow.detector.image_fitting import ImageHistory, best_of_items, fit_calibration_of_images
from aeflow.detector.series_fitting import SeriesHistory, fit_calibrations
from aeflow.detector.series_scores import SeriesNormal
from aeflow.exceptions import DetectorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from aeflow.config import PipelineConfig
    from aeflow.data.intake import Intake
    from aeflow.data.series import HistoryGrid
    from aeflow.detector.fitting import History


def recalibrate(
    detector: Detector,
    config: PipelineConfig,
    intake: Intake,
    batches: Sequence[str],
    *,
    device: torch.device,
) -> tuple[Detector, History]:
    """The detector with calibrations fitted to the staged `batches`, and those as a history whose test part
    calibrated nothing.

    Args:
        detector: the one to recalibrate.
        config: the pipeline's; its `calibration` and `split` hold, also when the result scores. Its `entities` do
            not: scalings and networks lie in the cohorts that were trained, and calibrations beside them.
        intake: the batches, staged as one.
        batches: their ids.
        device: to score on.

    Raises:
        DetectorError: too little of them can be scored.
    """
    detector.network.to(device)
    config = config.model_copy(update={"entities": detector.config.entities}).at(config.folder)
    items_per_batch = config.calibration.items_per_batch or max(1.0, intake.valid / len(batches))
    if config.kind == "images":
        return _of_images(detector, config, intake, batches, items_per_batch, device)
    return _of_series(detector, config, intake, batches, items_per_batch, device)


def _of_series(
    detector: Detector,
    config: PipelineConfig,
    intake: Intake,
    batches: Sequence[str],
    items_per_batch: float,
    device: torch.device,
) -> tuple[Detector, History]:
    normal, prepare = detector.normal, config.prepare
    assert isinstance(normal, SeriesNormal)
    assert isinstance(prepare, SeriesPrepare)
    grid = history_grid(intake.rows_path, prepare, normal.cadences, len(config.channels))
    learnt = _learnt_points(detector, grid, batches)
    block = stretches(grid.entity, grid.has_row, config.split.stretches)
    history = SeriesHistory(
        grid, split_time(block, config.split, counted=grid.has_row & ~learnt), normal.cadences
    )
    history.part[learnt] = TRAIN
    every = grid.window_ends(prepare.window_points, part=np.ones(len(grid.values), dtype=bool), inside=False)
    score = _scores(detector, history, every, device)
    calibrates = (history.part[every] != TEST) & ~learnt[every] & np.isfinite(score)
    _expect_some(config, int(calibrates.sum()))
    at = every[calibrates]
    calibration, own, of_cohorts = fit_calibrations(
        config, score[calibrates], items_per_batch, grid.entities, grid.entity[at], grid.slot[at]
    )
    fitted = detector.fitted_on
    used = (history.part != TEST) & ~learnt
    until = dict(fitted.until_us)
    for code, name in enumerate(grid.entities):
        mine = used & (grid.entity == code)
        if mine.any():
            until[name] = max(until.get(name, -(2**62)), int(grid.time_us[mine].max()))
    return _with(
        detector,
        config,
        replace(fitted, until_us=until),
        batches,
        calibration=calibration,
        entity_calibrations=own,
        cohort_calibrations=of_cohorts,
    ), history


def _of_images(
    detector: Detector,
    config: PipelineConfig,
    intake: Intake,
    batches: Sequence[str],
    items_per_batch: float,
    device: torch.device,
) -> tuple[Detector, History]:
    history: ImageHistory = image_fitting.prepare_history(config, intake)
    known = _known_images(detector, history)[history.item]
    history.part[known] = TRAIN
    chosen = (history.part != TEST) & ~known
    _expect_some(config, int(chosen.sum()))
    item = history.item[chosen]
    found = detector.score_images(
        history.pixels[chosen], device=device, chunk_items=config.compute.chunk_items
    )
    items = np.unique(item)
    scores = best_of_items(found.score, item)
    # Whatever a part is called here, all but the test part and what was learnt calibrate.
    calibrating = replace(history, part=np.where(chosen, np.int8(CALIBRATION), history.part))
    calibration = fit_calibration_of_images(config, scores, calibrating, items_per_batch)
    fitted = detector.fitted_on
    digests = pq.read_table(items_path(intake), columns=["sha256"])["sha256"].to_pylist()
    seen = np.array([fingerprint(digests[i]) for i in items], dtype=np.uint64)
    groups = np.array(
        [fingerprint(g) for i in items if (g := history.groups[i]) is not None], dtype=np.uint64
    )
    fitted = replace(
        fitted,
        items=np.unique(np.concatenate([fitted.items, seen])),
        groups=np.unique(np.concatenate([fitted.groups, groups])),
    )
    return _with(detector, config, fitted, batches, calibration=calibration), history


def _with(
    detector: Detector,
    config: PipelineConfig,
    fitted: FittedOn,
    batches: Sequence[str],
    **calibrations: object,
) -> Detector:
    known = tuple(dict.fromkeys([*fitted.batches, *batches]))
    # What is flagged is merged by the rule that was calibrated for, and not by the one before it.
    ruled = detector.config.model_copy(update={"calibration": config.calibration})
    return replace(
        detector,
        config=ruled,
        fitted_on=replace(fitted, batches=known),
        **calibrations,  # type: ignore[arg-type]
    )


def _learnt_points(detector: Detector, grid: HistoryGrid, batches: Sequence[str]) -> NDArray[np.bool_]:
    """Which points `(L,)` lie in what the detector was fitted to: none where it knows none of the batches, as the
    rows of a source without time are numbered anew in each history."""
    fitted = detector.fitted_on
    if not set(batches) & set(fitted.batches):
        return np.zeros(len(grid.values), dtype=bool)
    until = np.array([fitted.until_us.get(name, -(2**62)) for name in grid.entities], dtype=np.int64)
    return np.asarray(grid.time_us <= until[grid.entity])


def _known_images(detector: Detector, history: ImageHistory) -> NDArray[np.bool_]:
    """Which images, by number, the detector knows, or others of their group; as `FittedOn.knows`."""
    fitted = detector.fitted_on
    images = np.array([fingerprint(digest) for digest in history.sha256], dtype=np.uint64)
    groups = np.array([fingerprint(group or "") for group in history.groups], dtype=np.uint64)
    grouped = np.array([group is not None for group in history.groups], dtype=bool)
    return np.asarray(np.isin(images, fitted.items) | (grouped & np.isin(groups, fitted.groups)))


def _expect_some(config: PipelineConfig, items: int) -> None:
    if not items:
        raise DetectorError(
            "none of the recent batches holds an item that can calibrate and that the detector has not learnt from",
            where=f"pipeline {config.name}",
            remedy="Look at what was set aside and flagged, or train anew: aeflow retrain --force",
        )


def _scores(
    detector: Detector, history: SeriesHistory, ends: NDArray[np.int64], device: torch.device
) -> NDArray[np.float32]:
    inputs = history.grid.inputs_at(ends, detector.network.item_shape[0])
    return detector.score_series(inputs, device=device, chunk_items=detector.config.compute.chunk_items).score
