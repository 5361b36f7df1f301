"""The Benjamini-Hochberg rule: of the flags of a batch, at most a given share is false."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aeflow.exceptions import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


STOREY_LEVEL = 0.5
"""P-values above this are taken to be those of normal items."""


def storey_null_share(n_above: int, n_tested: int) -> float:
    """The estimated share of normal items in a batch: normal items have p-values above `STOREY_LEVEL` with the
    chance `1 - STOREY_LEVEL`, abnormal ones hardly ever (Storey, Taylor & Siegmund 2004, with the one more
    that keeps the rate on few items; for conformal p-values Bates et al. 2023). It may come out above 1, and
    is left there: cut off at 1, the rate would be broken a little.

    Args:
        n_above: items of the batch with a p-value above `STOREY_LEVEL`.
        n_tested: all with a p-value.
    """
    if n_tested == 0:
        return 1.0
    return (1 + n_above) / (n_tested * (1 - STOREY_LEVEL))


def benjamini_hochberg_cut(
    p_values: NDArray[np.float64], rate: float, n_tested: int | None = None, *, null_share: float = 1.0
) -> float:
    """The p-value at or below which items are flagged, so that the share of false flags is at most
    `rate` in expectation (Benjamini & Hochberg 1995; for conformal p-values, which share their
    calibration scores, Bates et al. 2023).

    Args:
        p_values: `(N,)` of the whole batch; NaN was not tested. As no p-value above `rate` can be
            flagged, those may be left out where `n_tested` says how many there are in all.
        rate: 0..1.
        n_tested: items of the batch that have a p-value; None: those given.
        null_share: of the items that are normal, where it is estimated.

    Returns:
        `rate * k / (n_tested * null_share)`, at most `rate`, with the largest k such that k p-values are at
        or below it. With k = 0 it is that of k = 1, and nothing is flagged; `rate` where nothing was tested.

    Raises:
        InputError: `n_tested` is less than the number of p-values given.
    """
    ordered = np.sort(p_values[~np.isnan(p_values)])
    tested = ordered.size if n_tested is None else n_tested
    if tested < ordered.size:
        msg = f"n_tested must count every p-value of the batch, got {tested} for {ordered.size}"
        raise InputError(msg)
    if tested == 0:
        return rate
    limits = np.minimum(rate * np.arange(1, ordered.size + 1) / (tested * null_share), rate)
    passing = np.flatnonzero(ordered <= limits)
    return float(limits[passing[-1]]) if passing.size else min(rate / (tested * null_share), rate)


def adjusted_p_values(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest rate at which each would be found, `(N,)`, NaN where NaN: found at a rate are then those
    at or below it (Benjamini & Hochberg 1995, as adjusted p-values)."""
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    scaled = p_values[order] * tested.size / np.arange(1, tested.size + 1)
    adjusted = np.full(p_values.shape, np.nan)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
