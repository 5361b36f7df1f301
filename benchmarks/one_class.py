"""How well an item's reconstruction error tells what it was not trained on: AUROC.

Images: trained on one class of the training set, tested on the whole test set, class after class. Beats:
trained on the normal ones of the training file, tested on all others. The score of an item is its mean
squared error, for every family alike: neither the latent statistic of principal components nor the
divergence of a variational code is added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aeflow.numerics.metrics import auroc
from benchmarks.cells import Cell
from benchmarks.labelled import data_set
from benchmarks.trained import IMAGES, SERIES, item_errors, train
from benchmarks.variants import variants

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE_SETS = ("MNIST", "Fashion-MNIST")
CLASSES = 10
CLASS_IMAGES = 1_000
"""Drawn of a class, the validation part among them; a seed draws others."""
_LEAST = 100


def image_cells(seed: int, scale: float) -> Iterator[Cell]:
    """Every image variant on every class of both sets."""
    for data in IMAGE_SETS:
        for number in range(CLASSES):
            for variant in variants("images"):
                setting = f"{variant.in_yaml} {CLASS_IMAGES} {IMAGES.model_dump_json()}"
                yield Cell("one-class", data, "", variant.name, str(number), seed, scale, setting)


def series_cells(seed: int, scale: float) -> Iterator[Cell]:
    """Every series variant."""
    for variant in variants("series"):
        setting = f"{variant.in_yaml} {SERIES.model_dump_json()}"
        yield Cell("ecg", "ECG5000", "", variant.name, "", seed, scale, setting)


def measure_images(cell: Cell) -> dict[str, float]:
    """AUROC of a cell of `image_cells`."""
    variant = next(v for v in variants("images") if v.name == cell.method)
    data, normal = data_set(cell.data), int(cell.group)
    mine = np.flatnonzero(data.train.y == normal)
    count = max(_LEAST, round(CLASS_IMAGES * cell.scale))
    drawn = np.random.default_rng(cell.own_seed).permutation(mine)[:count]
    trained = train(variant, data.train.x[drawn], IMAGES, seed=cell.own_seed)
    test = slice(None, None, max(1, round(1 / cell.scale)))
    scores = item_errors(trained.network, data.test.x[test])
    return {"auroc": auroc(data.test.y[test] != normal, scores)} | trained.cost


def measure_series(cell: Cell) -> dict[str, float]:
    """AUROC of a cell of `series_cells`; every normal beat of the training file is used at any scale,
    fewer passes are made."""
    variant = next(v for v in variants("series") if v.name == cell.method)
    data = data_set(cell.data)
    drawn = np.random.default_rng(cell.own_seed).permutation(np.flatnonzero(data.train.y == 0))
    training = SERIES.model_copy(update={"epochs": max(1, round(SERIES.epochs * cell.scale))})
    trained = train(variant, data.train.x[drawn], training, seed=cell.own_seed)
    test = slice(None, None, max(1, round(1 / cell.scale)))
    scores = item_errors(trained.network, data.test.x[test])
    return {"auroc": auroc(data.test.y[test], scores)} | trained.cost
