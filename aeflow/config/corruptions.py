"""How training items are spoiled before the network sees them; it is to give back the clean ones.

Noise makes a denoising autoencoder, hidden parts an inpainting one, fewer samples one of super-resolution.
Those that are `pointwise` spoil value by value, whatever the shape of an item.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from aeflow.config.base import Section
from aeflow.config.models import Kind

_BOTH: tuple[Kind, ...] = ("images", "series")


class GaussianNoise(Section):
    """Adds normal noise to every value."""

    kinds: ClassVar[tuple[Kind, ...]] = _BOTH
    pointwise: ClassVar[bool] = True

    kind: Literal["gaussian_noise"] = "gaussian_noise"
    deviation: float = Field(default=0.1, ge=0)
    """Standard deviation: of 0..1 in images, of the robust scale in series."""


class SaltAndPepper(Section):
    """Sets values to the least or the greatest of their item."""

    kinds: ClassVar[tuple[Kind, ...]] = _BOTH
    pointwise: ClassVar[bool] = True

    kind: Literal["salt_and_pepper"] = "salt_and_pepper"
    share: float = Field(default=0.1, ge=0, le=1)
    """Of the values; half of them each."""


class MaskingNoise(Section):
    """Sets values to zero without telling the network which."""

    kinds: ClassVar[tuple[Kind, ...]] = _BOTH
    pointwise: ClassVar[bool] = True

    kind: Literal["masking_noise"] = "masking_noise"
    share: float = Field(default=0.3, ge=0, le=1)
    """Of the values."""


class CutOut(Section):
    """Hides rectangles of images behind the item's mean."""

    kinds: ClassVar[tuple[Kind, ...]] = ("images",)
    pointwise: ClassVar[bool] = False

    kind: Literal["cut_out"] = "cut_out"
    count: int = Field(default=1, ge=0)
    """Rectangles in an image."""
    side_share: float = Field(default=0.3, gt=0, le=1)
    """Their sides, as a share of the image's."""


class DrawnDefects(Section):
    """Draws scratches and stains into images, so that a network learns to undo them."""

    kinds: ClassVar[tuple[Kind, ...]] = ("images",)
    pointwise: ClassVar[bool] = False

    kind: Literal["drawn_defects"] = "drawn_defects"
    count: int = Field(default=2, ge=0)
    """Defects in an image."""


class ChannelMasking(Section):
    """Hides whole channels of windows: the network is told that they were not observed."""

    kinds: ClassVar[tuple[Kind, ...]] = ("series",)
    pointwise: ClassVar[bool] = False

    kind: Literal["channel_masking"] = "channel_masking"
    share: float = Field(default=0.2, ge=0, le=1)
    """Of the channels, each by itself."""


class TimeMasking(Section):
    """Hides a stretch of points of windows: the network is told that they were not observed."""

    kinds: ClassVar[tuple[Kind, ...]] = ("series",)
    pointwise: ClassVar[bool] = False

    kind: Literal["time_masking"] = "time_masking"
    share: float = Field(default=0.2, ge=0, le=1)
    """Of the points, in one stretch."""


class Downsampling(Section):
    """Keeps the mean of every so many neighbours, and spreads it over them again."""

    kinds: ClassVar[tuple[Kind, ...]] = _BOTH
    pointwise: ClassVar[bool] = False

    kind: Literal["downsampling"] = "downsampling"
    factor: int = Field(default=2, ge=1)
    """Pixels of a side, or points. 1: nothing is lost."""


Corruption = Annotated[
    GaussianNoise
    | SaltAndPepper
    | MaskingNoise
    | CutOut
    | DrawnDefects
    | ChannelMasking
    | TimeMasking
    | Downsampling,
    Field(discriminator="kind"),
]
