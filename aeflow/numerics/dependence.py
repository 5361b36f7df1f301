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


def design_effect(above: NDArray[np.bool_], block: NDArray[np.integer[Any]]) -> float:
    """The variance of a share counted in whole blocks, in units of that of independent items; at least 1.

    Args:
        above: `(n,)`, what is counted.
        block: `(n,)` codes; items of one block may depend on each other, those of two do not.
    """
    _, code = np.unique(block, return_inverse=True)
    size = np.bincount(code).astype(np.float64)
    share = float(above.mean())
    if size.size < 2 or share in {0.0, 1.0}:
        return 1.0
    # The linearised ratio estimator: blocks may be of any size.
    excess = np.bincount(code, weights=above.astype(np.float64)) - share * size
    variance = float(np.sum(excess**2)) * size.size / (size.size - 1)
    return max(1.0, variance / (above.size * share * (1 - share)))


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
    """
    expect_shape("scores", scores, (None,))
    if position is None and group is None:
        return np.ones(len(SHARES))
    levels = np.quantile(scores, [1 - share for share in SHARES], method="lower")
    if group is not None:
        expect_shape("group", group, scores.shape)
        return np.array([design_effect(scores > level, group) for level in levels])
    assert position is not None
    expect_shape("position", position, scores.shape)
    return np.array([largest_design_effect(scores > level, position) for level in levels])


def largest_design_effect(above: NDArray[np.bool_], position: NDArray[np.integer[Any]]) -> float:
    """The largest design effect of the share `above` `(n,)` over blocks of 1, 2, 4, ... grid points, of
    which there are at least a dozen."""
    block = position.astype(np.int64) - int(position.min(initial=0))
    effect = 1.0
    while np.unique(block).size >= _FEWEST_BLOCKS:
        effect = max(effect, design_effect(above, block))
        block = block // 2
    return effect
