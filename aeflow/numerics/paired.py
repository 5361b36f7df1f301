"""How far two detectors differ on the same items, with an interval: a paired bootstrap.

Legend: N clean items, M planted or labelled ones, S draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DRAWS = 1000
_LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """One figure of a detector less that of another, and its 95 % interval."""

    value: float
    low: float
    high: float


def placements(
    clean: NDArray[Any], abnormal: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each abnormal score the share of the clean ones below it, `(M,)`, and for each clean score the share
    of the abnormal ones above it, `(N,)`; ties count half. The mean of either is the AUROC (DeLong 1988)."""
    below = _share_below(np.sort(clean), abnormal)
    above = 1 - _share_below(np.sort(abnormal), clean)
    return below, above


def auroc_differences(
    clean: tuple[NDArray[Any], NDArray[Any]],
    abnormal: tuple[NDArray[Any], NDArray[Any]],
    *,
    seed: int,
    block_items: int = 1,
    fault: NDArray[np.int64] | None = None,
    stream: int = 0,
) -> NDArray[np.float64]:
    """The difference of the AUROC of two detectors, and `_DRAWS` bootstrap draws of it, `(1 + S,)`.

    Both detectors keep their scores of the items that are drawn. Clean items are drawn in blocks of neighbours,
    since those in time resemble each other. A draw moves the AUROC by the placements of what was drawn, the
    first-order term of its U-statistic, so that nothing is sorted again. Abnormal items of one fault are drawn
    together: a fault is found or missed as a whole, and its points say little more than one of them.

    Args:
        clean: scores `(N,)` of the one and the other detector.
        abnormal: the same `(M,)`.
        seed: the same seed draws the same items, whatever the scores.
        block_items: length of a block of clean items.
        fault: number of the fault of each abnormal item `(M,)`, at least two of them; None: each its own.
        stream: abnormal items are drawn apart from those of another stream, the clean ones alike.

    Raises:
        InputError: lengths differ, there is nothing on one side, or a single fault, whose spread nothing tells.
    """
    expect_shape("clean", clean[1], clean[0].shape)
    expect_shape("abnormal", abnormal[1], abnormal[0].shape)
    if not clean[0].size or not abnormal[0].size:
        msg = "a comparison needs items on both sides"
        raise InputError(msg)
    (below_a, above_a), (below_b, above_b) = (placements(c, x) for c, x in zip(clean, abnormal, strict=True))
    of_abnormal, of_clean = below_a - below_b, above_a - above_b
    value = float(of_abnormal.mean())
    generator = np.random.default_rng(seed)
    drawn = _means(of_clean, generator, block_items)
    generator = np.random.default_rng([seed, stream])
    if fault is None:
        drawn = drawn + _means(of_abnormal, generator, 1) - value
    else:
        expect_shape("fault", fault, of_abnormal.shape)
        drawn = drawn + _means_of_groups(of_abnormal, fault, generator) - value
    return np.concatenate([[value], drawn])


def share_differences(
    found: tuple[NDArray[np.bool_], NDArray[np.bool_]], *, seed: int
) -> NDArray[np.float64]:
    """The difference of the shares of what two detectors found, `(M,)` each, and bootstrap draws of it,
    `(1 + S,)`; the same seed draws the same items.

    Raises:
        InputError: lengths that differ.
    """
    expect_shape("found", found[1], found[0].shape)
    both = found[0].astype(np.float64) - found[1]
    drawn = _means(both, np.random.default_rng(seed), 1)
    return np.concatenate([[both.mean()], drawn])


def difference_of(draws: NDArray[np.float64]) -> Difference:
    """The value and the 95 % interval of `draws` `(1 + S,)` of `auroc_differences` or `share_differences`."""
    low, high = np.quantile(draws[1:], [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Difference(float(draws[0]), float(low), float(high))


def _share_below(ordered: NDArray[Any], scores: NDArray[Any]) -> NDArray[np.float64]:
    left = np.searchsorted(ordered, scores, side="left")
    right = np.searchsorted(ordered, scores, side="right")
    return np.asarray((left + right) / (2 * ordered.size))


def _means(
    values: NDArray[np.float64], generator: np.random.Generator, block_items: int
) -> NDArray[np.float64]:
    """Means over circular blocks drawn with replacement, `(S,)`: sums of blocks are differences of one running
    sum, so that a draw costs as much as it has blocks."""
    size = values.size
    block = max(1, min(block_items, size))
    running = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[:block]]))])
    starts = generator.integers(0, size, size=(_DRAWS, -(-size // block)))
    sums = running[starts + block] - running[starts]
    return np.asarray(sums.sum(axis=1) / (starts.shape[1] * block))


def _means_of_groups(
    values: NDArray[np.float64], group: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Means over whole groups drawn with replacement, `(S,)`. Of G groups drawn means spread too little by the
    root of 1 - 1 / G, which is made up for: G may be small."""
    _, place = np.unique(group, return_inverse=True)
    sums, sizes = np.bincount(place, weights=values), np.bincount(place)
    groups = sums.size
    if groups < 2:
        msg = "a comparison needs at least two faults"
        raise InputError(msg)
    drawn = generator.integers(0, groups, size=(_DRAWS, groups))
    mean = values.mean()
    spread = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1) - mean
    return np.asarray(mean + spread * np.sqrt(groups / (groups - 1)))
