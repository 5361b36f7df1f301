"""The pictures of a flag as data URIs, small enough that a page with hundreds can be mailed.

Legend: H x W pixels of a stored picture.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from aeflow.exceptions import IntegrityError

_LADDER = ((512, 80), (320, 70), (224, 60), (160, 50), (112, 40), (80, 35), (56, 30))
"""Longest side in pixels and WebP quality, tried from the best down."""
_HEAT_SIDES_PX = (224, 112, 64, 40)
_HEAT_LEVELS = 16
_HEAT_FLOOR = 2  # of the levels: below, nothing is drawn, so that the picture under it is seen
# From amber to deep red: told apart from grey by all, in print by their darkness.
_HEAT_COLORS = np.array([[255, 214, 90], [255, 150, 30], [230, 50, 20], [150, 0, 30]], dtype=np.float64)


@dataclass(frozen=True)
class Picture:
    """A picture to be put into a page: its data URI and size in pixels; `coarse` where its pixels are
    so few that they should stay sharp squares."""

    uri: str
    width_px: int
    height_px: int

    @property
    def coarse(self) -> bool:
        """Whether a person would see its pixels."""
        return max(self.width_px, self.height_px) <= 64


def shrunk(png: bytes, budget_bytes: int, *, where: str) -> Picture:
    """A stored PNG as it is if it is within the budget (bytes before encoding as text), else as the
    best WebP that is; the coarsest one where none is.

    Raises:
        IntegrityError: it is no picture; `where` says which.
    """
    image = _open(png, where)
    if len(png) <= budget_bytes:
        return _picture(png, "png", image)
    for side, quality in _LADDER:
        small = image.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        file = BytesIO()
        small.convert("RGB").save(file, format="WEBP", quality=quality, method=2)
        if file.tell() <= budget_bytes:
            break
    return _picture(file.getvalue(), "webp", small)


def heat_overlay(png: bytes, budget_bytes: int, *, where: str) -> Picture:
    """A stored heatmap (8-bit grey) as a transparent PNG to lay over the image, the largest within the
    budget: clear where the error is no larger than in half of the image, amber to red from there up to its
    largest. A map that is nowhere zero would else hide the image.

    Raises:
        IntegrityError: it is no picture; `where` says which.
    """
    grey = _open(png, where).convert("L")
    for side in _HEAT_SIDES_PX:
        small = grey.copy()
        small.thumbnail((side, side), Image.Resampling.BOX)
        content = _tinted(small)
        if len(content) <= budget_bytes:
            break
    return _picture(content, "png", small)


def _tinted(grey: Image.Image) -> bytes:
    error = np.asarray(grey, dtype=np.float64)
    usual = float(np.median(error))
    share = np.clip((error - usual) / max(255 - usual, 1.0), 0, 1)
    levels = np.minimum(share * _HEAT_LEVELS, _HEAT_LEVELS - 1)
    strength = np.linspace(0, 1, _HEAT_LEVELS)
    stops = np.linspace(0, 1, len(_HEAT_COLORS))
    colors = np.stack([np.interp(strength, stops, _HEAT_COLORS[:, band]) for band in range(3)], axis=1)
    alpha = np.where(np.arange(_HEAT_LEVELS) < _HEAT_FLOOR, 0, 60 + 160 * strength)
    image = Image.fromarray(levels.astype(np.uint8), mode="P")
    image.putpalette(np.rint(colors).astype(np.uint8).tobytes())
    file = BytesIO()
    transparency = np.rint(alpha).astype(np.uint8).tobytes()
    image.save(file, format="PNG", bits=4, transparency=transparency, optimize=True)
    return file.getvalue()


def _open(png: bytes, where: str) -> Image.Image:
    try:
        image = Image.open(BytesIO(png))
        image.load()
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        msg = f"{where}: the stored picture cannot be read ({error}); score the batch again"
        raise IntegrityError(msg) from error
    return image


def _picture(content: bytes, form: str, image: Image.Image) -> Picture:
    return Picture(f"data:image/{form};base64,{base64.b64encode(content).decode('ascii')}", *image.size)
