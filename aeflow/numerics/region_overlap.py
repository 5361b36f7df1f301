"""How well error maps find the marked pixels of defects.

Legend: N images, H x W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from aeflow.exceptions import InputError
from aeflow.numerics.metrics import auroc
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
    if len(masks) == 0:
        return float("nan")
    return auroc(
        np.concatenate([np.ravel(mask) for mask in masks]),
        np.concatenate([np.ravel(error) for error in error_maps]),
    )


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
    normal: list[NDArray[Any]] = [np.empty(0)]
    marked: list[NDArray[Any]] = [np.empty(0)]
    weight: list[NDArray[np.float64]] = [np.empty(0)]
    n_regions = 0
    for mask, error in zip(masks, error_maps, strict=True):
        regions, count = ndimage.label(expect_binary("masks", np.asarray(mask)), structure=np.ones((3, 3)))
        inside = regions > 0
        sizes = np.bincount(regions.ravel(), minlength=count + 1)
        normal.append(error[~inside])
        marked.append(error[inside])
        weight.append(1.0 / sizes[regions[inside]])
        n_regions += count
    normal_errors, marked_errors = np.concatenate(normal), np.concatenate(marked)
    if n_regions == 0 or normal_errors.size == 0:
        return float("nan")
    falsely = np.concatenate(
        [np.full(normal_errors.size, 1 / normal_errors.size), np.zeros(marked_errors.size)]
    )
    overlap = np.concatenate([np.zeros(normal_errors.size), np.concatenate(weight) / n_regions])
    errors = np.concatenate([normal_errors, marked_errors])

    order = np.argsort(-errors, kind="stable")
    ordered = errors[order]
    last_of_tie = np.append(ordered[1:] != ordered[:-1], True)
    x = np.concatenate([[0.0], np.cumsum(falsely[order])[last_of_tie]])
    y = np.concatenate([[0.0], np.cumsum(overlap[order])[last_of_tie]])
    return _area_up_to(x, y, false_positive_limit) / false_positive_limit


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
