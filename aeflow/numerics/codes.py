"""Sets of codes: their moments, how many of their numbers are used, which lie close together.

Legend: N items, D numbers of a code, Q queries, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", 2016, appendix C.
_ACTIVE_VARIANCE = 0.01
# Where a code has no scale of its own, the same share of its largest variance.
_ACTIVE_SHARE = 0.01
_CONSTANT = 1e-12  # of the largest variance: below it a number does not vary, but for rounding


@dataclass(frozen=True)
class CodeMoments:
    """Count, mean `(D,)` and sum of squared deviations `(D,)` of codes, float64, gathered in portions."""

    count: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def none(cls, code_size: int) -> CodeMoments:
        """Moments of no codes yet, of `code_size` numbers each."""
        return cls(0, np.zeros(code_size), np.zeros(code_size))

    def with_codes(self, codes: NDArray[np.floating[Any]]) -> CodeMoments:
        """The moments of all codes so far together with `codes` `(N, D)`, which must be finite. Chan, Golub and LeVeque, "Algorithms for computing the
        sample variance", 1983."""
        if not len(codes):
            return self
        wide = codes.astype(np.float64)
        mean = wide.mean(axis=0)
        squares = np.square(wide - mean).sum(axis=0)
        count = self.count + len(wide)
        apart = mean - self.mean
        return CodeMoments(
            count,
            self.mean + apart * len(wide) / count,
            self.squares + squares + np.square(apart) * self.count * len(wide) / count,
        )

    @property
    def variance(self) -> NDArray[np.float64]:
        """Of each number of the codes, `(D,)`, divided by their count; zeros while there are none."""
        return self.squares / max(self.count, 1)

    def standardised(self, codes: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """`codes` `(N, D)` brought to mean 0 and variance 1, `(N, D)` float64; numbers that do not vary become 0."""
        variance = self.variance
        varies = variance > _CONSTANT * max(float(variance.max(initial=0.0)), np.finfo(np.float64).tiny)
        deviation = np.sqrt(np.where(varies, variance, 1.0))
        found: NDArray[np.float64] = np.where(varies, (codes - self.mean) / deviation, 0.0)
        return found


def active_units(variance: NDArray[np.float64], *, variational: bool) -> int:
    """How many numbers of a code carry something, by their variances `(D,)` over items.

    variational: the variance of the mean code is over 0.01, the code's prior having 1 (Burda et al.,
    2016); else it is over 1 % of the largest.
    """
    largest = float(variance.max(initial=0.0))
    least = _ACTIVE_VARIANCE if variational else _ACTIVE_SHARE * largest
    return int((variance > least).sum())


@dataclass(frozen=True)
class Nearest:
    """For each of Q queries the rows `(Q, K)` int64 of the nearest codes and their distances `(Q, K)`,
    nearest first, of equal ones the first row; -1 and infinity where there are fewer than K."""

    row: NDArray[np.int64]
    distance: NDArray[np.float64]

    @classmethod
    def none(cls, queries: int, count: int) -> Nearest:
        """Nothing found yet."""
        return cls(np.full((queries, count), -1, dtype=np.int64), np.full((queries, count), np.inf))

    def with_codes(
        self, queries: NDArray[np.float64], codes: NDArray[np.float64], rows: NDArray[np.int64]
    ) -> Nearest:
        """The nearest among these and codes `(N, D)` at `rows` `(N,)`, by Euclidean distance from
        queries `(Q, D)`."""
        count = self.row.shape[1]
        row, distance = self.row.copy(), self.distance.copy()
        for number, query in enumerate(queries):
            away = np.sqrt(np.square(codes - query).sum(axis=1))
            near = np.flatnonzero(away <= distance[number, -1])
            together = np.concatenate([self.row[number], rows[near]])
            apart = np.concatenate([self.distance[number], away[near]])
            best = np.lexsort((together, apart))[:count]
            row[number], distance[number] = together[best], apart[best]
        return Nearest(row, distance)
