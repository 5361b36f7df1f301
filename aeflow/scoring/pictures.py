"""Arrays as PNG files: the same array gives the same bytes."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from aeflow.exceptions import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def image_png(pixels: NDArray[np.float32]) -> bytes:
    """An image `(C, H, W)` in 0..1 (C is 1 or 3; values outside are cut) as 8-bit PNG.

    Raises:
        InputError: it is not float32: bytes taken for fractions would all be white.
    """
    if pixels.dtype != np.float32:
        raise InputError(f"expected a float32 image in 0..1, got {pixels.dtype}")
    levels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return _png(levels[0] if levels.shape[0] == 1 else np.moveaxis(levels, 0, -1))


def heatmap_png(error_map: NDArray[np.float32]) -> bytes:
    """An error map `(H, W)` as 8-bit grey PNG; 255 is the map's maximum."""
    highest = float(error_map.max(initial=0.0))
    return _png(np.rint(error_map / highest * 255 if highest > 0 else error_map).astype(np.uint8))


def _png(levels: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(levels).save(file, format="PNG")
    return file.getvalue()
