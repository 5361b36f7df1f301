"""How well a linear classifier reads the class from codes that were learnt without labels: accuracy.

The network learns from images of all classes; the classifier from the codes of others, with labels;
accuracy is that of the codes of the test set. Alain and Bengio, "Understanding intermediate layers using
linear classifier probes", 2017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.cells import Cell
from benchmarks.labelled import data_set
from benchmarks.trained import MANY_IMAGES, codes, train
from benchmarks.variants import variants

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

UNLABELLED, LABELLED = 10_000, 2_000
"""Images that the network learns from, and that the classifier learns from."""
RAW = "raw pixels"
_DATA = "MNIST"
_LEAST = 200
_MAX_ITERATIONS = 1_000


def cells(seed: int, scale: float) -> Iterator[Cell]:
    """Every image variant, and the pixels themselves."""
    yield Cell("probe", _DATA, "", RAW, "", seed, scale, f"{LABELLED}")
    for variant in variants("images"):
        setting = f"{variant.in_yaml} {UNLABELLED} {LABELLED} {MANY_IMAGES.model_dump_json()}"
        yield Cell("probe", _DATA, "", variant.name, "", seed, scale, setting)


def measure(cell: Cell) -> dict[str, float]:
    """Accuracy of a cell of `cells`."""
    data = data_set(cell.data)
    order = np.random.default_rng(cell.own_seed).permutation(len(data.train.x))
    unlabelled, labelled = (max(_LEAST, round(n * cell.scale)) for n in (UNLABELLED, LABELLED))
    learnt, probed = order[:unlabelled], order[unlabelled:][:labelled]
    test = slice(None, None, max(1, round(1 / cell.scale)))
    cost: dict[str, float] = {}

    def code(x: NDArray[np.uint8]) -> NDArray[np.float32]:
        return x.reshape(len(x), -1).astype(np.float32) / 255

    if cell.method != RAW:
        variant = next(v for v in variants("images") if v.name == cell.method)
        trained = train(variant, data.train.x[learnt], MANY_IMAGES, seed=cell.own_seed)
        cost = trained.cost

        def code(x: NDArray[np.uint8]) -> NDArray[np.float32]:
            return codes(trained.network, x)

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_MAX_ITERATIONS))
    classifier.fit(code(data.train.x[probed]), data.train.y[probed])
    return {"accuracy": float(classifier.score(code(data.test.x[test]), data.test.y[test]))} | cost
