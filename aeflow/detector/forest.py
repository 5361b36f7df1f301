"""An isolation forest on the same history, the same split and by the same calibration rule: what a detector is
compared with that knows nothing of reconstruction.

It sees a few points of each window, or an image brought to a few pixels; it tells no channel and no region.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from aeflow.data.splits import CALIBRATION, TRAIN
from aeflow.detector.detector import Detector
from aeflow.detector.image_fitting import best_of_items, fit_calibration_of_images
from aeflow.detector.image_scores import ArrayScores, as_unit
from aeflow.detector.series_fitting import SeriesHistory, fit_calibrations, window_ends
from aeflow.detector.series_scores import SeriesNormal, WindowScores
from aeflow.numerics.calibration import Calibration
from aeflow.numerics.isolation_forest import IsolationForest, fit_isolation_forest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from aeflow.data.series import SeriesInputs
    from aeflow.detector.fitting import TrainingData
    from aeflow.detector.image_scores import ImageArrays

FOREST_FOLDER = "forest"
_ARRAYS, _FACTS = "forest.safetensors", "forest.json"
_POINTS = 8  # of a window, evenly spread back from its last
_LIMIT = 8.0  # of scaled values, which also stands for infinite ones
_GROWN_OF = 20_000  # windows: its trees together draw hardly more
_WINDOWS_AT_ONCE = 16_384
_SIDE_PX = 16  # an image's means over so many fields each way


@dataclass(frozen=True)
class ForestDetector(Detector):
    """The linear baseline, with a forest in place of its network's error."""

    forest: IsolationForest | None = None

    def score_series(self, inputs: SeriesInputs, *, device: torch.device, chunk_items: int) -> WindowScores:  # noqa: ARG002
        """Score of the last point of every window; the contributions are equal, nothing is expected."""
        assert isinstance(self.normal, SeriesNormal)
        assert self.forest is not None
        codes = self.normal.codes(inputs.entities)[inputs.grid_entity]
        scaled = self.normal.scale.apply(inputs.values, codes)
        score = _window_scores(self.forest, scaled, inputs.ends, inputs.window)
        score[~inputs.observed[inputs.ends].any(axis=1)] = np.nan
        nothing = np.full((score.size, scaled.shape[1]), np.nan, dtype=np.float32)
        return WindowScores(score, np.repeat(score[:, None] / scaled.shape[1], scaled.shape[1], 1), nothing)

    def score_images(self, pixels: ImageArrays, *, device: torch.device, chunk_items: int) -> ArrayScores:  # noqa: ARG002
        """Score of each array; the contributions are equal."""
        assert self.forest is not None
        score, bands = self.forest.scores(_of_images(pixels)), pixels.shape[1]
        return ArrayScores(score, np.repeat(score[:, None] / bands, bands, axis=1))


def fit_forest(baseline: Detector, data: TrainingData) -> ForestDetector:
    """The forest grown on the part of the history that trains, and calibrated on that which calibrates.

    Args:
        baseline: fitted to the same history: its config, its scaling and what it has seen are taken over.
        data: the prepared history.
    """
    config, history = baseline.config, data.history
    if isinstance(history, SeriesHistory):
        assert isinstance(baseline.normal, SeriesNormal)
        grid = history.grid
        scaled = baseline.normal.scale.apply(grid.values, grid.entity)
        window = config.item_shape[0]
        some = window_ends(config, history, TRAIN)
        some = some[np.linspace(0, some.size - 1, min(some.size, _GROWN_OF)).astype(np.int64)]
        forest = fit_isolation_forest(_of_windows(scaled, some, window), seed=config.seed)
        at = window_ends(config, history, CALIBRATION)
        calibration, own, of_cohorts = fit_calibrations(
            config,
            _window_scores(forest, scaled, at, window),
            data.items_per_batch,
            grid.entities,
            grid.entity[at],
            grid.slot[at],
        )
        return _with_forest(baseline, forest, {"": calibration, **own}, of_cohorts)
    forest = fit_isolation_forest(_of_images(history.of(TRAIN)), seed=config.seed)
    score = best_of_items(
        forest.scores(_of_images(history.of(CALIBRATION))), history.item[history.part == CALIBRATION]
    )
    calibration = fit_calibration_of_images(config, score, history, data.items_per_batch)
    return _with_forest(baseline, forest, {"": calibration}, {})


