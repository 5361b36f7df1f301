"""Whether a batch still scores as the calibration did: else the promise says nothing about it.

A promise holds for data that are exchangeable with the calibration data. Whether they are is read off the
bulk of the p-values, which on exchangeable data are spread evenly over 0..1: how many lie below 1/2, 1/4
and 1/10. The tail is left alone, since a batch may really hold something abnormal, and that is no drift:
up to a tenth of it may, before the check says a word.

Only the calibration's own design effects are used, so the check of a batch is a few counts, depends on no
order and no portion, and is frozen with the calibration. Legend: N items, K shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betainc

from aeflow.numerics.dependence import SHARES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aeflow.numerics.p_values import NormalScores

LEVEL = 0.01
"""Of a hundred batches that are exchangeable with the calibration, at most one is called shifted."""

ABNORMAL_SHARE = 0.1
"""So much of a batch may be really abnormal; a shift is what this cannot explain."""


@dataclass(frozen=True)
class BulkRise:
    """What the bulk of some p-values says: of the calibration scores the share `expected` lies at or above a
    level, of the batch the share `came`. `p_value`: the chance of that much or more, were the batch
    exchangeable but for a tenth of it."""

    expected: float
    came: float
    p_value: float


@dataclass(frozen=True)
class Exchangeability:
    """The outcome for a batch: that of all its items, and the entities that moved by themselves.

    whole: the most telling share of all items; None where no item was scored.
    moved: whether it is more than chance and a tenth of abnormal items explain.
    entities: name -> rise, of the entities with a calibration of their own that moved; the level is shared
        among all of them.
    n: items with a p-value; least_p_value: the lowest of them, 1 where there is none.
    """

    whole: BulkRise | None
    moved: bool
    entities: Mapping[str, BulkRise]
    n: int = 0
    least_p_value: float = 1.0

    @property
    def kept(self) -> bool:
        """Whether nothing speaks against the promise."""
        return not self.moved and not self.entities


class BulkCounts:
    """Counts p-values at or below each of `SHARES`, whatever portions they come in.

    Attributes:
        n: p-values so far, NaN not counted.
        below: `(K,)` int64.
        least: the lowest p-value so far; 1 before any.
    """

    def __init__(self) -> None:
        self.n = 0
        self.least = 1.0
        self.below: NDArray[np.int64] = np.zeros(len(SHARES), dtype=np.int64)

    @property
    def above_half(self) -> int:
        """P-values above 1/2."""
        return self.n - int(self.below[0])

    def add(self, p_values: NDArray[np.float64]) -> None:
        """Count `p_values` `(N,)`; NaN (not scorable) is left out."""
        ordered = np.sort(p_values[~np.isnan(p_values)])
        self.n += ordered.size
        self.least = min(self.least, float(ordered[0])) if ordered.size else self.least
        self.below = self.below + np.searchsorted(ordered, SHARES, side="right")


def check_exchangeability(
    whole: BulkCounts, normal: NormalScores, entities: Mapping[str, tuple[BulkCounts, NormalScores]]
) -> Exchangeability:
    """Whether a batch moved away from its calibration.

    Args:
        whole: counts of all items, by the p-values that they are judged by.
        normal: of the calibration that makes the promise.
        entities: name -> counts of the entity and its own calibration.
    """
    of_all = most_telling(whole, normal)
    found = {name: most_telling(counts, own) for name, (counts, own) in sorted(entities.items())}
    level = LEVEL / max(len(found), 1)
    moved = {name: rise for name, rise in found.items() if rise is not None and rise.p_value <= level}
    is_moved = of_all is not None and of_all.p_value <= LEVEL
    return Exchangeability(of_all, is_moved, moved, whole.n, whole.least)


def most_telling(counts: BulkCounts, normal: NormalScores) -> BulkRise | None:
    """The share that is hardest to explain, its p-value corrected for the choice among K; None for no item.

    Under exchangeability the share above a level is binomial, of as many items as N and n together are
    worth: `1 / (effect / N + effect / n)`, a number that need not be whole, for which the binomial tail is
    the incomplete beta function.
    """
    if counts.n == 0:
        return None
    found = []
    for share, below, effect in zip(
        SHARES, counts.below.tolist(), normal.design_effects.tolist(), strict=True
    ):
        came = below / counts.n
        worth = 1 / (effect / counts.n + effect / normal.n)
        explained = ABNORMAL_SHARE + (1 - ABNORMAL_SHARE) * share
        # P(X >= k) of a binomial is the incomplete beta function at (k, worth - k + 1).
        k = came * worth
        chance = 1.0 if came <= explained else float(betainc(k, worth - k + 1, explained))
        found.append(BulkRise(share, came, min(1.0, chance * len(SHARES))))
    return min(found, key=lambda rise: rise.p_value)
