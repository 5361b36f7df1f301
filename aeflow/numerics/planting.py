"""Faults planted into normal data, to see what a detector finds where nothing is labelled.

Legend: L grid points, C channels, N images of C bands and H x W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from scipy import ndimage

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_finite, expect_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Image = NDArray[np.floating[Any]]

SeriesFault = Literal["spike", "level_shift", "dropout", "channel_swap", "drift"]
ImageFault = Literal["cut_paste", "scratch", "blur", "missing_part"]

_LEAST_CHANGE = 1e-3
"""A pixel that changes by less, of a range of 1, was not damaged: no one could mark it."""


def plant_in_series(
    values: NDArray[np.floating[Any]],
    fault: SeriesFault,
    *,
    scale: NDArray[np.floating[Any]],
    generator: np.random.Generator,
    events: int = 1,
    length_points: int = 20,
    magnitude: float = 6.0,
) -> tuple[NDArray[np.floating[Any]], NDArray[np.bool_]]:
    """A copy of one series with faults planted, and the mask of what they changed.

    The series is cut into `events` equal stretches with one fault in each, in a channel drawn anew.
    spike: one point moves by `magnitude` scales, up or down. level_shift: `length_points` points do.
    drift: they move ever further, by `magnitude` scales at the end. dropout: they keep the value
    before them. channel_swap: two channels exchange them, each brought to the other's center and scale,
    so that each keeps its usual range and only their relation breaks.

    Args:
        values: `(L, C)` in time order, NaN where missing; what is missing stays so.
        fault: what to plant.
        scale: `(C,)` positive, each channel's robust scale in the unit of `values`.
        generator: draws places, channels and signs.
        events: how many faults.
        length_points: of each, but of a spike, whose length is 1.
        magnitude: in scales of the channel.

    Returns:
        the copy, `(L, C)` of the dtype of `values`; the mask `(L, C)`, true where a value differs from the
        original: a dropout of a channel that stood still changes nothing.

    Raises:
        InputError: no such fault, too few points or channels for it, a parameter outside its range.
    """
    expect_shape("values", values, (None, None))
    expect_shape("scale", scale, values.shape[1:])
    if fault not in get_args(SeriesFault):
        msg = f"fault must be one of {', '.join(get_args(SeriesFault))}, got {fault!r}"
        raise InputError(msg)
    length = 1 if fault == "spike" else length_points
    stretch = values.shape[0] // max(events, 1)
    if events < 1 or length < 1 or stretch < length + 1:
        msg = f"{events} faults of {length} points need {events * (length + 1)} points, got {values.shape[0]}"
        raise InputError(msg)
    needed = 2 if fault == "channel_swap" else 1
    channels = np.flatnonzero(~np.isnan(values).all(axis=0))
    if channels.size < needed:
        msg = f"{fault} needs {needed} channels with values, got {channels.size}"
        raise InputError(msg)
    planted = values.copy()
    for number in range(events):
        start = number * stretch + 1 + int(generator.integers(0, stretch - length))
        rows = slice(start, start + length)
        channel, *other = generator.choice(channels, size=needed, replace=False).tolist()
        step = magnitude * scale[channel] * generator.choice([-1.0, 1.0])
        if fault in {"spike", "level_shift"}:
            planted[rows, channel] += step
        elif fault == "drift":
            planted[rows, channel] += step * np.arange(1, length + 1) / length
        elif fault == "dropout":
            before = values[:start, channel]
            known = before[~np.isnan(before)]
            planted[rows, channel] = known[-1] if known.size else values[rows, channel]
        else:
            planted[rows, channel] = _in_terms_of(values, other[0], channel, scale)[rows]
            planted[rows, other[0]] = _in_terms_of(values, channel, other[0], scale)[rows]
    missing = np.isnan(values)
    planted[missing] = np.nan
    return planted, np.asarray(~missing & ~np.isnan(planted) & (planted != values))


def _in_terms_of(
    values: NDArray[np.floating[Any]], channel: int, like: int, scale: NDArray[np.floating[Any]]
) -> NDArray[np.floating[Any]]:
    """The values of one channel, brought to the center and scale of another; where there is none, the
    other's own stays."""
    center = np.nanmedian(values[:, [channel, like]], axis=0)
    moved = (values[:, channel] - center[0]) / scale[channel] * scale[like] + center[1]
    return np.where(np.isnan(moved), values[:, like], moved)