def save_forest(detector: ForestDetector, folder: Path) -> None:
    """Write the forest and its calibrations into `folder`, which is made."""
    assert detector.forest is not None
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {f"forest.{k}": v for k, v in detector.forest.to_arrays().items()}
    facts: dict[str, dict[str, Any]] = {}
    of_entities = {"": detector.calibration, **detector.entity_calibrations}
    for kind, calibrations in (("entity", of_entities), ("cohort", detector.cohort_calibrations)):
        facts[kind] = {name: calibration.to_json() for name, calibration in calibrations.items()}
        for number, name in enumerate(sorted(calibrations)):
            parts = calibrations[name].to_arrays()
            arrays |= {f"{kind}.{number}.{key}": value for key, value in parts.items()}
    safetensors.numpy.save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / _ARRAYS)
    text = json.dumps(facts, sort_keys=True, indent=1, allow_nan=False)
    (folder / _FACTS).write_text(text + "\n", encoding="utf-8")


def load_forest(folder: Path, baseline: Detector) -> ForestDetector | None:
    """What `save_forest` wrote; None where a detector was registered without one."""
    if not (folder / _FACTS).is_file():
        return None
    arrays = safetensors.numpy.load_file(folder / _ARRAYS)
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))

    def of(prefix: str) -> dict[str, NDArray[Any]]:
        return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

    kept = {
        kind: {
            name: Calibration.from_parts(facts[kind][name], of(f"{kind}.{number}."))
            for number, name in enumerate(sorted(facts[kind]))
        }
        for kind in ("entity", "cohort")
    }
    return _with_forest(baseline, IsolationForest.from_arrays(of("forest.")), kept["entity"], kept["cohort"])


def _with_forest(
    baseline: Detector,
    forest: IsolationForest,
    calibrations: Mapping[str, Calibration],
    of_cohorts: Mapping[str, Calibration],
) -> ForestDetector:
    """`calibrations`: of entities, and that of all under no name."""
    mine = {one.name: getattr(baseline, one.name) for one in fields(Detector)} | {
        "calibration": calibrations[""],
        "entity_calibrations": {name: one for name, one in calibrations.items() if name},
        "cohort_calibrations": dict(of_cohorts),
    }
    return ForestDetector(**mine, forest=forest)


def _window_scores(
    forest: IsolationForest, scaled: NDArray[np.float32], ends: NDArray[np.int64], window: int
) -> NDArray[np.float32]:
    """Scores of windows, in portions of fixed memory."""
    portions = [ends[i : i + _WINDOWS_AT_ONCE] for i in range(0, ends.size, _WINDOWS_AT_ONCE)]
    scores = [forest.scores(_of_windows(scaled, portion, window)) for portion in portions]
    return np.concatenate([np.empty(0, dtype=np.float32), *scores])


def _of_windows(scaled: NDArray[np.float32], ends: NDArray[np.int64], window: int) -> NDArray[np.float32]:
    """Some points of each window, `(N, P C)`; what is not known is 0, the usual value."""
    lags = np.unique(np.linspace(0, window - 1, min(_POINTS, window)).round().astype(np.int64))
    seen = np.nan_to_num(np.clip(scaled[ends[:, None] - lags], -_LIMIT, _LIMIT), nan=0.0)
    found: NDArray[np.float32] = seen.reshape(ends.size, -1).astype(np.float32)
    return found


def _of_images(pixels: ImageArrays) -> NDArray[np.float32]:
    """Means over a grid of fields of each array `(N, C, H, W)`, `(N, C fields)` in 0..1."""
    starts, sizes = [], []
    for length in pixels.shape[2:]:
        parts = np.array_split(np.arange(length), min(_SIDE_PX, length))
        starts.append(np.array([part[0] for part in parts]))
        sizes.append(np.array([part.size for part in parts], dtype=np.float32))
    found = np.empty((len(pixels), pixels.shape[1], starts[0].size, starts[1].size), dtype=np.float32)
    for one, mean in zip(pixels, found, strict=True):
        rows = np.add.reduceat(as_unit(one), starts[0], axis=1)
        mean[:] = np.add.reduceat(rows, starts[1], axis=2) / np.outer(*sizes)
    return found.reshape(len(pixels), -1)
