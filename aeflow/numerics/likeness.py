"""Whether two flags show the same thing: how far apart their codes lie, and whether the same channels or
the same place caused them.

Legend: N items, D numbers of a code, S numbers of a signature, P precedents, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.codes import CodeMoments
from aeflow.numerics.shapes import expect_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGNATURE_SIZE = 64
"""Longer codes are sketched into so many numbers."""
_FAR = 1e6
"""A number of a code that lies so many deviations off counts as just that far: squares stay finite."""
_USUAL_PAIRS = 0.95
Box = tuple[int, int, int, int]
"""x, y of the top left pixel, width, height."""


@dataclass(frozen=True, eq=False)
class CodeSpace:
    """What is usual of the codes of normal items, so that a distance between two codes means something.

    center, scale: `(D,)` float32; a scale of 0 stands for a number that does not vary, and is passed over.
    radius: so far apart, in deviations, or nearer lie 95 % of the pairs of normal items. What happens twice
        happens before two such backgrounds.
    """

    center: NDArray[np.float32]
    scale: NDArray[np.float32]
    radius: float

    def signatures(self, codes: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Codes `(N, D)` as `(N, S)` float32, whose Euclidean distances are in units of `radius`.

        Codes of more than `SIGNATURE_SIZE` numbers are sketched: each number is added, with a sign, to one
        of the places, which keeps distances on average. Weinberger, Dasgupta, Langford, Smola and
        Attenberg, "Feature hashing for large scale multitask learning", 2009.

        Raises:
            InputError: codes of another length.
        """
        expect_shape("codes", codes, (None, self.center.size))
        varies = self.scale > 0
        apart = (codes - self.center) / np.where(varies, self.scale, 1)
        apart = np.where(varies, np.clip(np.nan_to_num(apart), -_FAR, _FAR), 0.0)
        return (_sketched(apart.astype(np.float64)) / self.radius).astype(np.float32)


def fit_code_space(codes: NDArray[np.floating[Any]]) -> CodeSpace:
    """The space of the codes `(N, D)` of normal items that lie apart in time; a few hundred are enough.

    Raises:
        InputError: no codes.
    """
    expect_shape("codes", codes, (None, None))
    if not len(codes):
        raise InputError("expected codes of normal items to learn their distances from, got none")
    moments = CodeMoments.none(codes.shape[1]).with_codes(codes)
    flat = moments.standardised(moments.mean[np.newaxis] + 1.0)[0] == 0
    scale = np.where(flat, 0.0, np.sqrt(moments.variance)).astype(np.float32)
    space = CodeSpace(moments.mean.astype(np.float32), scale, 1.0)
    signatures = space.signatures(codes).astype(np.float64)
    squares = np.square(signatures).sum(axis=1)
    between = squares[:, np.newaxis] + squares - 2 * signatures @ signatures.T
    pairs = between[np.triu_indices(len(codes), 1)]
    radius = float(np.sqrt(max(np.quantile(pairs, _USUAL_PAIRS), 0.0))) if pairs.size else 0.0
    # All normal items have the same code: any other one is far away.
    return CodeSpace(space.center, space.scale, radius or 1.0)


def direction(
    contributions: NDArray[np.floating[Any]], deviation: NDArray[np.floating[Any]] | None = None
) -> NDArray[np.float64]:
    """Which channels caused a score, and which way they went, `(..., C)` of length 1: the roots of the
    contributions, so that the cosine of two directions weighs channels by their shares.

    Args:
        contributions: `(..., C)`; those below 0 count as 0.
        deviation: `(..., C)`, observed minus expected; its sign counts where it is known. None: no sign.
    """
    roots = np.sqrt(np.maximum(contributions, 0.0, dtype=np.float64))
    if deviation is not None:
        roots = np.where(np.nan_to_num(deviation) < 0, -roots, roots)
    length = np.linalg.norm(roots, axis=-1, keepdims=True)
    return np.asarray(roots / np.where(length > 0, length, 1.0))


def overlap(one: Box, other: Box) -> float:
    """The share of the smaller box that lies in the other, 0..1."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    smaller = min(one[2] * one[3], other[2] * other[3])
    return max(width, 0) * max(height, 0) / smaller if smaller > 0 else 0.0


def _sketched(values: NDArray[np.float64]) -> NDArray[np.float64]:
    size = values.shape[1]
    if size <= SIGNATURE_SIZE:
        return values
    generator = np.random.default_rng(0)
    sign = generator.integers(0, 2, size) * 2.0 - 1.0
    place = generator.permutation(size) % SIGNATURE_SIZE
    sketch = np.zeros((SIGNATURE_SIZE, len(values)))
    np.add.at(sketch, place, (values * sign).T)
    return sketch.T
