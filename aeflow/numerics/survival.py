"""How often normal data scores at least this high: the empirical survival function.

Legend: N scores to judge, n calibration scores, K levels that are kept of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_finite, expect_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT_LEVELS = 10_000
"""The highest distinct calibration scores, all kept: cuts lie among them."""

BODY_LEVELS = 10_000
"""Of the rest as many are kept, evenly spaced by rank. A p-value there is at most 1e-4 too high."""


@dataclass(frozen=True, eq=False)
class EmpiricalSurvival:
    """Distinct calibration scores and how many lie above each.

    level: `(K,)` float64, ascending.
    above: `(K,)` int64, calibration scores strictly above each level; the last is 0.
    n: number of calibration scores.
    """

    level: NDArray[np.float64]
    above: NDArray[np.int64]
    n: int

    def __post_init__(self) -> None:
        """Refuse levels that are no survival function."""
        expect_shape("level", self.level, (None,))
        expect_shape("above", self.above, self.level.shape)
        expect_finite("level", self.level)
        ordered = (np.diff(self.level) > 0).all() and (np.diff(self.above) < 0).all()
        if self.level.size == 0 or not ordered or self.above[-1] != 0 or self.above[0] >= self.n:
            msg = "levels must ascend strictly, and the numbers above them descend strictly to 0"
            raise InputError(msg)

    def conformal(self, scores: NDArray[np.floating[Any]], unit: float = 1.0) -> NDArray[np.float64]:
        """`(unit + calibration scores at or above) / (n + unit)`, `(N,)` float64, NaN for NaN.

        The chance that a normal score is at least this high is at most this (Vovk et al. 2005);
        ties count against the score. Between levels that were thinned out, the bound is kept.

        unit: how many scores are worth one independent score. A new item comes with all those that
        resemble it: for groups of one size that are alike throughout this is hierarchical conformal
        prediction (Dunn, Wasserman & Ramdas 2023), in which whole groups are exchangeable.
        """
        at_or_above = np.concatenate([[self.n], self.above])
        p = (unit + at_or_above[np.searchsorted(self.level, scores, side="left")]) / (self.n + unit)
        return np.where(np.isnan(scores), np.nan, p)

    def interpolated(self, scores: NDArray[np.floating[Any]], unit: float = 1.0) -> NDArray[np.float64]:
        """The same made continuous, `(N,)` float64: `(unit - 1 + calibration scores at or above) /
        (n + unit)` at each level, a straight line between levels, 1 below the lowest, `unit / (n + unit)`
        above the highest. It is the inverse of the quantile with plotting positions `i / (n + 1)`
        (Weibull) where the scores are independent."""
        least = unit / (self.n + unit)
        p = np.interp(scores, self.level, self._plotting_positions(unit), left=1.0, right=least)
        return np.where(np.isnan(scores), np.nan, p)

    def interpolated_quantile(self, p: float, unit: float = 1.0) -> float:
        """The lowest score at which `interpolated` is at most `p`, which is at least `unit / (n + unit)`."""
        positions = self._plotting_positions(unit)
        if p < positions[-1]:  # several scores share the highest level: only what is above it is rarer
            return float(np.nextafter(self.level[-1], np.inf))
        return float(np.interp(-p, -positions, self.level))

    def conformal_level(self, p: float, unit: float = 1.0) -> tuple[float, float]:
        """The lowest level such that scores strictly above it have conformal p-values of at most
        `p`, and the highest of these p-values; those of the highest level where `p` is too small."""
        allowed = int(np.floor(p * (self.n + unit) - unit + 1e-9))
        at = min(int(np.searchsorted(-self.above, -allowed, side="left")), self.level.size - 1)
        return float(self.level[at]), float((unit + self.above[at]) / (self.n + unit))

    def _plotting_positions(self, unit: float) -> NDArray[np.float64]:
        at_or_above = np.concatenate([[self.n], self.above[:-1]])
        return (unit - 1 + at_or_above) / (self.n + unit)


def fit_survival(scores: NDArray[np.floating[Any]]) -> EmpiricalSurvival:
    """The survival function of `scores` `(n,)`; the order of the scores does not matter.

    Raises:
        InputError: no score, or one that is not finite.
    """
    expect_shape("scores", scores, (None,))
    expect_finite("scores", scores)
    if scores.size == 0:
        msg = "calibration needs normal scores, got none"
        raise InputError(msg, remedy="Give the calibration part of the history more data.")
    level, count = np.unique(scores.astype(np.float64), return_counts=True)
    above = scores.size - np.cumsum(count)
    n_body = level.size - EXACT_LEVELS
    if n_body > BODY_LEVELS:
        body = np.unique(np.linspace(0, n_body - 1, BODY_LEVELS).round().astype(np.int64))
        kept = np.concatenate([body, np.arange(n_body, level.size)])
        level, above = level[kept], above[kept]
    return EmpiricalSurvival(level, above.astype(np.int64), int(scores.size))
