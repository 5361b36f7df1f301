"""How close a picture is to the one it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# That of an 8-bit image whose every pixel is right to a hundredth of a level: without it, equal images
# would be infinitely good, and so would be a mean over some that hold one.
_MOST_DB = 88.0


def psnr(mean_squared_error: NDArray[np.floating[Any]], *, peak: float = 1.0) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio in dB, `10 log10(peak^2 / MSE)`, at most 88, float64 of the shape of
    `mean_squared_error`; NaN stays NaN.

    Args:
        mean_squared_error: of each image, any shape.
        peak: the largest value there may be.
    """
    error = np.asarray(mean_squared_error, dtype=np.float64)
    with np.errstate(divide="ignore"):
        found: NDArray[np.float64] = 10 * np.log10(peak**2 / error)
    return np.minimum(found, _MOST_DB)
