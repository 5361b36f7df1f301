"""The options of each model family. A new family adds one class here and one to the union.

Layer sizes and codes are numbers of units; a share is 0..1.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from aeflow.config.base import Section

Kind = Literal["images", "series"]


class Conv2d(Section):
    """Convolutional autoencoder for images."""

    kinds: ClassVar[tuple[Kind, ...]] = ("images",)

    family: Literal["conv2d"] = "conv2d"
    width: int = Field(default=16, ge=1)
    """Channels of the first level; doubled at each further level."""
    levels: int = Field(default=3, ge=1, le=8)
    """How often height and width are halved."""
    code_size: int = Field(default=64, ge=1)
    """Numbers that an image is squeezed into."""


class Lstm(Section):
    """LSTM autoencoder for series windows, reconstructing the window reversed or forward."""

    kinds: ClassVar[tuple[Kind, ...]] = ("series",)

    family: Literal["lstm"] = "lstm"
    hidden_size: int = Field(default=64, ge=1)
    """Units of each layer."""
    layers: int = Field(default=1, ge=1, le=8)
    """LSTM layers of the encoder, and of the decoder."""
    code_size: int = Field(default=16, ge=1)
    """Numbers that a window is squeezed into."""
    target: Literal["reversed", "forward"] = "reversed"
    """The order in which the decoder writes the window."""


class Pca(Section):
    """Principal components with residual (Q) and latent (T2) statistics: the linear baseline."""

    kinds: ClassVar[tuple[Kind, ...]] = ("images", "series")

    family: Literal["pca"] = "pca"
    explained_variance: float = Field(default=0.9, gt=0, lt=1)
    """Keeps the fewest components that explain this share of the variance."""
    max_components: int = Field(default=128, ge=1)
    """Never more than these."""


Model = Annotated[Conv2d | Lstm | Pca, Field(discriminator="family")]

BASELINE: Model = Pca()
"""The linear detector that every other must beat."""
