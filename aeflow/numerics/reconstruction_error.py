"""From reconstruction errors to one score per item, and the parts that it is the sum of.

A score depends on its own item alone: every sum runs within one item, and is gathered in float64.

Legend: N items, C channels (of a series) or bands (of an image), H x W pixels, E entities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_entities, expect_finite, expect_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_BAND_IMAGES = 10
"""So many images of the whole band stand beside those of a pixel; see `fit_pixel_spread`."""
_LARGEST_RATIO = 1e15
"""A residual of more spreads counts as this many, so that its square stays a finite float32."""


def series_scores(
    residual: NDArray[np.floating[Any]],
    observed: NDArray[np.bool_],
    spread: NDArray[np.floating[Any]],
    extra: NDArray[np.floating[Any]] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean over the observed channels of `(residual / spread) ** 2`, plus the sum of `extra`.

    Args:
        residual: `(N, C)`, observed minus expected, in the unit of `spread`; ignored where not observed.
        observed: `(N, C)`.
        spread: `(N, C)` positive, what a residual usually is; rows of `fit_spread`.
        extra: `(N, C)` further parts of the score, such as a latent statistic's; ignored where not
            observed. They may be negative, as the parts of a quadratic form can be.

    Returns:
        scores `(N,)` float32, NaN where no channel was observed or an observed residual is NaN;
        contributions `(N, C)` float32, which sum to the score; 0 where not observed.

    Raises:
        InputError: shapes that differ, or a spread that is not positive.
    """
    expect_shape("residual", residual, (None, None))
    expect_shape("observed", observed, residual.shape)
    expect_shape("spread", spread, residual.shape)
    if not (spread > 0).all():
        msg = f"spread must be positive, got {int((~(spread > 0)).sum())} values that are not"
        raise InputError(msg)
    parts = limited_ratio(residual, spread)
    np.square(parts, out=parts)
    n_observed = observed.sum(axis=1)
    parts /= np.maximum(n_observed, 1).astype(np.float32)[:, np.newaxis]
    if extra is not None:
        expect_shape("extra", extra, residual.shape)
        parts += extra
    parts[~observed] = 0.0
    scores = parts.sum(axis=1, dtype=np.float64)
    scores[n_observed == 0] = np.nan
    return scores.astype(np.float32), parts


def limited_ratio(
    residual: NDArray[np.floating[Any]], spread: NDArray[np.floating[Any]]
) -> NDArray[np.float32]:
    """`residual / spread`, float32 of their shape, within +-1e15: no larger than what has a finite square."""
    # In float32 and in place: this runs over every cell of a batch, and should cost less than the network.
    with np.errstate(over="ignore"):
        ratio: NDArray[np.float32] = np.divide(residual, spread, dtype=np.float32)
    return np.clip(ratio, -_LARGEST_RATIO, _LARGEST_RATIO, out=ratio)


def fit_spread(
    residual: NDArray[np.floating[Any]],
    observed: NDArray[np.bool_],
    entity: NDArray[np.integer[Any]],
    n_entities: int,
    *,
    pooled_share: float = 0.1,
    least: float = 0.01,
) -> NDArray[np.float32]:
    """What a residual usually is: the root mean square of held-out residuals, `(E + 1, C)` float32.

    The last row is over all entities together, for the entity code -1. A channel of an entity without
    an observed residual takes the pooled one. Two floors keep a channel that happened to be
    reconstructed perfectly (it stood still) from outweighing all others when it moves a little:
    `pooled_share` of the channel's pooled spread, and `least`.

    Args:
        residual: `(N, C)`, observed minus expected, of normal items that did not train the weights.
        observed: `(N, C)`.
        entity: `(N,)` codes 0 .. n_entities - 1.
        n_entities: E.
        pooled_share: of the pooled spread.
        least: in the unit of the residual; a hundredth of the channel's robust scale by default.

    Raises:
        InputError: shapes or codes that do not fit, or an observed residual that is not finite.
    """
    expect_shape("residual", residual, (None, None))
    expect_shape("observed", observed, residual.shape)
    expect_shape("entity", entity, residual.shape[:1])
    expect_entities(entity, n_entities)
    squares = np.where(observed, residual, 0.0).astype(np.float64) ** 2
    expect_finite("observed residuals", squares)
    total = np.zeros((n_entities + 1, residual.shape[1]))
    count = np.zeros_like(total)
    for channel in range(residual.shape[1]):
        total[:-1, channel] = np.bincount(entity, weights=squares[:, channel], minlength=n_entities)
        count[:-1, channel] = np.bincount(entity, weights=observed[:, channel], minlength=n_entities)
    total[-1], count[-1] = total[:-1].sum(axis=0), count[:-1].sum(axis=0)
    spread = np.sqrt(total / np.maximum(count, 1))
    spread = np.where(count > 0, spread, spread[-1])
    return np.asarray(np.maximum(np.maximum(spread, pooled_share * spread[-1]), least), dtype=np.float32)


