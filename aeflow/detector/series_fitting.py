"""Fit a series detector to a staged history.

Each part of the history serves one purpose: train fits the scaling and the weights, validation stops
the training and fits the spread of the errors, calibration fits the cut, test measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from aeflow.config import SeriesPrepare
from aeflow.data.series import Cadences, HistoryGrid, history_grid, learn_cadences
from aeflow.data.splits import CALIBRATION, TEST, TRAIN, VALIDATION, split_time, spread_out, stretches
from aeflow.detector.cohorts import Groups
from aeflow.detector.fusing import fit_fusing
from aeflow.detector.networks import fit_networks
from aeflow.detector.series_scores import (
    Residuals,
    SeriesNormal,
    UsualErrors,
    Windows,
    level_before,
    network_input,
    point_scores,
    residuals,
    smoothed,
)
from aeflow.exceptions import DetectorError
from aeflow.models.catalog import build
from aeflow.models.fused import fused_networks, fusion_rule
from aeflow.numerics.calibration import Calibration, fit_calibration
from aeflow.numerics.reconstruction_error import common_spread, fit_spread, limited_ratio
from aeflow.numerics.scaling import RobustScale, fit_common_scale, fit_deviation_scale, fit_robust_scale
from aeflow.numerics.trailing import fit_usual_level, look_back_points
from aeflow.numerics.whitening import fit_whitening

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from aeflow.config import Model, PipelineConfig
    from aeflow.models.autoencoder import Autoencoder
    from aeflow.training.loop import Progress, TrainingResult

# With fewer calibration scores of its own an entity's tail is a guess; it shares the pooled one.
_OWN_CALIBRATION = 500
_SAMPLES = 3
_SCALES = {"robust": fit_robust_scale, "deviation": fit_deviation_scale, "common": fit_common_scale}


@dataclass(frozen=True)
class SeriesHistory:
    """A history on the grid, shared out: `part` `(L,)` int8 codes of `aeflow.data.splits`."""

    grid: HistoryGrid
    part: NDArray[np.int8]
    cadences: Cadences


@dataclass(frozen=True)
class SeriesFit:
    """What fitting yields: the parts of a `Detector`, and the held-out scores it is judged by."""

    normal: SeriesNormal
    network: Autoencoder
    calibration: Calibration
    entity_calibrations: dict[str, Calibration]
    cohort_calibrations: dict[str, Calibration]
    training: TrainingResult
    calibration_scores: NDArray[np.float32]
    test_scores: NDArray[np.float32]
    samples: tuple[NDArray[np.float32], NDArray[np.float32]]


def prepare_history(config: PipelineConfig, rows: Path) -> SeriesHistory:
    """The staged history on the grid, each entity cut into consecutive parts in time."""
    assert isinstance(config.prepare, SeriesPrepare)
    cadences = learn_cadences(rows, config.prepare)
    grid = history_grid(rows, config.prepare, cadences, len(config.channels))
    block = stretches(grid.entity, grid.has_row, config.split.stretches)
    return SeriesHistory(grid, split_time(block, config.split, counted=grid.has_row), cadences)


def fit_series(
    config: PipelineConfig,
    model: Model,
    history: SeriesHistory,
    *,
    items_per_batch: float,
    device: torch.device,
    fingerprint: str = "",
    checkpoint: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> SeriesFit:
    """Fit `model` (the config's own, or the baseline) to `history`.

    Raises:
        DetectorError: a part of the history holds no whole window.
    """
    assert isinstance(config.prepare, SeriesPrepare)
    grid, window = history.grid, config.prepare.window_points
    scale = _fit_scale(config, history)
    scaled = scale.apply(grid.values, grid.entity)

    ends = {code: window_ends(config, history, code) for code in (TRAIN, VALIDATION, CALIBRATION, TEST)}
    # The limit of what networks see is that of the family.
    flat = network_input(build(model, config.item_shape, seed=config.seed), scaled)
    network, result, member = fit_networks(
        config,
        model,
        grid,
        flat,
        ends,
        device=device,
        checkpoint=checkpoint,
        fingerprint=fingerprint,
        progress=progress,
    )

    scored = _scored(config, history, ends)
    normal, score = _fit_normal(
        config,
        history,
        scale,
        network,
        scaled,
        scored,
        device=device,
        member=member,
    )
    part, entity, slot = history.part[scored], grid.entity[scored], grid.slot[scored]
    of_it = part == CALIBRATION
    calibration, own, of_cohorts = fit_calibrations(
        config, score[of_it], items_per_batch, grid.entities, entity[of_it], slot[of_it]
    )
    some = spread_out(ends[VALIDATION], _SAMPLES)
    shown = Windows.of(flat, grid.observed, some, window, device)[:]
    with torch.inference_mode():
        seeing = network.at(torch.from_numpy(normal.members(grid.entity[some].astype(np.int64))))
        samples = shown[0].cpu().numpy(), seeing.views(*shown).mean(dim=0).float().cpu().numpy()
    return SeriesFit(
        normal, network, calibration, own, of_cohorts, result, score[of_it], score[part == TEST], samples
    )


def _fit_scale(config: PipelineConfig, history: SeriesHistory) -> RobustScale:
    """The scale of the part that trains."""
    assert isinstance(config.prepare, SeriesPrepare)
    grid, in_train = history.grid, history.part == TRAIN
    fit = _SCALES[config.prepare.scale]
    known = np.where(grid.observed & in_train[:, None], grid.values, np.nan)
    groups = Groups.of(config.entities, grid.entities)

    def both(values: NDArray[np.float32], entity: NDArray[np.int32], count: int) -> NDArray[np.float32]:
        found = fit(values, entity, count)
        return np.stack([found.center, found.scale], axis=1)

    scales = groups.fit(both, (known,), grid.entity)
    return RobustScale(scales[:, 0], scales[:, 1])


def _scored(
    config: PipelineConfig, history: SeriesHistory, ends: Mapping[int, NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Ends of the windows to score, sorted: those of the held-out parts, and of the training part those that
    the first of them look back to."""
    held_out = [ends[code] for code in (VALIDATION, CALIBRATION, TEST)]
    reach = look_back_points(config.scoring.smooth_points, config.scoring.baseline_points)
    if not reach:
        return np.sort(np.concatenate(held_out))
    assert isinstance(config.prepare, SeriesPrepare)
    grid = history.grid
    every = grid.window_ends(config.prepare.window_points, part=history.part == TRAIN, inside=False)
    first = np.full(len(grid.entities), np.iinfo(np.int64).max)
    for of_part in held_out:
        np.minimum.at(first, grid.entity[of_part], grid.slot[of_part])
    near = grid.slot[every] >= first[grid.entity[every]] - reach
    return np.sort(np.concatenate([every[near], *held_out]))


def _fit_normal(
    config: PipelineConfig,
    history: SeriesHistory,
    scale: RobustScale,
    network: Autoencoder,
    scaled: NDArray[np.float32],
    ends: NDArray[np.int64],
    *,
    device: torch.device,
    member: NDArray[np.int64] | None,
) -> tuple[SeriesNormal, NDArray[np.float32]]:
    """What is usual of the errors of a network, or of each that is fused, learnt from the held-out windows of those
    that end at `ends` `(N,)`; and the scores `(N,)` of all of them by it."""
    grid = history.grid
    held_out, entity = history.part[ends] == VALIDATION, grid.entity[ends]
    usual, scores = [], []
    for one in fused_networks(network):
        found = residuals(
            one,
            scaled,
            grid.observed,
            ends,
            config.item_shape[0],
            config.error,
            device=device,
            chunk_items=config.compute.chunk_items,
            points=config.scoring.points,
            member=None if member is None else member[entity],
        )
        errors, score = _fit_errors(config, history, found, held_out, entity, grid.slot[ends])
        usual.append(errors)
        scores.append(score)
    fusing, score, rule = None, scores[0], fusion_rule(network)
    if rule is not None:
        groups = Groups.of(config.entities, grid.entities)
        fusing = fit_fusing(rule, [of_one[held_out] for of_one in scores], entity[held_out], groups)
        score, _ = fusing.together(scores, entity)
    normal = SeriesNormal(
        grid.entities, history.cadences, scale, tuple(usual), fusing, config.entities, member
    )
    return normal, score


def _fit_errors(
    config: PipelineConfig,
    history: SeriesHistory,
    found: Residuals,
    held_out: NDArray[np.bool_],
    entity: NDArray[np.int32],
    slot: NDArray[np.int64],
) -> tuple[UsualErrors, NDArray[np.float32]]:
    """What is usual of the residuals of one network, learnt from the `held_out` of them `(N,)`, and the scores
    `(N,)` of all by it."""
    grid, scoring = history.grid, config.scoring
    of_those = found.residual[held_out], found.observed[held_out], entity[held_out]
    groups = Groups.of(config.entities, grid.entities)
    spread = groups.fit(fit_spread, of_those[:2], of_those[2])
    assert isinstance(config.prepare, SeriesPrepare)
    if config.prepare.scale == "common":
        spread = common_spread(spread, len(config.channels))
    whitening = None
    if scoring.distance == "mahalanobis":
        in_spreads = limited_ratio(of_those[0], spread[of_those[2]])
        whitening = groups.fit(fit_whitening, (in_spreads, of_those[1]), of_those[2])
    score, parts = point_scores(found, spread, whitening, entity)
    score, _ = smoothed(scoring, score, parts[:, :0], entity, slot)
    usual = np.ones(len(spread), dtype=np.float32)
    if scoring.baseline_points:
        level = partial(fit_usual_level, quantile=scoring.baseline_quantile)
        usual = groups.fit(level, (score[held_out],), of_those[2])
        score = score / level_before(scoring, score, entity, slot, usual[entity])
    return UsualErrors(spread, usual, whitening), score


def window_ends(config: PipelineConfig, history: SeriesHistory, part: int) -> NDArray[np.int64]:
    """Ends of the windows of a part. Training windows lie inside it; the others may begin before it,
    since only their last point counts."""
    assert isinstance(config.prepare, SeriesPrepare)
    names = {TRAIN: "train", VALIDATION: "validation", CALIBRATION: "calibration", TEST: "test"}
    window = config.prepare.window_points
    ends = history.grid.window_ends(
        window,
        part=history.part == part,
        inside=part == TRAIN,
        stride=config.prepare.train_stride_points if part == TRAIN else 1,
    )
    if ends.size == 0 and part != TEST:
        raise DetectorError(
            f"the {names[part]} part of the history ({int((history.part == part).sum())} grid points of "
            f"{len(history.grid.entities)} entities) holds no whole window of {window} points",
            where=f"pipeline {config.name}",
            remedy="Give more history, a smaller prepare.window_points, or a larger share in `split`.",
        )
    return ends


def fit_calibrations(
    config: PipelineConfig,
    scores: NDArray[np.float32],
    items_per_batch: float,
    entities: tuple[str, ...],
    entity: NDArray[np.int32],
    slot: NDArray[np.int64],
) -> tuple[Calibration, dict[str, Calibration], dict[str, Calibration]]:
    """The calibration of all entities together, which makes the promise; those of entities with enough scores of
    their own, by which their points are judged; and those of cohorts, for their other entities."""
    pooled = _fit(config, scores, items_per_batch, entity, slot)
    if len(entities) == 1:
        return pooled, {}, {}
    share = items_per_batch / len(entities)
    groups = Groups.of(config.entities, entities)
    judged: NDArray[np.float64] | None = None

    def judge(of_some: Calibration, mine: NDArray[np.int64] | slice) -> None:
        nonlocal judged
        judged = pooled.normal.held_out_p_values(scores) if judged is None else judged
        judged[mine] = of_some.normal.held_out_p_values(scores[mine])

    of_cohorts: dict[str, Calibration] = {}
    for code, name in enumerate(groups.names):
        mine = np.flatnonzero(groups.codes(entity) == code)
        if mine.size >= _OWN_CALIBRATION:
            members = int((groups.cohort == code).sum())
            of_cohorts[name] = _fit(config, scores[mine], share * members, entity[mine], slot[mine])
            judge(of_cohorts[name], mine)
    own: dict[str, Calibration] = {}
    bounds = np.searchsorted(entity, np.arange(len(entities) + 1))  # scores stand entity after entity
    for name, begin, end in zip(entities, bounds[:-1], bounds[1:], strict=True):
        if end - begin >= _OWN_CALIBRATION:
            here = slice(int(begin), int(end))
            own[name] = _fit(config, scores[here], share, entity[here], slot[here])
            judge(own[name], here)
    if judged is None:
        return pooled, {}, {}
    return _fit(config, scores, items_per_batch, entity, slot, judged), own, of_cohorts


def _fit(
    config: PipelineConfig,
    scores: NDArray[np.float32],
    items_per_batch: float,
    entity: NDArray[np.int32],
    slot: NDArray[np.int64],
    judged: NDArray[np.float64] | None = None,
) -> Calibration:
    promise = config.calibration
    return fit_calibration(
        scores,
        rule=promise.rule,
        false_flags_per_batch=promise.false_flags_per_batch,
        false_discovery_rate=promise.false_discovery_rate,
        storey=promise.storey,
        items_per_batch=items_per_batch,
        sequence=(entity, slot),
        judged_p_values=judged,
        merge_gap=promise.merge_gap_points,
        min_points=promise.min_event_points,
        rest_points=promise.rest_points,
    )
