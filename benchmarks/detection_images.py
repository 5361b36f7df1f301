"""Images: the magnetic tiles by tile, by `configs/tiles.yaml`, trained once a seed; and one class of digits or
clothes against all others, by the model that `aeflow init` takes for images of that size.

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

TILES = "magnetic tiles"
_SEEDS_CHOSEN_ON = 3
_ONE_CLASS = ("MNIST", "Fashion-MNIST")
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
    ("MNIST", "one class", "auroc"): Goal(at_least=0.975),
    ("Fashion-MNIST", "one class", "auroc"): Goal(at_least=0.94),
}


def cells(seed: int) -> Iterator[Cell]:
    """The tiles, and both sets of ten classes."""
    yield Cell("images", TILES, "", "", "", seed, 1.0, without_comments(_tiles(seed)))
    model = choose_image_model((28, 28), bands=1).model.model_dump_json()
    for data in _ONE_CLASS:
        yield Cell("images", data, "one class", "", "", seed, 1.0, f"{model} {_CLASS_IMAGES} {_TEST_IMAGES}")


def measure(cell: Cell) -> dict[str, float]:
    """The figures of the detector and of what stands beside it."""
    return _measure_tiles(cell) if cell.data == TILES else _measure_classes(cell)


def _tiles(seed: int) -> dict[str, object]:
    return shipped("tiles", seed=_SEEDS_CHOSEN_ON + seed)


def _measure_tiles(cell: Cell) -> dict[str, float]:
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, trained(_tiles(cell.seed)) as run:
        labels = write_labels("tiles", SHARED_DATA, Path(folder))
        for method, evaluation in run.evaluate(labels).items():
            metrics = evaluation["metrics"]
            found |= {f"{method}: {key}": metrics[key] for key in _FIGURES if metrics.get(key) is not None}
        found["seconds"] = run.training_seconds
    return found


def _measure_classes(cell: Cell) -> dict[str, float]:
    """The mean AUROC over the classes, each in turn the normal one; the score is that of a pipeline."""
    data, areas = data_set(cell.data), []
    random = np.random.default_rng(cell.seed)
    test = random.permutation(len(data.test.y))[: round(_TEST_IMAGES * cell.scale)]
    device, begun = torch.device("cpu"), time.process_time()
    for normal in range(_CLASSES):
        mine = random.permutation(np.flatnonzero(data.train.y == normal))[: round(_CLASS_IMAGES * cell.scale)]
        x = np.ascontiguousarray(data.train.x[mine])
        choice = choose_image_model((x.shape[3], x.shape[2]), bands=1)
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
