"""Quantiles of any number of scores in fixed memory, whatever portions they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aeflow.exceptions import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The upper 20 of a float32's 32 bits are sign, exponent and 11 bits of the mantissa: a bin is at most
# 1/2048 of its value wide, and all bins together are 8 MB.
_SHIFT = 12
_SIGN = np.uint32(1 << 31)


class ScoreCounts:
    """Counts scores in bins that are as fine as float32 itself is, in proportion.

    Attributes:
        n: scores so far, NaN not counted.
        minimum, maximum: exact; NaN before any score.
    """

    def __init__(self) -> None:
        self.n = 0
        self.minimum = float("nan")
        self.maximum = float("nan")
        self._counts = np.zeros(1 << (32 - _SHIFT), dtype=np.int64)

    def feed(self, scores: NDArray[np.floating]) -> None:
        """Take in `(N,)` scores; NaN are left out."""
        known = scores[~np.isnan(scores)].astype(np.float32)
        if known.size == 0:
            return
        self.n += known.size
        self.minimum = float(np.fmin(self.minimum, known.min()))
        self.maximum = float(np.fmax(self.maximum, known.max()))
        self._counts += np.bincount(_ordered(known) >> _SHIFT, minlength=self._counts.size)

    def quantile(self, share: float) -> float:
        """The smallest score that at least this share 0..1 of all are not above, to 1/2048 of its value.

        Raises:
            InputError: no score was fed, or the share is outside 0..1.
        """
        if self.n == 0 or not 0 <= share <= 1:
            msg = f"expected scores and a share within 0..1, got {self.n} scores and a share of {share}"
            raise InputError(msg)
        rank = max(int(np.ceil(share * self.n)), 1)
        place = int(np.searchsorted(np.cumsum(self._counts), rank))
        middle = np.array([(place << _SHIFT) | (1 << (_SHIFT - 1))], dtype=np.uint32)
        return float(np.clip(np.float64(_from_ordered(middle)[0]), self.minimum, self.maximum))


def _ordered(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Whole numbers in the order of the values: negative ones have all bits turned, others the sign."""
    bits = values.view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _from_ordered(bits: NDArray[np.uint32]) -> NDArray[np.float32]:
    values: NDArray[np.float32] = (
        np.where(bits & _SIGN, bits & ~_SIGN, ~bits).astype(np.uint32).view(np.float32)
    )
    return values
