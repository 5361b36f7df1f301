"""What lies far outside the bulk of some scores, whatever that bulk is.

Legend: N scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPREADS = 3.0


def outer_fence(scores: NDArray[np.floating[Any]]) -> float:
    """Tukey's outer fence: the upper quartile of `scores` `(N,)` and three times the distance of the quartiles above it
    (Exploratory Data Analysis, 1977). Up to a quarter of them may be abnormal before they move it. NaN is left out;
    infinity where there is nothing else."""
    known = scores[np.isfinite(scores)]
    if not known.size:
        return float("inf")
    lower, upper = np.quantile(known, [0.25, 0.75])
    return float(upper + _SPREADS * (upper - lower))
