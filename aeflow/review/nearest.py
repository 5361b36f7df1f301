"""How like each flag is to the most like one that people judged, kept up to date as they go on.

100,000 flags against 2,000 judged ones take about a second, so nothing is computed twice: a new verdict costs
one pass over the flags, a word taken back only the flags that it was the most like of, a new report only its
own flags.

Legend: N flags, J judged flags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aeflow.review.catalogue import EMPTY
from aeflow.review.likeness import likeness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aeflow.review.catalogue import Catalogue

_COMPARED = 2_048
"""Judged flags, the last ones, that others are compared with."""
_SAME = 1e-5


class Nearest:
    """See the module. Not for several threads at once."""

    def __init__(self) -> None:
        self._catalogue = EMPTY
        self._judged: dict[str, NDArray[np.float32]] = {}
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
        gone = self._judged.keys() - wanted
        new = [flag for flag in wanted if flag not in self._judged]
        if gone:
            self._leave(gone)
        if new:
            vectors = catalogue.like[[catalogue.place[flag] for flag in new]]
            self._judged |= dict(zip(new, vectors, strict=True))
            self._values = np.maximum(self._values, likeness(catalogue.like, vectors))
        return self._values if self._judged else np.ones(catalogue.size, np.float32)

    def _take_over(self, catalogue: Catalogue) -> None:
        """Keep what is known of the nights that stay; judged flags that are gone bear on nothing."""
        had = {
            id(night): slice(begin, end)
            for night, begin, end in zip(
                self._catalogue.nights, self._catalogue.offsets[:-1], self._catalogue.offsets[1:], strict=True
            )
        }
        self._leave({flag for flag in self._judged if flag not in catalogue.place})
        judged = self._matrix()
        parts = [
            self._values[had[id(night)]] if id(night) in had else likeness(night.like, judged)
            for night in catalogue.nights
        ]
        self._values = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        self._catalogue = catalogue

    def _leave(self, flags: set[str]) -> None:
        like = self._catalogue.like
        lost = np.array([self._judged.pop(flag) for flag in flags], np.float32).reshape(-1, like.shape[1])
        touched = np.flatnonzero(likeness(like, lost) >= self._values - _SAME)
        self._values = self._values.copy()
        self._values[touched] = likeness(like[touched], self._matrix())

    def _matrix(self) -> NDArray[np.float32]:
        """`(J, D)`."""
        vectors = list(self._judged.values())
        return np.array(vectors, np.float32) if vectors else np.zeros((0, 0), np.float32)
