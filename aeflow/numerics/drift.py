"""How far the distribution of a quantity has moved from what it was in the history.

Distributions are counts in fixed bins of the quantity's robust units, so that a batch of any size is
sketched in fixed memory, and the sketches of its portions add up to that of the whole.

A test of two samples takes readings for independent. Those of a machine are not: one day resembles the next,
and a thousand readings of one hour say little more than one. So the history is cut into blocks as long as a
batch, and each quantity's effective number of independent readings is that with which the blocks differ from
the whole history as much as they do.

Legend: N readings, E entities, F quantities, B bins, K blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import kolmogi, kolmogorov

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_entities, expect_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POSITIVE = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0)
ROBUST_EDGES: NDArray[np.float64] = np.array([*(-e for e in reversed(_POSITIVE)), 0.0, *_POSITIVE])
"""Between the bins of a quantity in robust units: narrow where most readings are."""
# At several quantiles of the blocks' distances the fewest independent readings count: of few blocks one quantile
# may be a quiet one, and a false alarm costs more here than a change that is found a night later.
_QUANTILES = (0.5, 0.75, 0.9)
_FEWEST_BLOCKS = 4
_LEAST_SHARE = 1e-4  # a bin that was empty in the history must not make the PSI infinite


class Sketch:
    """Counts of readings in bins, gathered from portions of any size; memory grows with E x F x B only."""

    def __init__(self, n_quantities: int, edges: NDArray[np.float64] = ROBUST_EDGES) -> None:
        """`edges` `(B - 1,)` rise."""
        self.edges = edges
        self._counts = np.zeros((0, n_quantities, edges.size + 1), dtype=np.int64)

    def feed(self, values: NDArray[np.floating[Any]], entity: NDArray[np.integer[Any]]) -> None:
        """Count `values` `(N, F)`, NaN where missing, of the entities `entity` `(N,)`, codes from 0.

        Raises:
            InputError: shapes or codes that do not fit.
        """
        n_quantities, n_bins = self._counts.shape[1:]
        expect_shape("values", values, (None, n_quantities))
        expect_shape("entity", entity, values.shape[:1])
        if values.shape[0] == 0:
            return
        self.widen(int(entity.max()) + 1)
        n_entities = self._counts.shape[0]
        expect_entities(entity, n_entities)
        place = np.searchsorted(self.edges, values, side="right")
        cell = (entity[:, np.newaxis] * n_quantities + np.arange(n_quantities)) * n_bins + place
        known = ~np.isnan(values)
        self._counts += np.bincount(cell[known], minlength=self._counts.size).reshape(self._counts.shape)

    def widen(self, n_entities: int) -> None:
        """Make room for entities with no reading yet."""
        more = n_entities - self._counts.shape[0]
        if more > 0:
            nothing = np.zeros((more, *self._counts.shape[1:]), dtype=np.int64)
            self._counts = np.concatenate([self._counts, nothing])

    @property
    def counts(self) -> NDArray[np.int64]:
        """`(E, F, B)` int64 of everything fed so far."""
        return self._counts


@dataclass(frozen=True, eq=False)
class Profile:
    """What a quantity was like in the history.

    shares: `(E + 1, F, B)` float32, of the readings in each bin; the last row is over all entities together
        and serves new ones.
    independent: `(F,)` float64, effective number of independent readings in a batch of one entity.
    blocks: K, into how many batches the history was cut to learn it.
    edges: `(B - 1,)`.
    """

    shares: NDArray[np.float32]
    independent: NDArray[np.float64]
    blocks: int
    edges: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shifts:
    """How far the readings of a batch lie from the history, `(E, F)` float64 each; NaN without a reading.

    ks: largest difference of the two distribution functions, 0..1 (Kolmogorov-Smirnov).
    psi: population stability index; from 0.25 on is called a change in credit scoring, where it comes from.
    wasserstein: how far readings would have to be moved on average, in robust units.
    median: of the batch less that of the history, in robust units.
    p_value: chance of a `ks` as large between a batch of the history and the rest of it.
    """

    ks: NDArray[np.float64]
    psi: NDArray[np.float64]
    wasserstein: NDArray[np.float64]
    median: NDArray[np.float64]
    p_value: NDArray[np.float64]


def learn_profile(
    values: NDArray[np.floating[Any]],
    entity: NDArray[np.integer[Any]],
    block: NDArray[np.integer[Any]],
    *,
    n_entities: int,
    edges: NDArray[np.float64] = ROBUST_EDGES,
) -> Profile:
    """What is usual, and how far one batch of it lies from the whole.

    Args:
        values: `(N, F)` of the history, NaN where missing.
        entity: `(N,)` codes 0 .. n_entities - 1.
        block: `(N,)` number of the batch-long block that a reading is in, from 0; of one entity or of several.
        n_entities: E.
        edges: `(B - 1,)`.

    Raises:
        InputError: there is no reading, or the shapes differ.
    """
    expect_shape("entity", entity, values.shape[:1])
    expect_shape("block", block, values.shape[:1])
    if values.shape[0] == 0:
        msg = "a profile needs readings to learn from, got none"
        raise InputError(msg)
    whole = Sketch(values.shape[1], edges)
    whole.feed(values, entity)
    whole.widen(n_entities)
    counts = np.concatenate([whole.counts, whole.counts.sum(axis=0, keepdims=True)])
    shares = _shares(counts, instead=counts[-1:])
    pair, number = np.unique(np.stack([entity, block], axis=1), axis=0, return_inverse=True)
    of_blocks = Sketch(values.shape[1], edges)
    of_blocks.feed(values, number.ravel())
    size = of_blocks.counts.sum(axis=2)  # (blocks of all entities, F)
    distance = _ks(_shares(of_blocks.counts), shares[pair[:, 0]])
    blocks = int(np.unique(block).size)
    most = np.median(np.where(size > 0, size, np.nan), axis=0) if len(pair) else np.ones(values.shape[1])
    independent = np.ones(values.shape[1])
    if blocks >= _FEWEST_BLOCKS:
        # The distances that so many of the blocks keep, were they samples of this many independent readings.
        came = np.nanquantile(np.where(size > 0, distance, np.nan), _QUANTILES, axis=0)
        expected = np.array([kolmogi(1 - q) for q in _QUANTILES])[:, np.newaxis]
        independent = ((expected / np.maximum(came, 1e-6)) ** 2).min(axis=0)
    most = np.nan_to_num(most, nan=1.0)
    return Profile(shares.astype(np.float32), np.clip(independent, 1.0, np.maximum(most, 1.0)), blocks, edges)


def compare(profile: Profile, counts: NDArray[np.int64], row: NDArray[np.integer[Any]]) -> Shifts:
    """How far a batch lies from the history.

    Args:
        profile: of the history.
        counts: `(E, F, B)` of a `Sketch` with the same edges.
        row: `(E,)` row of the profile that each entity is held against; -1 for a new one.

    Raises:
        InputError: counts of other quantities or bins than the profile's.
    """
    expect_shape("counts", counts, (None, *profile.shares.shape[1:]))
    expect_shape("row", row, counts.shape[:1])
    came, usual = _shares(counts), profile.shares[row].astype(np.float64)
    n = counts.sum(axis=2)
    ks = _ks(came, usual)
    # A batch that holds less says less; and the history itself is a sample of so many batches.
    independent = np.minimum(profile.independent, n) * profile.blocks / (profile.blocks + 1)
    middle = _middles(profile.edges)
    widths = np.diff(middle)
    moved = np.abs(np.cumsum(came - usual, axis=2)[:, :, :-1]) @ widths
    floor_came, floor_usual = np.maximum(came, _LEAST_SHARE), np.maximum(usual, _LEAST_SHARE)
    psi = ((floor_came - floor_usual) * np.log(floor_came / floor_usual)).sum(axis=2)
    empty = n == 0
    return Shifts(
        ks=np.where(empty, np.nan, ks),
        psi=np.where(empty, np.nan, psi),
        wasserstein=np.where(empty, np.nan, moved),
        median=np.where(empty, np.nan, _median(came, middle) - _median(usual, middle)),
        p_value=np.where(empty, np.nan, kolmogorov(np.sqrt(independent) * ks)),
    )


def spread_over(index: NDArray[np.int64], one_in: float) -> NDArray[np.bool_]:
    """A sample of about one in `one_in` of the items numbered `index` `(N,)`, which depends on the numbers
    alone: steps of the golden ratio, which no period of the data can be in step with."""
    turns = (index.astype(np.uint64) * np.uint64(0x9E3779B1)) & np.uint64(0xFFFFFFFF)
    return np.asarray(turns < np.uint64(min(2**32, round(2**32 / max(one_in, 1.0)))))


def _shares(counts: NDArray[np.int64], instead: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Shares of the bins; where there is no reading, those of `instead`."""
    if instead is not None:
        counts = np.where(counts.sum(axis=2, keepdims=True) > 0, counts, instead)
    return np.asarray(counts / np.maximum(counts.sum(axis=2, keepdims=True), 1))


def _ks(came: NDArray[np.float64], usual: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return np.asarray(np.abs(np.cumsum(came - usual, axis=2)).max(axis=2))


def _middles(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """A value for each bin, `(B,)`; the outermost stand for their inner edge."""
    return np.concatenate([edges[:1], (edges[1:] + edges[:-1]) / 2, edges[-1:]])


def _median(shares: NDArray[np.floating[Any]], middle: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(E, F)`: the value of the bin in which half is reached, moved within its neighbours by how much of
    it lies below: so that a slow drift is seen before it leaves a bin."""
    risen = np.cumsum(shares, axis=2)
    at = np.minimum((risen < 0.5).sum(axis=2), middle.size - 1)[..., np.newaxis]
    inside = np.take_along_axis(shares, at, axis=2)
    below = np.take_along_axis(risen, at, axis=2) - inside
    part = np.where(inside > 0, (0.5 - below) / np.maximum(inside, 1e-12), 0.5)
    left = np.concatenate([middle[:1], (middle[1:] + middle[:-1]) / 2])
    right = np.concatenate([(middle[1:] + middle[:-1]) / 2, middle[-1:]])
    return np.asarray((left[at] + np.clip(part, 0, 1) * (right[at] - left[at]))[..., 0])
