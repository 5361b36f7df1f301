"""Images: the magnetic tiles by tile, by `configs/tiles.yaml`, trained once a seed; and one class of digits or
clothes against all others, by the model that `aeflow init` takes for images of that size. All of it once more
by what `init` takes where no pretrained weights are installed.

Choices were made on the seeds 0 to 2 of the split by tile; what is measured here is on the seeds after them.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from aeflow.config import Training
from aeflow.config.image_defaults import choose_image_model
from aeflow.detector.image_scores import ImageNormal, score_images
from aeflow.models.catalog import build
from aeflow.numerics.metrics import auroc
from aeflow.training.items import ImageItems
from aeflow.training.loop import fit_network
from benchmarks.cells import Cell
from benchmarks.goals import Goal
from benchmarks.labelled import data_set
from benchmarks.labels import write_labels
from benchmarks.pipelines import shipped, trained, without_comments
from benchmarks.workload import SHARED_DATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aeflow.config.image_defaults import ImageChoice
TILES = "magnetic tiles"
ONE_CLASS, WITHOUT_WEIGHTS = "one class", "without weights"
_SEEDS_CHOSEN_ON = 3
_OF_CLASSES = ("MNIST", "Fashion-MNIST")
_TILES_MEDIAN_PX = (279, 323)  # as the file of the pipeline tells
_CLASSES, _CLASS_IMAGES, _TEST_IMAGES = 10, 1_000, 2_000
_CHUNK = 64
_FIGURES = (
    "auroc",
    "average_precision",
    "pixel_auroc",
    "pixel_average_precision",
    "au_pro",
    "false_alarm_rate",
    "missing_alarm_rate",
)
GOALS = {
    (TILES, "", "auroc"): Goal(at_least=0.90),
    (TILES, "", "pixel_auroc"): Goal(at_least=0.85),
    (TILES, "", "pixel_average_precision"): Goal(at_least=0.35),
    (TILES, WITHOUT_WEIGHTS, "auroc"): Goal(at_least=0.82),
    ("MNIST", ONE_CLASS, "auroc"): Goal(at_least=0.975),
    ("Fashion-MNIST", ONE_CLASS, "auroc"): Goal(at_least=0.94),
}


def cells(seed: int) -> Iterator[Cell]:
    """The tiles, and both sets of ten classes, each by both defaults."""
    for without in (False, True):
        task = WITHOUT_WEIGHTS if without else ""
        yield Cell("images", TILES, task, "", "", seed, 1.0, without_comments(_tiles(seed, without=without)))
        model = _model((28, 28), without=without).model.model_dump_json()
        setting = f"{model} {_CLASS_IMAGES} {_TEST_IMAGES}"
        for data in _OF_CLASSES:
            task = f"{ONE_CLASS}, {WITHOUT_WEIGHTS}" if without else ONE_CLASS
            yield Cell("images", data, task, "", "", seed, 1.0, setting)


def measure(cell: Cell) -> dict[str, float]:
    """The figures of the detector and of what stands beside it."""
    without = WITHOUT_WEIGHTS in cell.task
    if cell.data == TILES:
        return _measure_tiles(cell, without=without)
    return _measure_classes(cell, without=without)


def _model(median_px: tuple[int, int], *, without: bool) -> ImageChoice:
    return choose_image_model(median_px, pretrained=False if without else None)


def _tiles(seed: int, *, without: bool) -> dict[str, object]:
    seed += _SEEDS_CHOSEN_ON
    if not without:
        return shipped("tiles", seed=seed)
    choice = _model(_TILES_MEDIAN_PX, without=True)
    size = {"height_px": choice.height_px, "width_px": choice.width_px}
    return shipped(
        "tiles",
        seed=seed,
        prepare=size,
        model=choice.model.model_dump(mode="json"),
        scoring=choice.scoring.model_dump(mode="json"),
    )


def _measure_tiles(cell: Cell, *, without: bool) -> dict[str, float]:
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, trained(_tiles(cell.seed, without=without)) as run:
        labels = write_labels("tiles", SHARED_DATA, Path(folder))
        for method, evaluation in run.evaluate(labels).items():
            metrics = evaluation["metrics"]
            found |= {f"{method}: {key}": metrics[key] for key in _FIGURES if metrics.get(key) is not None}
        found["seconds"] = run.training_seconds
    return found


def _measure_classes(cell: Cell, *, without: bool) -> dict[str, float]:
    """The mean AUROC over the classes, each in turn the normal one; the score is that of a pipeline."""
    data, areas = data_set(cell.data), []
    random = np.random.default_rng(cell.seed)
    test = random.permutation(len(data.test.y))[: round(_TEST_IMAGES * cell.scale)]
    device, begun = torch.device("cpu"), time.process_time()
    for normal in range(_CLASSES):
        mine = random.permutation(np.flatnonzero(data.train.y == normal))[: round(_CLASS_IMAGES * cell.scale)]
        x = np.ascontiguousarray(data.train.x[mine])
        choice = _model((x.shape[3], x.shape[2]), without=without)
        network = build(choice.model, x.shape[1:], seed=cell.own_seed)
        items = ImageItems(x)
        fit_network(network, items, items, training=Training(), seed=cell.own_seed, device=device)
        found = score_images(
            ImageNormal(np.ones((1, 1), dtype=np.float32)),
            network.eval(),
            np.ascontiguousarray(data.test.x[test]),
            "mse",
            device=device,
            chunk_items=_CHUNK,
        )
        areas.append(auroc(data.test.y[test] != normal, found.score))
    return {"auroc": float(np.mean(areas)), "seconds": time.process_time() - begun}
