"""Several chances of one item into one score: how unusual do all members together find it?

Each member says how rare its score is on normal data, a p-value. The members look at the same item, so their p-values
depend on each other, and what any rule makes of them is a score and no chance: it is calibrated again like every
other. All is in negative logarithms, in which the rarest item has a finite number.

Legend: M members, N items. rarity: -log p, natural, 0 where nothing is unusual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from scipy.special import logsumexp

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

FusionRule = Literal["fisher", "harmonic", "smallest", "cauchy"]

_FAR = 30.0
"""Rarities from here on (p below 1e-13) are beyond what 1 - p can tell from 1: the formulas' limits hold."""
_RAREST = 1e30
"""A rarity of more counts as this one, so that sums and powers of a few stay finite."""
_LARGEST_P = 0.99
"""With cauchy: a p-value near 1 has a cotangent so low that it would hide any other one."""
_HALVINGS = 80


def fuse(
    rarity: NDArray[np.floating[Any]], rule: FusionRule
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The fused rarity of each item, and what part each member has in it.

    fisher: -2 times the sum of the log p-values, chi-squared with 2 M degrees of freedom were the members
        independent (Fisher 1925, "Statistical methods for research workers"): what several find a little unusual is
        unusual. Its parts are the members' rarities.
    harmonic: the harmonic mean of the p-values (Wilson 2019, "The harmonic mean p-value for combining dependent
        tests", PNAS 116): mostly the smallest, the more the closer the others are to it. Parts as 1 / p.
    smallest: the smallest p-value, corrected for being one of M as if they were independent (Tippett 1931; Bonferroni's
        M times the smallest is its limit, and stops at 1): what one member finds. It alone has a part.
    cauchy: the mean of cot(pi p), whose tail is that of a Cauchy distribution however the members depend on each other
        (Liu & Xie 2020, "Cauchy combination test", JASA 115); p-values above .99 count as that, since one at 1 would hide
        all others (Fang, Chang, Park & Tseng 2023, "Heavy-tailed distribution for combining dependent p-values",
        Statistica Sinica 33). Parts as the cotangents, where positive.

    Args:
        rarity: `(M, N)`, not negative; NaN where a member has no score.
        rule: one of the above.

    Returns:
        fused `(N,)` float64, rising with every rarity (smallest: with the largest), that of one member as it is;
        parts `(M, N)` float64, which sum to 1. NaN where a rarity is.

    Raises:
        InputError: another shape, no member, or an unknown rule.
    """
    expect_shape("rarity", rarity, (None, None))
    if rule not in get_args(FusionRule):
        msg = f"rule must be one of {', '.join(get_args(FusionRule))}, got {rule!r}"
        raise InputError(msg)
    if len(rarity) == 0:
        msg = "expected the rarities of at least one member, got none"
        raise InputError(msg)
    x = np.clip(rarity.astype(np.float64), 0.0, _RAREST)
    fused, weights = _RULES[rule](x)
    total = weights.sum(axis=0)
    parts = np.where(total > 0, weights / np.where(total > 0, total, 1.0), 1 / len(x))
    unknown = np.isnan(x).any(axis=0)
    fused[unknown], parts[:, unknown] = np.nan, np.nan
    return np.maximum(fused, 0.0), parts


def common_rarity(fused: float, members: int, rule: FusionRule) -> float:
    """The rarity that all of so many `members` have where they agree and their fusion is `fused`; NaN for NaN."""
    if np.isnan(fused):
        return fused
    low, high = 0.0, fused + np.log(members) + 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = fuse(np.full((members, 1), middle), rule)[0][0] >= fused
        low, high = (low, middle) if enough else (middle, high)
    return float(high)


def _fisher(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    total = x.sum(axis=0)
    # The survival function of a chi-squared variable of 2 M degrees: exp(-t) (1 + t + t^2 / 2 + ... t^(M-1) / (M-1)!).
    term, series = np.ones_like(total), np.ones_like(total)
    for k in range(1, len(x)):
        term = term * total / k
        series = series + term
    return total - np.log(series), x


def _harmonic(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    highest = x.max(axis=0)
    return logsumexp(x, axis=0) - np.log(len(x)), np.exp(x - highest)


def _smallest(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    highest = x.max(axis=0)
    with np.errstate(divide="ignore"):  # log(0) where the smallest p-value is 1
        near = -np.log(-np.expm1(len(x) * np.log1p(-np.exp(-np.minimum(highest, _FAR)))))
    far = near + np.maximum(highest - _FAR, 0.0)
    return far, (x == highest).astype(np.float64)


def _cauchy(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    shift = np.maximum(x.max(axis=0) - _FAR, 0.0)  # cotangents are taken in units of exp(shift)
    near = np.minimum(np.exp(-np.minimum(x, _FAR)), _LARGEST_P)
    beyond = np.maximum(x - _FAR, 0.0)  # cot(pi p) is 1 / (pi p) so far out
    cotangent = np.exp(beyond - shift) / np.tan(np.pi * near)
    mean = cotangent.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # of what is not chosen
        fused = np.where(shift > 0, np.log(np.pi * mean) + shift, -np.log(np.arctan2(1.0, mean) / np.pi))
    return fused, np.maximum(cotangent, 0.0)


_RULES = {"fisher": _fisher, "harmonic": _harmonic, "smallest": _smallest, "cauchy": _cauchy}
