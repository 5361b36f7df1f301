"""Means over seeds and groups, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """mean: over groups, of their means over seeds. deviation: between seeds, within a group. low, high:
    95 % interval of the mean. The last three are None with one seed."""

    mean: float
    deviation: float | None
    low: float | None
    high: float | None


def estimate(values: Mapping[str, Sequence[float]]) -> Estimate:
    """The mean of figures and its interval over seeds.

    Groups, such as the ten classes of a data set, are all there are: only seeds are drawn. So the variance
    of the mean is the sum of those of the groups' means over the number of groups squared; its interval is
    Student's, with the degrees of freedom of Satterthwaite, "An approximate distribution of estimates of
    variance components", 1946. With one group it is the plain interval over seeds.

    Args:
        values: group -> its figure for each seed.
    """
    groups = [np.asarray(v, dtype=np.float64) for v in values.values()]
    mean = float(np.mean([g.mean() for g in groups]))
    if min(len(g) for g in groups) < 2:
        return Estimate(mean, None, None, None)
    variances = np.array([g.var(ddof=1) for g in groups])
    parts = variances / np.array([len(g) for g in groups]) / len(groups) ** 2
    total = float(parts.sum())
    deviation = float(np.sqrt(variances.mean()))
    if total == 0:
        return Estimate(mean, deviation, mean, mean)
    freedom = total**2 / float((parts**2 / np.array([len(g) - 1 for g in groups])).sum())
    half = float(t.ppf((1 + _LEVEL) / 2, freedom)) * total**0.5
    return Estimate(mean, deviation, mean - half, mean + half)
