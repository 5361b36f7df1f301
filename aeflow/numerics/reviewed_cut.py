"""Where to cut after people looked at what was flagged, so that the promise is still kept.

The calibration counted false flags on normal data before any night; verdicts count them on the nights themselves.
Both are put together: the calibration counts as if it had found just what is promised, in as many batches as its
false flags make up, and each night adds its length and the flags of it that were called false.

Legend: N nights, K flags of a night.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.promise import HIGHEST_ALPHA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aeflow.numerics.calibration import Calibration

_HALVINGS = 100  # of an interval: to the last digit of a double


@dataclass(frozen=True, eq=False)
class ReviewedNight:
    """What is known of one night's flags.

    items: that were scored. alpha: the p-value at or below which they were flagged. false, undecided: `(K,)`
    float64, p-values of the flags that were called false, and of those of which nothing is decided.
    """

    items: float
    alpha: float
    false: NDArray[np.float64]
    undecided: NDArray[np.float64]


@dataclass(frozen=True)
class ReviewedCut:
    """What the nights make of the calibration's cut.

    alpha: the p-value at or below which an item is flagged. expected: false flags in a batch there; above the
    promise only where the cut may rise no further. rests_on: the number of independent flags that this is
    estimated from. promised: false flags of all these nights together. false, undecided: what came of them, at
    the cuts of those nights. nights: how many.
    """

    alpha: float
    expected: float
    rests_on: float
    promised: float
    false: int
    undecided: int
    nights: int


def reviewed_cut(
    calibration: Calibration,
    nights: Sequence[ReviewedNight],
    *,
    least: float,
    most_times: float,
    lower: bool,
) -> ReviewedCut | None:
    """The cut at which the calibration and the nights together had no more false flags than is promised; None where
    that of the calibration stays, as it does with a false-discovery rate.

    A flag of which nothing is decided counts for whatever leaves the cut where it is: as true where the cut would
    rise, as false where it would fall. So it does no harm that people look at some flags first, or at none.
    Beyond the cut of its night, where nobody looked, false flags are taken to be as many as the calibration
    expects.

    Args:
        calibration: with its own cut.
        nights: none of which is the one to be judged.
        least: the p-value below which some entity could have no flag at all.
        most_times: the p-value of the cut becomes at most so many times lower or higher.
        lower: whether the cut may fall below that of the calibration, where fewer flags were false than promised.

    Raises:
        InputError: `most_times` is less than 1.
    """
    if not most_times >= 1:
        msg = f"most_times must be at least 1, got {most_times}"
        raise InputError(msg)
    expected, rests_on, together = (
        calibration.expected_false_flags_per_batch,
        calibration.rests_on,
        calibration.together,
    )
    if expected is None or rests_on is None or together is None or not nights:
        return None
    # The calibration counts as if it had used up its promise: that one event more would have been too many says
    # nothing of the nights. Where it was too short for the promise, what it found is what can be kept.
    rate = max(calibration.promised, expected)
    counts = _Counts(calibration.alpha, rests_on * together, rate / calibration.items_per_batch, nights)
    lowest = min(calibration.alpha, max(calibration.alpha / most_times, least))
    highest = max(calibration.alpha, min(calibration.alpha * most_times, HIGHEST_ALPHA))
    decided_alone = counts.level(lowest, highest, undecided=False)
    with_undecided = counts.level(lowest, highest, undecided=True)
    if decided_alone < calibration.alpha:
        alpha, undecided = decided_alone, False
    elif lower and with_undecided > calibration.alpha:
        alpha, undecided = with_undecided, True
    else:
        return None
    came = counts.at(alpha, undecided=undecided)
    return ReviewedCut(
        alpha=alpha,
        expected=came / counts.batches(calibration.items_per_batch),
        rests_on=max(came / together, 1.0),
        promised=counts.rate * counts.items,
        false=sum(night.false.size for night in nights),
        undecided=sum(night.undecided.size for night in nights),
        nights=len(nights),
    )


class _Counts:
    """False flags of the calibration and of the nights, by the cut."""

    def __init__(self, alpha: float, flags: float, rate: float, nights: Sequence[ReviewedNight]) -> None:
        self.flags, self.rate, self._alpha, self._nights = flags, rate, alpha, nights
        self.items = float(sum(night.items for night in nights))

    def batches(self, items_per_batch: float) -> float:
        """The length of the calibration and of the nights."""
        return self.flags / (self.rate * items_per_batch) + self.items / items_per_batch

    def at(self, level: float, *, undecided: bool) -> float:
        """How many there are where items with a p-value of at most `level` are flagged."""
        came = 0.0
        for night in self._nights:
            came += float(np.count_nonzero(night.false <= level))
            came += float(np.count_nonzero(night.undecided <= level)) if undecided else 0.0
            came += self.rate * night.items * max(0.0, level - night.alpha) / self._alpha
        return self.flags * level / self._alpha + came

    def level(self, lowest: float, highest: float, *, undecided: bool) -> float:
        """The highest level between two at which there are no more than promised; `lowest` where there are more
        everywhere."""
        allowed = self.flags + self.rate * self.items
        kept, broken = lowest, highest
        if self.at(broken, undecided=undecided) <= allowed:
            return broken
        for _ in range(_HALVINGS):
            middle = kept + (broken - kept) / 2
            if self.at(middle, undecided=undecided) <= allowed:
                kept = middle
            else:
                broken = middle
        return kept
