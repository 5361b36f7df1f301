"""How like each flag is to the most like one of its entity that people judged, kept up to date as they go on.

100,000 flags against 2,000 judged ones take about a second, so nothing is computed twice: a new verdict costs
one pass over the flags, a word taken back only the flags that it was the most like of, a new report only its
own flags.

Legend: N flags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aeflow.review.catalogue import EMPTY
from aeflow.review.likeness import Marks, likeness_to_nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aeflow.numerics.likeness import Bounds
    from aeflow.review.catalogue import Catalogue

_COMPARED = 2_048
"""Judged flags, the last ones, that others are compared with."""
_SAME = 1e-5


class Nearest:
    """See the module. Not for several threads at once."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._catalogue = EMPTY
        self._judged: list[str] = []
        self._values = np.zeros(0, np.float32)

    def to_judged(self, catalogue: Catalogue, judged: Sequence[str]) -> NDArray[np.float32]:
        """`(N,)` how like each flag is to the most like of the judged ones, of which the last count; 1 while
        there is none: then no flag is less known than another. The array is not to be written to.

        Args:
            catalogue: of all flags.
            judged: ids of flags of it, the latest word last.
        """
        wanted = judged[-_COMPARED:]
        if catalogue is not self._catalogue:
            self._take_over(catalogue)
        self._leave(set(self._judged) - set(wanted))
        known = set(self._judged)
        new = [flag for flag in wanted if flag not in known]
        if new:
            self._judged += new
            self._values = np.maximum(self._values, self._likeness(catalogue.like, _marks(catalogue, new)))
        return self._values if self._judged else np.ones(catalogue.size, np.float32)

    def _take_over(self, catalogue: Catalogue) -> None:
        """Keep what is known of the nights that stay; judged flags that are gone bear on nothing."""
        self._leave({flag for flag in self._judged if flag not in catalogue.place})
        before = self._catalogue
        had = {
            id(night): slice(begin, end)
            for night, begin, end in zip(before.nights, before.offsets[:-1], before.offsets[1:], strict=True)
        }
        judged = _marks(catalogue, self._judged)
        parts = [
            self._values[had[id(night)]]
            if id(night) in had
            else self._likeness(catalogue.like.at(slice(begin, end)), judged)
            for night, begin, end in zip(
                catalogue.nights, catalogue.offsets[:-1], catalogue.offsets[1:], strict=True
            )
        ]
        self._values = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        self._catalogue = catalogue

    def _leave(self, flags: set[str]) -> None:
        """Those flags are judged no longer: what they were the most like of is computed anew."""
        if not flags:
            return
        like = self._catalogue.like
        self._judged = [flag for flag in self._judged if flag not in flags]
        lost = self._likeness(like, _marks(self._catalogue, sorted(flags)))
        touched = np.flatnonzero(lost >= self._values - _SAME)
        self._values = self._values.copy()
        self._values[touched] = self._likeness(like.at(touched), _marks(self._catalogue, self._judged))

    def _likeness(self, of: Marks, to: Marks) -> NDArray[np.float32]:
        return likeness_to_nearest(of, to, self._bounds)


def _marks(catalogue: Catalogue, flags: Sequence[str]) -> Marks:
    return catalogue.like.at(np.array([catalogue.place[flag] for flag in flags], dtype=np.int64))
