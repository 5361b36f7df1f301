"""How rare a score is on normal data, by each rule.

A new rule costs a name here, a branch in `p_values`, and one in `promise.cut_by_share`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from aeflow.numerics.survival import EmpiricalSurvival, fit_survival
from aeflow.numerics.tail import ParetoTail, fit_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rule = Literal["conformal", "quantile", "peaks_over_threshold"]


@dataclass(frozen=True, eq=False)
class NormalScores:
    """What normal data scores, and the rule that says how rare a score is among it.

    tail: only with peaks_over_threshold, and only where the highest scores differ at all.
    """

    rule: Rule
    survival: EmpiricalSurvival
    tail: ParetoTail | None

    @property
    def n(self) -> int:
        """The number of calibration scores."""
        return self.survival.n

    def p_values(self, scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """The chance of a score at least this high on normal data, `(N,)` float64 in (0, 1].

        It never rises with the score. NaN for NaN; an infinite score has the lowest there is.
        conformal: see `EmpiricalSurvival.conformal`; quantile: the same, interpolated, so that a
        p-value of at most alpha means a score of at least the interpolated quantile;
        peaks_over_threshold: conformal below the tail, the generalised Pareto tail from its start on.
        """
        if self.rule == "quantile":
            return self.survival.interpolated(scores)
        p = self.survival.conformal(scores)
        if self.tail is None:
            return p
        return np.where(scores > self.tail.start, self.tail.survival(scores), p)


def fit_normal_scores(scores: NDArray[np.float64], rule: Rule) -> NormalScores:
    """The rule fitted to `scores` `(n,)`, all finite; their order does not matter."""
    tail = fit_tail(scores) if rule == "peaks_over_threshold" else None
    return NormalScores(rule, fit_survival(scores), tail)
