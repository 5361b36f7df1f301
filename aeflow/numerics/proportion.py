"""A share that was counted, with how sure it is."""

from __future__ import annotations

from math import sqrt

from aeflow.exceptions import InputError

_Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a proportion, within 0..1; it stays sensible for few trials and for shares of 0
    and 1. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    Raises:
        InputError: no trials, or successes outside 0..trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise InputError(f"expected 0 <= successes <= trials and a trial, got {successes} of {trials}")
    share, z2 = successes / trials, _Z95**2
    center = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z95 / (1 + z2 / trials) * sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    low = 0.0 if successes == 0 else max(center - half, 0.0)
    high = 1.0 if successes == trials else min(center + half, 1.0)
    return low, high
