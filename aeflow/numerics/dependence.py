"""How many scores say as much as one independent score would.

Neighbours in time resemble each other, and so do images of one part. A thousand such scores tell less of
what normal data score than a thousand independent ones: the variance of a share counted among them is
larger, by the design effect (Kish 1965, "Survey Sampling"; of a time series it is the integrated
autocorrelation time). n scores are then worth n / design effect.

Legend: n calibration scores, B blocks, K shares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.numerics.shapes import expect_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARES = (0.5, 0.25, 0.1)
"""Of the calibration scores that lie above a level: the levels at which dependence is measured."""

_FEWEST_BLOCKS = 12
"""With fewer blocks the variance between them is a guess."""


def design_effects(above: NDArray[np.bool_], block: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """The variance of each share counted in whole blocks, in units of that of independent items, `(K,)`
    float64; at least 1.

    Args:
        above: `(K, n)`, what is counted.
        block: `(n,)` codes; items of one block may depend on each other, those of two do not.
    """
    _, size, found = _counted(above, block)
    return _effects(size, found)


def largest_design_effect(above: NDArray[np.bool_], position: NDArray[np.integer[Any]]) -> float:
    """The largest design effect of the share `above` `(n,)` over blocks of 1, 2, 4, ... grid points of
    `position` `(n,)`, of which there are at least a dozen."""
    return float(_largest(above[np.newaxis], position)[0])


def fit_design_effects(
    scores: NDArray[np.float64],
    *,
    position: NDArray[np.integer[Any]] | None = None,
    group: NDArray[np.integer[Any]] | None = None,
) -> NDArray[np.float64]:
    """The design effect of the share of scores above the levels of `SHARES`, `(K,)` float64.

    In time, blocks of 1, 2, 4, ... grid points are tried for as long as there are a dozen of them, and the
    largest effect is taken: how long scores depend on each other is not known. All entities share a block,
    since what moves one often moves others at the same time.

    Args:
        scores: `(n,)`, finite.
        position: `(n,)` grid index, of a series; or
        group: `(n,)` codes, of images that belong together; neither: the scores are independent.

    Raises:
        InputError: shapes that differ.
    """
    expect_shape("scores", scores, (None,))
    if position is None and group is None:
        return np.ones(len(SHARES))
    levels = np.quantile(scores, [1 - share for share in SHARES], method="lower")
    above = scores > levels[:, np.newaxis]
    if group is not None:
        expect_shape("group", group, scores.shape)
        return design_effects(above, group)
    assert position is not None
    expect_shape("position", position, scores.shape)
    return _largest(above, position)


def _largest(above: NDArray[np.bool_], position: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """`largest_design_effect` of each of K rows `(K, n)`."""
    place, size, found = _counted(above, position)
    effects = np.ones(len(above))
    while place.size >= _FEWEST_BLOCKS:
        effects = np.maximum(effects, _effects(size, found))
        place = place // 2
        starts = np.flatnonzero(np.diff(place, prepend=place[0] - 1))
        place = place[starts]
        size, found = np.add.reduceat(size, starts), np.add.reduceat(found, starts, axis=1)
    return effects


def _counted(
    above: NDArray[np.bool_], block: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Distinct blocks `(B,)` from 0 on, items of each, and of K rows `(K, n)` those above `(K, B)`."""
    place, code = np.unique(block.astype(np.int64), return_inverse=True)
    size = np.bincount(code).astype(np.float64)
    found: NDArray[np.float64] = np.array([np.bincount(code, weights=row) for row in above], dtype=np.float64)
    return place - (place[0] if place.size else 0), size, found


def _effects(size: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """The design effect of each of K shares `(K, B)` in blocks of `size` `(B,)`; at least 1."""
    n, blocks = size.sum(), size.size
    share = found.sum(axis=1) / n if n else np.zeros(len(found))
    between = share * (1 - share)
    if blocks < 2 or not between.any():
        return np.ones(len(found))
    # The linearised ratio estimator: blocks may be of any size.
    excess = found - share[:, np.newaxis] * size
    variance = np.sum(excess**2, axis=1) * blocks / (blocks - 1)
    told = between > 0
    return np.where(told, np.maximum(1.0, variance / np.where(told, n * between, 1.0)), 1.0)
