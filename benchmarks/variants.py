"""What `make bench-models` compares: families of the catalog with their notable options."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from aeflow.config import MaskingNoise
from aeflow.models.catalog import CATALOG

if TYPE_CHECKING:
    from aeflow.config import Corruption, Model
    from aeflow.config.models import Kind

_HALF_A_BEAT = 70
_CODE = 16  # of every family of series; images have the default of 64
# A part is trained half as long as the whole: no family is to win by training for long.
_STAGE_EPOCHS = 3
# Fewer than the default: scoring would take longer than training. It adds to the spread between seeds.
_DRAWS = 2
_WARM_UP_EPOCHS = 2  # of the few that there are


@dataclass(frozen=True)
class Variant:
    """A family with options, as a pipeline's YAML would give them; what is not given is the default.

    name: in the tables. kind: of the items it is measured on. corruption: of the training items.
    """

    name: str
    kind: Kind
    family: str
    options: dict[str, Any] = field(default_factory=dict)
    corruption: tuple[Corruption, ...] = ()

    @property
    def model(self) -> Model:
        """The options as the config reads them.

        Raises:
            ValidationError: the family has no such options.
        """
        model: Model = CATALOG[self.family].options.model_validate(self.options)
        return model

    @property
    def in_yaml(self) -> str:
        """The options in one line, as the YAML takes them."""
        section = {"family": self.family} | self.options
        written = json.dumps(section).replace('"', "")
        if not self.corruption:
            return written
        spoiled = json.dumps([c.model_dump() for c in self.corruption]).replace('"', "")
        return f"{written}, training.corruption: {spoiled}"

    @property
    def available(self) -> bool:
        """Whether this catalog has the family, with these options."""
        if self.family not in CATALOG:
            return False
        try:
            return self.kind in self.model.kinds
        except ValidationError:
            return False


def _variational(beta: float = 1.0) -> dict[str, Any]:
    return {"kind": "variational", "beta": beta, "draws": _DRAWS, "warm_up_epochs": _WARM_UP_EPOCHS}


def _images(name: str, family: str, *corruption: Corruption, **options: Any) -> Variant:
    return Variant(name, "images", family, options, corruption)


def _series(name: str, family: str, **options: Any) -> Variant:
    return Variant(name, "series", family, options)


_VARIANTS = (
    _images("pca", "pca"),
    _images("dense, linear", "dense", activation="linear"),
    _images("dense, one hidden layer", "dense"),
    _images("dense, deep", "dense", hidden=[256, 128]),
    _images("dense, sparse", "dense", code_size=256, code={"kind": "sparse"}),
    _images("stacked", "stacked", code_size=64, layer_epochs=_STAGE_EPOCHS),
    _images("conv2d", "conv2d"),
    _images("conv2d, denoising", "conv2d", MaskingNoise(share=0.3)),
    _images("conv2d, variational", "conv2d", code=_variational()),
    _images("conv2d, beta 4", "conv2d", code=_variational(beta=4.0)),
    _images("resnet", "resnet"),
    _images("feature", "feature", encoder_epochs=_STAGE_EPOCHS),
    _images("padim", "padim"),
    _images("pca and conv2d", "fusion", members=[{"family": "pca"}, {"family": "conv2d"}]),
    _series("pca", "pca"),
    _series("dense, linear", "dense", activation="linear", code_size=_CODE),
    _series("dense, one hidden layer", "dense", code_size=_CODE),
    _series("dense, deep", "dense", hidden=[64, 32], code_size=_CODE),
    _series("dense, variational", "dense", hidden=[64, 32], code_size=_CODE, code=_variational()),
    _series("stacked", "stacked", hidden=[64, 32], code_size=_CODE),
    _series("lstm", "lstm"),
    _series("lstm, forward target", "lstm", target="forward"),
    _series("lstm, conditional decoder", "lstm", decoder="conditional"),
    _series("lstm, bidirectional", "lstm", bidirectional=True),
    _series("lstm, prediction", "lstm", task="prediction", predict_points=_HALF_A_BEAT),
    _series("lstm, composite", "lstm", task="composite", predict_points=_HALF_A_BEAT),
    _series("lstm, variational", "lstm", code=_variational()),
    _series("conv1d", "conv1d", code_size=_CODE),
    _series("attention", "attention", code_size=_CODE),
    _series("autoregression", "autoregression"),
    _series("kernel regression", "kernel_regression"),
    _series("pca and autoregression", "fusion", members=[{"family": "pca"}, {"family": "autoregression"}]),
)


def variants(kind: Kind) -> tuple[Variant, ...]:
    """Those that this catalog has, in the order of the tables."""
    return tuple(v for v in _VARIANTS if v.kind == kind and v.available)
