"""Channels that trend: they rise or fall all along, so that what was normal will not be.

Each channel of each entity is cut into eight blocks of time. The Mann-Kendall test (Mann 1945, "Nonparametric tests
against trend", Econometrica 13) counts of how many pairs of blocks the later mean is the higher one; over eight blocks its
distribution without a trend is known exactly. Neighbouring rows depend on each other, means of long blocks hardly do:
taken over rows, the test would call every slow wandering a trend. How far a channel rises is the median slope between
the blocks (Sen 1968, "Estimates of the regression coefficient based on Kendall's tau", JASA 63), in units of how
far the rows of a block lie from its mean: a trend that is lost in the noise changes nothing that is normal.

Legend: L rows, each entity in the order of time; E entities, C channels, B blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_entities, expect_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCKS = 8
LEVEL = 0.01
"""Of a hundred channels that only wander, one is called trending at most."""
LEAST_RISE = 1.0
"""A trend that counts: from the first block to the last a channel rises or falls by what its rows differ in one."""


@dataclass(frozen=True, eq=False)
class Trends:
    """p_value `(E, C)`: the chance of blocks in so much order without a trend, 1 where there are too few rows.
    rise `(E, C)`: from the first block to the last, in deviations within a block; negative of a channel that falls;
    infinite where rows of a block do not differ and blocks do."""

    p_value: NDArray[np.float64]
    rise: NDArray[np.float64]

    @property
    def trending(self) -> NDArray[np.bool_]:
        """`(E, C)`, of which chance is no explanation and which is large enough to matter."""
        return np.asarray((self.p_value <= LEVEL) & (np.abs(self.rise) >= LEAST_RISE))


def fit_trends(
    values: NDArray[np.floating[Any]], entity: NDArray[np.integer[Any]], n_entities: int
) -> Trends:
    """The trend of each channel of each entity.

    Args:
        values: `(L, C)`, NaN where missing.
        entity: `(L,)` codes 0 .. n_entities - 1, entity after entity.
        n_entities: E.

    Raises:
        InputError: wrong shapes or codes, or entities that are not one after the other.
    """
    expect_shape("values", values, (None, None))
    expect_shape("entity", entity, values.shape[:1])
    expect_entities(entity, n_entities)
    if (np.diff(entity.astype(np.int64)) < 0).any():
        msg = "rows must stand entity after entity, and they do not"
        raise InputError(msg, remedy="Sort them with np.lexsort((time, entity)).")
    channels = values.shape[1]
    p_value, rise = np.ones((n_entities, channels)), np.zeros((n_entities, channels))
    bounds = np.searchsorted(entity, np.arange(n_entities + 1))
    for code, (begin, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        if end - begin >= 2 * BLOCKS:
            p_value[code], rise[code] = _of_entity(values[begin:end].astype(np.float64))
    return Trends(p_value, rise)


def _of_entity(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The chance and the rise of each channel `(C,)` of the rows `(L, C)` of one entity."""
    starts = np.arange(BLOCKS) * len(values) // BLOCKS
    known = ~np.isnan(values)
    count = np.add.reduceat(known.astype(np.int64), starts, axis=0)
    sums = np.add.reduceat(np.where(known, values, 0.0), starts, axis=0)
    mean = sums / np.maximum(count, 1)
    off = np.where(known, values - np.repeat(mean, np.diff(np.append(starts, len(values))), axis=0), 0.0)
    within = np.sqrt(np.sum(off**2, axis=0) / np.maximum(known.sum(axis=0) - BLOCKS, 1))
    later, earlier = np.tril_indices(BLOCKS, -1)
    step = mean[later] - mean[earlier]  # (pairs, C)
    ordered = np.abs(np.sign(step).sum(axis=0)).astype(np.int64)
    slope = np.median(step / (later - earlier)[:, np.newaxis], axis=0) * (BLOCKS - 1)
    rise = np.where(slope == 0, 0.0, np.copysign(np.inf, slope))
    # What is below the resolution of the values is no noise to measure by.
    noisy = within > np.abs(mean).max(axis=0) * np.finfo(np.float32).eps
    rise[noisy] = slope[noisy] / within[noisy]
    whole = (count > 0).all(axis=0)
    return np.where(whole, _CHANCE[ordered], 1.0), np.where(whole, rise, 0.0)


def _chances() -> NDArray[np.float64]:
    """Of S = 0, 1, ..., the most: the chance that B blocks without a trend come to S or -S or more, exactly: of all
    orders of B numbers those with so many pairs in the wrong order, counted by adding one number after the other."""
    orders = np.ones(1)
    for size in range(2, BLOCKS + 1):
        orders = np.convolve(orders, np.ones(size))
    pairs = orders.size - 1  # S = pairs - 2 * wrong ones
    s = np.abs(pairs - 2 * np.arange(orders.size))
    above = np.array([orders[s >= least].sum() for least in range(pairs + 1)], dtype=np.float64)
    return np.asarray(above / orders.sum())


_CHANCE = _chances()
