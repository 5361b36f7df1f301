"""One score of several: how rare each member finds an item, by its own held-out scores, and all of them together.

Members are scored as if each were alone, smoothing and baseline included: only then do their scores hang together with
those that told how rare they are. That is learnt on the part that stopped the training, so that the calibration part
has been seen by nothing that makes the fused score, and its calibration holds like any other.

Legend: M members, N items, C channels or bands, R rows of entities, cohorts and all (1 of images), Q numbers of a curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.numerics.fusion import FusionRule, common_rarity, fuse
from aeflow.numerics.survival_curves import OWN_SCORES, fit_survival_curves, rarity, score_of_rarity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aeflow.detector.cohorts import Groups


@dataclass(frozen=True, eq=False)
class Fusing:
    """curves: `(M, R, Q)`, of what each member scores on normal data; see `numerics.survival_curves`."""

    rule: FusionRule
    curves: NDArray[np.float64]

    def together(
        self, scores: Sequence[NDArray[np.float32]], code: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What the members' scores `(N,)` each come to.

        Args:
            scores: of each member.
            code: `(N,)` row of each item.

        Returns:
            fused scores `(N,)`; and weights `(M, N)` such that the members' scores, and so whatever sums to
            them, sum to the fused one.
        """
        found = np.stack([rarity(one, curve, code) for one, curve in zip(scores, self.curves, strict=True)])
        fused, parts = fuse(found, self.rule)
        stacked = np.stack(scores).astype(np.float64)
        tells = stacked > 0
        parts = np.where(tells | np.isnan(stacked), parts, 0.0)
        total = parts.sum(axis=0)
        weights = fused * parts / np.where(total > 0, total, 1.0) / np.where(tells, stacked, 1.0)
        return fused.astype(np.float32), weights.astype(np.float32)

    def members_at(self, fused: float, code: int) -> list[float]:
        """The score of each member where all find an item equally rare and their fused score is `fused`."""
        rare = common_rarity(fused, len(self.curves), self.rule)
        return [score_of_rarity(rare, curve[code]) for curve in self.curves]


def fit_fusing(
    rule: FusionRule,
    scores: Sequence[NDArray[np.float32]],
    entity: NDArray[np.integer[Any]],
    groups: Groups,
) -> Fusing:
    """How rare scores are, learnt from the held-out ones `(N,)` of each member; `entity` are their codes. An entity
    with few of them takes what its cohort scores, or all do."""
    curves = np.stack([groups.fit(fit_survival_curves, (one,), entity) for one in scores])
    count = np.bincount(entity[np.isfinite(scores[0])], minlength=len(groups.cohort))
    of_cohort = np.flatnonzero((count < OWN_SCORES) & (groups.cohort >= 0))
    curves[:, of_cohort] = curves[:, len(groups.cohort) + groups.cohort[of_cohort]]
    return Fusing(rule, curves)


def fit_fusing_of_one(rule: FusionRule, scores: Sequence[NDArray[np.float32]]) -> Fusing:
    """The same of items that are all of one kind, such as images: their row is 0."""
    nobody = np.zeros(len(scores[0]), dtype=np.int64)
    return Fusing(rule, np.stack([fit_survival_curves(one, nobody, 1)[-1:] for one in scores]))


def weighted_sum(weights: NDArray[np.float32], parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The parts `(N, ...)` of each member, by its weights `(M, N)`, added up."""
    whole = np.zeros_like(parts[0])
    for weight, part in zip(weights, parts, strict=True):
        whole += weight.reshape(-1, *[1] * (part.ndim - 1)) * part
    return whole
