"""Every model family by its name in the YAML. A new one is a config class, a file, and a line here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from aeflow.config import models as config
from aeflow.exceptions import InputError
from aeflow.models.attention import AttentionAutoencoder
from aeflow.models.autoencoder import Autoencoder, ClosedForm
from aeflow.models.autoregression import Autoregression
from aeflow.models.conv1d import Conv1dAutoencoder
from aeflow.models.conv2d import Conv2dAutoencoder
from aeflow.models.dense import DenseAutoencoder
from aeflow.models.feature import FeatureAutoencoder
from aeflow.models.fused import FusedNetwork
from aeflow.models.kernel_regression import KernelRegression
from aeflow.models.lstm import LstmAutoencoder
from aeflow.models.padim import Padim
from aeflow.models.pca import Pca
from aeflow.models.resnet import ResnetAutoencoder
from aeflow.models.stacked import StackedAutoencoder

if TYPE_CHECKING:
    from collections.abc import Callable

_DIMENSIONS = {"images": 3, "series": 2}


@dataclass(frozen=True)
class Family:
    """options: the config class. network: what builds it from options and an item shape."""

    options: type[config.Model]
    network: Callable[[Any, tuple[int, ...]], Autoencoder]

    @property
    def closed_form(self) -> bool:
        """Whether it is fitted in one go, without epochs."""
        return isinstance(self.network, type) and issubclass(self.network, ClosedForm)


def _fused(model: config.Fusion, item_shape: tuple[int, ...]) -> FusedNetwork:
    """Each member as it would be built alone."""
    seed = torch.default_generator.initial_seed()
    return FusedNetwork([build(member, item_shape, seed=seed) for member in model.members], model.rule)


CATALOG: dict[str, Family] = {
    "dense": Family(config.Dense, DenseAutoencoder),
    "stacked": Family(config.Stacked, StackedAutoencoder),
    "conv2d": Family(config.Conv2d, Conv2dAutoencoder),
    "resnet": Family(config.Resnet, ResnetAutoencoder),
    "feature": Family(config.Feature, FeatureAutoencoder),
    "padim": Family(config.Padim, Padim),
    "lstm": Family(config.Lstm, LstmAutoencoder),
    "conv1d": Family(config.Conv1d, Conv1dAutoencoder),
    "attention": Family(config.Attention, AttentionAutoencoder),
    "autoregression": Family(config.Autoregression, Autoregression),
    "kernel_regression": Family(config.KernelRegression, KernelRegression),
    "pca": Family(config.Pca, Pca),
    "fusion": Family(config.Fusion, _fused),
}


def has_closed_form(model: config.Model) -> bool:
    """Whether it is fitted in one go, without epochs; of fused ones whether each is."""
    return all(CATALOG[one.family].closed_form for one in config.members_of(model))


def build(model: config.Model, item_shape: tuple[int, ...], *, seed: int = 0) -> Autoencoder:
    """A new network of the family and options of `model` for items of `item_shape`: `(C, H, W)` for
    images, `(T, C)` for series. Its weights are drawn from `seed`; the caller's random numbers are
    not touched.

    Raises:
        InputError: the family cannot take items of this shape.
    """
    if len(item_shape) not in {_DIMENSIONS[kind] for kind in model.kinds} or min(item_shape) < 1:
        takes = " or ".join({"images": "images (C, H, W)", "series": "series (T, C)"}[k] for k in model.kinds)
        raise InputError(f"family {model.family} takes {takes}, got items of shape {tuple(item_shape)}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = CATALOG[model.family].network(model, tuple(item_shape))
    network.options = model.model_dump_json()
    return network