def common_spread(spread: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """One spread for all the `channels` (C) of an entity and kind of views, `(E, G C)` as `fit_spread` gives them:
    the root of the mean of their squares, in the place of each."""
    expect_shape("spread", spread, (None, None))
    kinds = spread.reshape(len(spread), -1, channels).astype(np.float64)
    together = np.sqrt(np.mean(kinds**2, axis=2, keepdims=True))
    return np.broadcast_to(together, kinds.shape).reshape(spread.shape).astype(np.float32)


def fit_pixel_spread(total: NDArray[np.floating[Any]], items: int, *, least: float) -> NDArray[np.float32]:
    """What the error of a pixel usually is, as a spread: the square root of its mean over held-out images,
    `(C, H, W)` float32.

    Each mean is drawn towards that of the whole band, as `_BAND_IMAGES` more images would draw it that err as
    the band does: of few images a pixel alone tells little.

    Args:
        total: `(C, H, W)`, the sum of the errors of each pixel over normal images that did not train the weights.
        items: how many images; at least 1.
        least: in the unit of the residual; a pixel that was always rebuilt must not outweigh all others.

    Raises:
        InputError: another shape, no images, or a sum that is not finite.
    """
    expect_shape("total", total, (None, None, None))
    expect_finite("sums of errors", total)
    if items < 1:
        msg = f"expected errors of at least one image, got {items}"
        raise InputError(msg)
    of_band = total.mean(axis=(1, 2), keepdims=True) / items
    mean = (total + _BAND_IMAGES * of_band) / (items + _BAND_IMAGES)
    return np.asarray(np.maximum(np.sqrt(mean), least), dtype=np.float32)


def smooth_error_map(error_map: NDArray[np.floating[Any]], sizes_px: Sequence[int]) -> NDArray[np.float32]:
    """Each band's error averaged over a square of so many pixels, `(N, C, H, W)` float32; of several sizes the mean.

    The border is continued by its nearest pixel. A single wrong pixel is noise, a patch is a fault; of several
    sizes small ones keep what is sharp, large ones gather what is faint.

    Raises:
        InputError: `error_map` is not `(N, C, H, W)`, there is no size, or one below 1.
    """
    expect_shape("error_map", error_map, (None, None, None, None))
    if not sizes_px or min(sizes_px) < 1:
        msg = f"sizes_px must be one or more of at least 1 (no smoothing), got {list(sizes_px)}"
        raise InputError(msg)
    error = np.asarray(error_map, dtype=np.float32)
    first, *others = (
        np.asarray(ndimage.uniform_filter(error, size=(1, 1, size, size), mode="nearest"))
        for size in sizes_px
    )
    for other in others:
        first += other
    if others:
        first /= len(sizes_px)
    return first


def image_scores(
    error_map: NDArray[np.floating[Any]], sizes_px: Sequence[int], top_share: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean error over the worst pixels of each image, errors of its bands added and smoothed.

    Args:
        error_map: `(N, C, H, W)`, not negative.
        sizes_px: side of the square that errors are averaged over, 1 for none; several: see `smooth_error_map`.
        top_share: share of the pixels that counts as the worst, at least one pixel; 1 is the plain mean.

    Returns:
        scores `(N,)` float32; contributions `(N, C)` float32: each band's part over the same pixels,
        which sum to the score. NaN where the error map holds one.

    Raises:
        InputError: a map of another shape, or a parameter outside its range.
    """
    if not 0 < top_share <= 1:
        msg = f"top_share must be above 0 and at most 1, got {top_share}"
        raise InputError(msg)
    bands = smooth_error_map(error_map, sizes_px)
    n, c, height, width = bands.shape
    pixels = height * width
    if pixels == 0:
        msg = f"error_map must have pixels, got the shape {bands.shape}"
        raise InputError(msg)
    flat = bands.reshape(n, c, pixels)
    top = max(1, round(top_share * pixels))
    worst = np.argpartition(flat.sum(axis=1), pixels - top, axis=1)[:, pixels - top :]
    parts = np.take_along_axis(flat, worst[:, np.newaxis, :], axis=2).mean(axis=2, dtype=np.float64)
    return parts.sum(axis=1).astype(np.float32), parts.astype(np.float32)


def worst_boxes(
    heatmap: NDArray[np.floating[Any]], max_boxes: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Where in an image the error gathers.

    A region is a set of touching pixels (corners count) above the level half-way between the map's
    median and its maximum; a flat map has none.

    Args:
        heatmap: `(H, W)`, not negative.
        max_boxes: at most this many.

    Returns:
        boxes `(K, 4)` int64: x, y of the top left pixel, width, height; largest share first.
        shares `(K,)` float32: of the map's sum that lies in the box. Boxes may overlap.

    Raises:
        InputError: not two dimensions, or a value that is not finite.
    """
    expect_shape("heatmap", heatmap, (None, None))
    expect_finite("heatmap", heatmap)
    nothing = np.empty((0, 4), dtype=np.int64), np.empty(0, dtype=np.float32)
    error = heatmap.astype(np.float64)
    if error.size == 0 or max_boxes < 1 or error.sum() <= 0:
        return nothing
    level = (np.median(error) + error.max()) / 2
    regions, n_regions = ndimage.label(error > level, structure=np.ones((3, 3)))
    if n_regions == 0:
        return nothing
    places = ndimage.find_objects(regions)
    shares = np.array([error[place].sum() for place in places]) / error.sum()
    order = np.argsort(-shares, kind="stable")[:max_boxes]
    boxes = [
        (cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
        for rows, cols in (places[i] for i in order)
    ]
    return np.array(boxes, dtype=np.int64), shares[order].astype(np.float32)
