"""The Benjamini-Hochberg rule: of the flags of a batch, at most a given share is false."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aeflow.exceptions import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def benjamini_hochberg_cut(p_values: NDArray[np.float64], rate: float, n_tested: int | None = None) -> float:
    """The p-value at or below which items are flagged, so that the share of false flags is at most
    `rate` in expectation (Benjamini & Hochberg 1995; for conformal p-values, which share their
    calibration scores, Bates et al. 2023).

    Args:
        p_values: `(N,)` of the whole batch; NaN was not tested. As no p-value above `rate` can be
            flagged, those may be left out where `n_tested` says how many there are in all.
        rate: 0..1.
        n_tested: items of the batch that have a p-value; None: those given.

    Returns:
        `rate * k / n_tested` with the largest k such that k p-values are at or below it. With k = 0 it
        is `rate / n_tested`, and nothing is flagged; `rate` where nothing was tested.

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
    limits = rate * np.arange(1, ordered.size + 1) / tested
    passing = np.flatnonzero(ordered <= limits)
    return float(limits[passing[-1]]) if passing.size else rate / tested


def adjusted_p_values(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest rate at which each would be found, `(N,)`, NaN where NaN: found at a rate are then those
    at or below it (Benjamini & Hochberg 1995, as adjusted p-values)."""
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    scaled = p_values[order] * tested.size / np.arange(1, tested.size + 1)
    adjusted = np.full(p_values.shape, np.nan)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
