"""How far a channel may lie from what is expected before that is a flag: the band that a plot shows.

Legend: C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SeriesError = Literal["mse", "mae", "huber"]

_HIGHEST_SCORE = 1e30
_HALVINGS = 60  # from there down to the rounding of a double


def score_at(p_values: Callable[[NDArray[np.float64]], NDArray[np.float64]], cut: float) -> float:
    """The lowest score whose p-value is at most `cut`; NaN where no score is that rare.

    Args:
        p_values: of scores `(N,)`, never rising with the score, as `Calibration.p_values`.
        cut: a p-value in (0, 1].
    """

    def flagged(score: float) -> bool:
        return bool(p_values(np.array([score]))[0] <= cut)

    if not flagged(_HIGHEST_SCORE):
        return float("nan")
    if flagged(0.0):
        return 0.0
    # In powers of ten first: scores spread over many of them.
    low, high = -30.0, np.log10(_HIGHEST_SCORE)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if flagged(10.0**middle) else (middle, high)
    return float(10.0**high)


def tolerance(
    score: float, spread: NDArray[np.floating[Any]], scale: NDArray[np.floating[Any]], error: SeriesError
) -> NDArray[np.float32]:
    """How far `(C,)`, in the channel's unit, each channel lies from what is expected where all of them make
    up the score alike. A score is a mean over channels (see `reconstruction_error.series_scores`), so that of
    an item with a higher one at least one channel lies farther off; with one channel this is the very cut.
    Where scores are smoothed over points, that holds for the points together and not for each.

    Args:
        score: at the cut.
        spread: `(C,)`, roots of the usual errors in scaled units.
        scale: `(C,)`, of a scaled unit in the channel's own.
        error: of which the spread is the root.
    """
    each = score * np.square(spread, dtype=np.float64)
    if error == "mse":
        scaled = np.sqrt(each)
    elif error == "mae":
        scaled = each
    else:  # a square up to 1, a line from there on
        scaled = np.where(each <= 0.5, np.sqrt(2 * each), each + 0.5)
    return np.asarray(scaled * scale, dtype=np.float32)
