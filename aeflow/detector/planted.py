"""How well a detector finds faults planted into held-out normal data: figures without labels.

Every detector that is compared meets the same data and, by the seed, the same faults.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, get_args

import numpy as np

from aeflow.data.series import SeriesInputs
from aeflow.data.splits import TEST
from aeflow.detector.image_fitting import ImageHistory, best_of_items
from aeflow.detector.image_scores import ImageNormal, as_unit
from aeflow.detector.series_scores import SeriesNormal
from aeflow.numerics.metrics import auroc
from aeflow.numerics.planting import ImageFault, SeriesFault, plant_in_images, plant_in_series
from aeflow.promotion import Figures

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from aeflow.detector.detector import Detector
    from aeflow.detector.series_fitting import SeriesHistory

# Faults that anything finds would not tell two detectors apart.
_MAGNITUDE = 3.0
_MAX_ENTITIES = 20
_MAX_POINTS = 5_000
_MAX_IMAGES = 300
_FAULT_POINTS = 20


def measure(detector: Detector, history: SeriesHistory | ImageHistory, *, device: torch.device) -> Figures:
    """Figures of the detector on the test part of `history`; None where that is empty."""
    detector.network.to(device)
    if isinstance(history, ImageHistory):
        clean, planted = _image_scores(detector, history, device)
    else:
        clean, planted = _series_scores(detector, history, device)
    if clean.size == 0 or planted.size == 0:
        return Figures(int(clean.size), None, None, None)
    calibration = detector.calibration
    truth = np.concatenate([np.zeros(clean.size, bool), np.ones(planted.size, bool)])
    return Figures(
        items=int(clean.size),
        false_flag_share=float((calibration.p_values(clean) <= calibration.alpha).mean()),
        promised_share=float(calibration.alpha),
        planted_auroc=auroc(truth, np.concatenate([clean, planted])),
    )


def _image_scores(
    detector: Detector, history: ImageHistory, device: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    chosen = np.unique(history.item[history.part == TEST])[:_MAX_IMAGES]
    mine = np.isin(history.item, chosen)
    images, item = as_unit(history.pixels[mine]), history.item[mine]
    assert isinstance(detector.normal, ImageNormal)

    def scores(of: NDArray[np.float32]) -> NDArray[np.float32]:
        found = detector.score_images(of, device=device, chunk_items=detector.config.compute.chunk_items)
        return best_of_items(found.score, item)

    planted = [np.empty(0, np.float32)]
    for number, fault in enumerate(get_args(ImageFault)):
        generator = np.random.default_rng([detector.config.seed, number])
        if len(images):
            faulty, _ = plant_in_images(images, fault, generator=generator, magnitude=_MAGNITUDE)
            planted.append(scores(faulty.astype(np.float32)))
    return scores(images) if len(images) else planted[0], np.concatenate(planted)


def _series_scores(
    detector: Detector, history: SeriesHistory, device: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    grid = history.grid
    assert isinstance(detector.normal, SeriesNormal)
    nothing = np.empty(0, np.float32)
    clean, planted = [nothing], [nothing]
    step = max(1, len(grid.entities) // _MAX_ENTITIES)
    for code in range(0, len(grid.entities), step):
        points = np.flatnonzero((grid.entity == code) & (history.part == TEST))[:_MAX_POINTS]
        if points.size == 0:
            continue
        window = detector.context.points
        first = max(int(points[0]) - window, int(np.searchsorted(grid.entity, code)))
        stretch = slice(first, int(points[-1]) + 1)
        values, observed = grid.values[stretch], grid.observed[stretch]
        reach = np.arange(stretch.start, stretch.stop) - np.maximum(grid.segment_start[stretch], first)
        length = detector.config.prepare.window_points  # type: ignore[union-attr]
        index = np.arange(stretch.start, stretch.stop)
        scorable = (reach >= length - 1) & grid.has_row[stretch]
        looked_at = np.flatnonzero(scorable & (index >= points[0] - detector.look_back))
        ends = np.flatnonzero(scorable & (index >= points[0]))
        score = partial(_scores, detector, grid.entities[code], observed, grid.slot[stretch], looked_at)
        name = grid.entities[code]
        own = detector.normal.codes((name,))
        scale = detector.normal.scale.scale[own[0]]
        clean.append(score(values, ends, device))
        for number, fault in enumerate(get_args(SeriesFault)):
            if len(values) - (ends[0] if len(ends) else len(values)) <= _FAULT_POINTS or (
                fault == "channel_swap" and values.shape[1] < 2
            ):
                continue
            generator = np.random.default_rng([detector.config.seed, code, number])
            faulty, mask = plant_in_series(
                values[ends[0] :],
                fault,
                scale=scale,
                generator=generator,
                events=max(1, len(ends) // 100),
                length_points=_FAULT_POINTS,
                magnitude=_MAGNITUDE,
            )
            whole = values.copy()
            whole[ends[0] :] = faulty
            touched = np.asarray(mask.any(axis=1))[ends - ends[0]]
            planted.append(score(whole, ends[touched], device))
    return np.concatenate(clean), np.concatenate(planted)


def _scores(
    detector: Detector,
    entity: str,
    observed: NDArray[np.bool_],
    slot: NDArray[np.int64],
    looked_at: NDArray[np.int64],
    values: NDArray[np.float32],
    ends: NDArray[np.int64],
    device: torch.device,
) -> NDArray[np.float32]:
    """Of the windows that end at `ends`, which are some of those that have to be looked at for them."""
    nothing = np.empty(0, dtype=np.int64)
    inputs = SeriesInputs(
        entities=(entity,),
        window=detector.config.prepare.window_points,  # type: ignore[union-attr]
        values=values,
        observed=observed,
        grid_entity=np.zeros(len(values), dtype=np.int32),
        grid_slot=slot,
        ends=looked_at,
        row_window=nothing,
        row_entity=nothing.astype(np.int32),
        row_time_us=nothing,
        row_slot=nothing,
        row_values=np.empty((0, values.shape[1]), dtype=np.float32),
    )
    score = detector.score_series(
        inputs, device=device, chunk_items=detector.config.compute.chunk_items
    ).score[np.isin(looked_at, ends)]
    return score[~np.isnan(score)]
