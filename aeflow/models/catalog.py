"""Every model family by its name in the YAML. A new one is a config class, a file, and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aeflow.exceptions import InputError
from aeflow.models.conv2d import Conv2dAutoencoder
from aeflow.models.lstm import LstmAutoencoder
from aeflow.models.pca import Pca

if TYPE_CHECKING:
    from aeflow.config import Model
    from aeflow.models.autoencoder import Autoencoder

CATALOG: dict[str, type[Any]] = {
    "conv2d": Conv2dAutoencoder,
    "lstm": LstmAutoencoder,
    "pca": Pca,
}


def build(model: Model, item_shape: tuple[int, ...]) -> Autoencoder:
    """A new network of the family and options of `model` for items of `item_shape`.

    The weights are drawn from torch's global generator: seed it, or load them.

    Raises:
        InputError: the family cannot take items of this shape.
    """
    expected = 3 if len(model.kinds) == 1 and model.kinds[0] == "images" else 2
    if len(model.kinds) == 1 and len(item_shape) != expected:
        raise InputError(f"family {model.family} takes {model.kinds[0]}, got items of shape {item_shape}")
    network: Autoencoder = CATALOG[model.family](model, item_shape)
    return network
