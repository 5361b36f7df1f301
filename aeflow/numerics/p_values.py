"""How rare a score is on normal data, by each rule.

A new rule costs a name here and a branch in each method of `NormalScores`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from aeflow.numerics.dependence import fit_design_effects
from aeflow.numerics.survival import EmpiricalSurvival, fit_survival
from aeflow.numerics.tail import ParetoTail, fit_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rule = Literal["conformal", "quantile", "peaks_over_threshold"]


@dataclass(frozen=True, eq=False)
class NormalScores:
    """What normal data scores, and the rule that says how rare a score is among it.

    tail: only with peaks_over_threshold, and only where the highest scores differ at all.
    design_effects: `(K,)`, how many scores are worth one independent score; see `dependence`.
    """

    rule: Rule
    survival: EmpiricalSurvival
    tail: ParetoTail | None
    design_effects: NDArray[np.float64]

    @property
    def n(self) -> int:
        """The number of calibration scores."""
        return self.survival.n

    @property
    def unit(self) -> float:
        """How many high scores are worth one independent score."""
        return float(self.design_effects[-1])

    @property
    def independent(self) -> float:
        """How many independent scores the calibration is worth."""
        return self.n / self.unit

    @property
    def least(self) -> float:
        """The lowest p-value that the scores can tell without a tail."""
        return self.unit / (self.n + self.unit)

    def p_values(self, scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """The chance of a score at least this high on normal data, `(N,)` float64 in (0, 1].

        It never rises with the score. NaN for NaN; an infinite score has the lowest there is.
        conformal: see `EmpiricalSurvival.conformal`; quantile: the same, interpolated, so that a
        p-value of at most alpha means a score of at least the interpolated quantile;
        peaks_over_threshold: conformal below the tail, the generalised Pareto tail from its start on.
        """
        if self.rule == "quantile":
            return self.survival.interpolated(scores, self.unit)
        p = self.survival.conformal(scores, self.unit)
        if self.tail is None:
            return p
        return np.where(scores > self.tail.start, self.tail.survival(scores), p)

    def held_out_p_values(self, scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Of the calibration scores themselves, `(n,)`: what each would have had, had it not been among
        them. A fitted tail hangs little on one score, and is taken as it is."""
        p = self.p_values(scores)
        if self.rule == "quantile" or self.tail is not None or self.n == 1:
            return p
        return np.asarray((p * (self.n + self.unit) - 1) / (self.n - 1 + self.unit))

    def score_at(self, p: float) -> tuple[float, float]:
        """The score at which items begin to have p-values of at most `p`, and the highest p-value that
        these then have; those of the least p-value where `p` is smaller."""
        if self.tail is not None and p <= self.tail.share:
            return self.tail.quantile(p), p
        if self.rule == "quantile":
            p = max(p, self.least)
            return self.survival.interpolated_quantile(p, self.unit), p
        return self.survival.conformal_level(p, self.unit)

    def independent_flags(self, p: float) -> float:
        """How many independent calibration scores the chance `p` rests on: one over its squared relative
        error. Without a tail those with a p-value of at most that."""
        if self.tail is not None and p <= self.tail.share:
            n_excesses = self.tail.share * (self.n / self.unit + 1) - 1
            return self.tail.relative_error(p, n_excesses) ** -2
        return max(p * self.independent, 1.0)


def fit_normal_scores(
    scores: NDArray[np.float64],
    rule: Rule,
    *,
    position: NDArray[np.integer[Any]] | None = None,
    group: NDArray[np.integer[Any]] | None = None,
) -> NormalScores:
    """The rule fitted to `scores` `(n,)`, all finite; `position` and `group` as in `fit_design_effects`."""
    survival = fit_survival(scores)
    effects = fit_design_effects(scores, position=position, group=group)
    tail = fit_tail(scores, float(effects[-1])) if rule == "peaks_over_threshold" else None
    return NormalScores(rule, survival, tail, effects)