def plant_in_images(
    images: NDArray[np.floating[Any]],
    fault: ImageFault,
    *,
    generator: np.random.Generator,
    size_share: float = 0.25,
    magnitude: float = 3.0,
) -> tuple[NDArray[np.floating[Any]], NDArray[np.bool_]]:
    """A copy of the images with one fault planted in each, and the masks of what it changed.

    cut_paste: a patch from elsewhere in the same image (Li et al. 2021, "CutPaste"). scratch: a line
    one or two pixels wide, `magnitude` of the image's robust scales (interquartile range / 1.349, at
    least 0.05) darker or brighter. blur: a patch loses its detail. missing_part: a patch becomes the
    image's median at its border, which is what usually lies behind the part.

    Args:
        images: `(N, C, H, W)` in 0..1, at least 4 pixels high and wide.
        fault: what to plant.
        generator: draws places, sizes and directions.
        size_share: largest side of a patch, or length of a scratch, as a share of the image's shorter
            side; the smallest is half of it.
        magnitude: of a scratch, in robust scales.

    Returns:
        the copy in 0..1, of the dtype of `images`; the masks `(N, H, W)`, true where a band differs from the
        original by 0.001 or more: a patch of a smooth surface pasted on it changes nothing.

    Raises:
        InputError: no such fault, images outside 0..1 or too small, a parameter outside its range.
    """
    expect_shape("images", images, (None, None, None, None))
    expect_finite("images", images)
    plant = _IMAGE_FAULTS.get(fault)
    if plant is None:
        msg = f"fault must be one of {', '.join(_IMAGE_FAULTS)}, got {fault!r}"
        raise InputError(msg)
    height, width = images.shape[2:]
    if min(height, width) < 4 or not 0 < size_share <= 0.5:
        msg = f"expected at least 4 x 4 pixels and 0 < size_share <= 0.5, got {height} x {width} and {size_share}"
        raise InputError(msg)
    if images.size and (images.min() < 0 or images.max() > 1):
        msg = f"images must lie in 0..1, got {images.min():g} .. {images.max():g}"
        raise InputError(msg)
    planted = images.copy()
    longest = max(2, round(size_share * min(height, width)))
    for image in planted:
        size = generator.integers((longest + 1) // 2, longest + 1, size=2)
        top = int(generator.integers(0, height - size[0] + 1))
        left = int(generator.integers(0, width - size[1] + 1))
        place = (slice(None), slice(top, top + int(size[0])), slice(left, left + int(size[1])))
        image[...] = plant(image, place, magnitude, generator)
    changed = np.abs(planted - images).max(axis=1, initial=0.0) >= _LEAST_CHANGE
    return planted, np.asarray(changed)


_Place = tuple[slice, slice, slice]


def _cut_paste(image: Image, place: _Place, magnitude: float, generator: np.random.Generator) -> Image:  # noqa: ARG001
    patch = image[place]
    top = int(generator.integers(0, image.shape[1] - patch.shape[1] + 1))
    left = int(generator.integers(0, image.shape[2] - patch.shape[2] + 1))
    pasted = image.copy()
    pasted[place] = image[:, top : top + patch.shape[1], left : left + patch.shape[2]]
    return pasted


def _scratch(image: Image, place: _Place, magnitude: float, generator: np.random.Generator) -> Image:
    rows, columns = place[1], place[2]
    steps = 2 * max(image.shape[1:])
    y = np.linspace(rows.start, rows.stop - 1, steps).round().astype(np.int64)
    x = np.linspace(columns.start, columns.stop - 1, steps).round().astype(np.int64)
    if generator.random() < 0.5:
        x = x[::-1]
    line = np.zeros(image.shape[1:], dtype=bool)
    line[y, x] = True
    if generator.random() < 0.5:
        line[y, np.minimum(x + 1, image.shape[2] - 1)] = True
    low, high = np.quantile(image, [0.25, 0.75])
    depth = magnitude * max((high - low) / 1.349, 0.05)
    # Away from the nearer end of the range, so that the scratch does not vanish in it.
    sign = 1 if image[:, line].mean() < 0.5 else -1
    return np.where(line, np.clip(image + sign * depth, 0, 1), image)


def _blur(image: Image, place: _Place, magnitude: float, generator: np.random.Generator) -> Image:  # noqa: ARG001
    sigma = max(1.0, (place[1].stop - place[1].start) / 4)
    blurred = image.copy()
    blurred[place] = np.clip(ndimage.gaussian_filter(image, sigma=(0, sigma, sigma))[place], 0, 1)
    return blurred


def _missing_part(image: Image, place: _Place, magnitude: float, generator: np.random.Generator) -> Image:  # noqa: ARG001
    border = np.concatenate(
        [image[:, [0, -1], :].reshape(image.shape[0], -1), image[:, :, [0, -1]].reshape(image.shape[0], -1)],
        axis=1,
    )
    filled = image.copy()
    filled[place] = np.median(border, axis=1)[:, np.newaxis, np.newaxis]
    return filled


_IMAGE_FAULTS: dict[str, Callable[[Image, _Place, float, np.random.Generator], Image]] = {
    "cut_paste": _cut_paste,
    "scratch": _scratch,
    "blur": _blur,
    "missing_part": _missing_part,
}
