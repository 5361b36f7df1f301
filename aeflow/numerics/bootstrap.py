"""How far a metric would move, had other items of the same kind been drawn.

Legend: N items or time points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def bootstrap_interval(
    metric: Callable[..., float],
    *arrays: NDArray[Any],
    seed: int,
    block_items: int = 1,
    repeats: int = 200,
    level: float = 0.95,
) -> tuple[float, float]:
    """The percentile interval of `metric(*arrays)` by a circular block bootstrap.

    Neighbours in time resemble each other: drawn one by one they would seem to say more than they do.
    So whole blocks of neighbours are drawn (Politis & Romano 1992); a block should be longer than the
    time over which scores depend on each other, such as the window. Independent items: blocks of 1.

    Args:
        metric: takes the arrays, gives a number; NaN where it is not defined.
        arrays: `(N, ...)` each, such as labels and scores, in time order where blocks are longer than 1.
        seed: the same seed draws the same items.
        block_items: length of a block.
        repeats: how often to draw.
        level: the share of draws inside the interval.

    Returns:
        low, high; both NaN where the metric is not defined on at least half of the draws.

    Raises:
        InputError: no arrays, lengths that differ, or a parameter outside its range.
    """
    if not arrays or arrays[0].shape[0] == 0:
        msg = "a bootstrap needs items to draw from, got none"
        raise InputError(msg)
    n = arrays[0].shape[0]
    for number, array in enumerate(arrays):
        expect_shape(f"array {number}", array, (n, *array.shape[1:]))
    if not (block_items >= 1 and repeats >= 1 and 0 < level < 1):
        msg = f"expected block_items, repeats >= 1 and 0 < level < 1, got {block_items}, {repeats}, {level}"
        raise InputError(msg)
    generator = np.random.default_rng(seed)
    block = np.arange(min(block_items, n))
    n_blocks = -(-n // block.size)
    drawn = []
    for _ in range(repeats):
        starts = generator.integers(0, n, size=n_blocks)
        rows = ((starts[:, np.newaxis] + block) % n).ravel()[:n]
        drawn.append(metric(*(array[rows] for array in arrays)))
    defined = np.array(drawn)[~np.isnan(drawn)]
    if defined.size * 2 < repeats:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
