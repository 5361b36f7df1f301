"""How well error maps find the marked pixels of defects.

Legend: N images, H x W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_binary, expect_finite, expect_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FALSE_POSITIVE_LIMIT = 0.3
"""Up to which false-positive rate AU-PRO is taken, after Bergmann et al. 2021."""


def pixel_auroc(masks: Sequence[NDArray[Any]], error_maps: Sequence[NDArray[np.floating[Any]]]) -> float:
    """The chance that a marked pixel has a higher error than one that is not, over all images.

    Args:
        masks: one `(H, W)` for each image (sizes may differ), or `(N, H, W)`; 1 marked, 0 not.
        error_maps: of the same shapes, finite.

    Returns:
        0..1; NaN where no pixel is marked, or every one.

    Raises:
        InputError: numbers or shapes that differ, other marks, an error that is not finite.
    """
    _expect_pairs(masks, error_maps)
    marked, normal = [], []
    for mask, error in zip(masks, error_maps, strict=True):
        inside = expect_binary("masks", np.asarray(mask))
        marked.append(error[inside])
        normal.append(error[~inside])
    high, low = _sorted(marked), _sorted(normal)
    if high.size == 0 or low.size == 0:
        return float("nan")
    # Mann and Whitney's statistic: normal pixels below each marked one, ties counting half.
    below = np.searchsorted(low, high, side="left").sum(dtype=np.float64)
    up_to = np.searchsorted(low, high, side="right").sum(dtype=np.float64)
    return float((below + up_to) / 2 / high.size / low.size)


def pixel_average_precision(
    masks: Sequence[NDArray[Any]], error_maps: Sequence[NDArray[np.floating[Any]]]
) -> float:
    """Average precision of the pixels of all images together; arguments as in `pixel_auroc`.

    Unlike the area under the ROC curve it does not grow with the normal pixels, of which there are always
    plenty: chance level is the share of marked ones. NaN where no pixel is marked, or every one.

    Raises:
        InputError: as there.
    """
    _expect_pairs(masks, error_maps)
    inside = [expect_binary("masks", np.asarray(mask)) for mask in masks]
    high = _sorted([error[mask] for mask, error in zip(inside, error_maps, strict=True)])
    low = _sorted([error[~mask] for mask, error in zip(inside, error_maps, strict=True)])
    if high.size == 0 or low.size == 0:
        return float("nan")
    # Precision counts at the errors of marked pixels only, since recall changes nowhere else.
    cuts, found = np.unique(high, return_counts=True)
    true = high.size - np.searchsorted(high, cuts, side="left")
    false = low.size - np.searchsorted(low, cuts, side="left")
    return float(np.sum(found * (true / (true + false))) / high.size)


def best_box_overlap(mask: NDArray[Any], boxes: NDArray[np.integer[Any]]) -> float:
    """The largest intersection over union of a box with the bounding box of a marked region.

    Args:
        mask: `(H, W)`, 1 marked, 0 not.
        boxes: `(K, 4)`: x, y of the top left pixel, width, height.

    Returns:
        0..1, 0 without a box; NaN where nothing is marked.

    Raises:
        InputError: arrays of another shape, or other marks.
    """
    expect_shape("mask", mask, (None, None))
    expect_shape("boxes", boxes, (None, 4))
    regions, _ = ndimage.label(expect_binary("mask", mask), structure=np.ones((3, 3)))
    marked = [(cols.start, rows.start, cols.stop, rows.stop) for rows, cols in ndimage.find_objects(regions)]
    if not marked:
        return float("nan")
    best = 0.0
    for x, y, width, height in boxes.tolist():
        for left, top, right, bottom in marked:
            shared = max(0, min(x + width, right) - max(x, left)) * max(
                0, min(y + height, bottom) - max(y, top)
            )
            united = width * height + (right - left) * (bottom - top) - shared
            best = max(best, shared / united)
    return best


def au_pro(
    masks: Sequence[NDArray[Any]],
    error_maps: Sequence[NDArray[np.floating[Any]]],
    *,
    false_positive_limit: float = FALSE_POSITIVE_LIMIT,
) -> float:
    """The area under the curve of per-region overlap over the false-positive rate, up to a limit.

    Per-region overlap is the share of a marked region that is found, averaged over regions, so that a
    small defect counts as much as a large one; a region is a set of touching marked pixels, corners
    included. The area is divided by the limit: 1 is perfect. The curve is exact: every distinct error
    is a cut. Bergmann et al. 2021, "The MVTec Anomaly Detection Dataset", IJCV 129, section 5.

    Args:
        masks: one `(H, W)` for each image, those without a defect too; 1 marked, 0 not.
        error_maps: of the same shapes, finite.
        false_positive_limit: above 0, at most 1.

    Returns:
        0..1; NaN where no pixel is marked, or every one.

    Raises:
        InputError: numbers or shapes that differ, other marks, an error that is not finite, a limit
            outside its range.
    """
    if not 0 < false_positive_limit <= 1:
        msg = f"false_positive_limit must be above 0 and at most 1, got {false_positive_limit}"
        raise InputError(msg)
    _expect_pairs(masks, error_maps)
    normal: list[NDArray[Any]] = []
    marked: list[NDArray[Any]] = []
    weight: list[NDArray[np.float64]] = []
    n_regions = 0
    for mask, error in zip(masks, error_maps, strict=True):
        regions, count = ndimage.label(expect_binary("masks", np.asarray(mask)), structure=np.ones((3, 3)))
        inside = regions > 0
        sizes = np.bincount(regions.ravel(), minlength=count + 1)
        normal.append(error[~inside])
        marked.append(error[inside])
        weight.append(1.0 / sizes[regions[inside]])
        n_regions += count
    low = _sorted(normal)
    if n_regions == 0 or low.size == 0:
        return float("nan")
    # Between two cuts at marked errors the overlap stands still: only those cuts bend the curve.
    cuts, of_cut = np.unique(np.concatenate(marked), return_inverse=True)
    found = np.bincount(of_cut, weights=np.concatenate(weight) / n_regions)[::-1].cumsum()
    above, from_it = (low.size - np.searchsorted(low, cuts[::-1], side=side) for side in ("right", "left"))
    x = np.concatenate([[0.0], np.stack([above, from_it], axis=1).ravel() / low.size, [1.0]])
    y = np.concatenate([[0.0, 0.0], np.repeat(found, 2)])
    return _area_up_to(x, y, false_positive_limit) / false_positive_limit


def _sorted(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """All values, rising. Sorted in place: there are as many as pixels."""
    values = np.concatenate(parts) if parts else np.empty(0)
    values.sort()
    return values


def _area_up_to(x: NDArray[np.float64], y: NDArray[np.float64], limit: float) -> float:
    """The area under straight lines through (x, y), from 0 to `limit`; x does not fall."""
    within = int(np.searchsorted(x, limit, side="right"))
    if within == x.size:
        return float(np.trapezoid(y, x))
    step = (limit - x[within - 1]) / (x[within] - x[within - 1])
    at_limit = y[within - 1] + step * (y[within] - y[within - 1])
    return float(np.trapezoid(np.append(y[:within], at_limit), np.append(x[:within], limit)))


def _expect_pairs(masks: Sequence[NDArray[Any]], error_maps: Sequence[NDArray[np.floating[Any]]]) -> None:
    if len(masks) != len(error_maps):
        msg = f"expected one error map for each mask, got {len(masks)} masks and {len(error_maps)} maps"
        raise InputError(msg)
    for number, (mask, error) in enumerate(zip(masks, error_maps, strict=True)):
        expect_shape(f"masks[{number}]", mask, (None, None))
        expect_shape(f"error_maps[{number}]", error, mask.shape)
        expect_finite(f"error_maps[{number}]", error)
