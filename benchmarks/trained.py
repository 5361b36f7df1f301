"""Train a variant as a pipeline does, and what was spent on it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from pydantic import TypeAdapter

from aeflow.config import Model, Training
from aeflow.models.autoencoder import flops_per_item, parameter_count
from aeflow.models.catalog import build
from aeflow.training.loop import fit_network
from benchmarks.labelled import as_items

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from aeflow.config import Corruption
    from aeflow.models.autoencoder import Autoencoder
    from benchmarks.variants import Variant

    Items = NDArray[np.uint8] | NDArray[np.float32]

# One setting for every family of a kind, so that none is tuned to the labels it is measured on. The number
# of passes is what three quarters of an hour on two cores allow; so steps are small and many, and their
# size falls to nothing, which lets weights settle that have little time. An early stop is for those that
# are done sooner.
IMAGES = Training(epochs=6, batch_size=16, learning_rate=2e-3, schedule="cosine", patience_epochs=3)
"""Of one class, about a thousand images."""
MANY_IMAGES = IMAGES.model_copy(update={"epochs": 3})
"""Of all classes, about ten thousand."""
SERIES = IMAGES.model_copy(update={"epochs": 80, "patience_epochs": 20})
"""A few hundred windows: many passes, and the validation part is small and noisy."""
VALIDATION_SHARE = 0.1
_CHUNK = 128  # what goes through a network at once stays in the caches


@dataclass(frozen=True)
class Trained:
    """network: in eval mode. cost: training_seconds (CPU, one thread), parameters, flops of an item."""

    network: Autoencoder
    cost: dict[str, float]


def train(variant: Variant, x: Items, training: Training, *, seed: int) -> Trained:
    """A network of the variant, fitted to items `(N, *item_shape)`; the last tenth stops the training.

    Args:
        variant: what to train.
        x: in an order that was drawn.
        training: the setting of its kind; the variant's corruptions are added.
        seed: of the weights, the order, and what is drawn meanwhile.
    """
    network = build(variant.model, x.shape[1:], seed=seed)
    held = max(1, round(VALIDATION_SHARE * len(x)))
    corruption: tuple[Corruption, ...] = training.corruption + variant.corruption
    begun = time.process_time()
    fit_network(
        network,
        as_items(x[:-held]),
        as_items(x[-held:]),
        training=training.model_copy(update={"corruption": corruption}),
        seed=seed,
        device=torch.device("cpu"),
    )
    seconds = time.process_time() - begun
    network.eval()
    cost = {
        "training_seconds": seconds,
        "parameters": float(parameter_count(network)),
        "flops": _flops(variant.model.model_dump_json(), network.item_shape),
    }
    return Trained(network, cost)


@lru_cache
def _flops(options: str, item_shape: tuple[int, ...]) -> float:
    """Seconds for a recurrent network, so they are counted once."""
    model = TypeAdapter(Model).validate_json(options)
    return float(flops_per_item(build(model, item_shape)))


def item_errors(network: Autoencoder, x: Items) -> NDArray[np.float64]:
    """The mean squared error of each item against what is expected of it, `(N,)`: over the draws of a
    variational code and over both decoders of a composite."""
    found = []
    with torch.inference_mode():
        for part in portions(x):
            error = network.compare(part, None, "mse").error
            found.append(error.flatten(1).mean(dim=1, dtype=torch.float64))
    return torch.cat(found).numpy()


def codes(network: Autoencoder, x: Items) -> NDArray[np.float32]:
    """The codes `(N, D)` of items."""
    with torch.inference_mode():
        return torch.cat([network.encode(part) for part in portions(x)]).numpy()


def portions(x: Items) -> Iterator[torch.Tensor]:
    """Items float32, portion by portion; bytes are divided by 255."""
    items = as_items(x)
    for numbers in torch.arange(len(x)).split(_CHUNK):
        yield items.take(numbers)[0]
