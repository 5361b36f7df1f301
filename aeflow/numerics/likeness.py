"""Whether two flags show the same thing: how far apart their codes lie, and whether the same channels or
the same place caused them.

Legend: N items, D numbers of a code, S numbers of a signature, M networks, C channels.
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
_FEWEST = 10
ALIKE = 0.5
"""From this `likeness` on two flags show the same thing."""
Box = tuple[int, int, int, int]
"""x, y of the top left pixel, width, height."""


@dataclass(frozen=True, eq=False)
class CodeSpace:
    """What is usual of the codes of normal items, so that a distance between two codes means something.

    center, scale: `(M, D)` float32, of each of M networks; a scale of 0 stands for a number that does not
        vary, and is passed over.
    radius: so far apart, in deviations, or nearer lie 95 % of the pairs of normal items of one network. What
        happens twice happens before two such backgrounds.
    """

    center: NDArray[np.float32]
    scale: NDArray[np.float32]
    radius: float

    def signatures(
        self, codes: NDArray[np.floating[Any]], member: NDArray[np.integer[Any]] | None = None
    ) -> NDArray[np.float32]:
        """Codes `(N, D)` as `(N, S)` float32, whose Euclidean distances are in units of `radius`. member: `(N,)`
        the network of each; None: all of the first.

        Codes of more than `SIGNATURE_SIZE` numbers are sketched: each number is added, with a sign, to one
        of the places, which keeps distances on average. Weinberger, Dasgupta, Langford, Smola and
        Attenberg, "Feature hashing for large scale multitask learning", 2009.

        Raises:
            InputError: codes of another length.
        """
        expect_shape("codes", codes, (None, self.center.shape[1]))
        own = np.zeros(len(codes), dtype=np.int64) if member is None else member
        center, scale = self.center[own], self.scale[own]
        varies = scale > 0
        apart = (codes - center) / np.where(varies, scale, 1)
        apart = np.where(varies, np.clip(np.nan_to_num(apart), -_FAR, _FAR), 0.0)
        return (_sketched(apart.astype(np.float64)) / self.radius).astype(np.float32)


def fit_code_space(
    codes: NDArray[np.floating[Any]], member: NDArray[np.integer[Any]] | None = None, n_members: int = 1
) -> CodeSpace:
    """The space of the codes `(N, D)` of normal items that lie apart in time; a few hundred of each network are
    enough. A network with fewer than ten takes the moments of all.

    Args:
        codes: of normal items.
        member: `(N,)` the network of each; None: all of one.
        n_members: M.

    Raises:
        InputError: no codes.
    """
    expect_shape("codes", codes, (None, None))
    if not len(codes):
        raise InputError("expected codes of normal items to learn their distances from, got none")
    own = np.zeros(len(codes), dtype=np.int64) if member is None else np.asarray(member, dtype=np.int64)
    order = np.argsort(own, kind="stable")
    bounds = np.searchsorted(own[order], np.arange(n_members + 1))
    groups = np.split(order, bounds[1:-1])
    of_all = _moments(codes)
    moments = [_moments(codes[group]) if len(group) >= _FEWEST else of_all for group in groups]
    center, scale = (np.stack(parts).astype(np.float32) for parts in zip(*moments, strict=True))
    space = CodeSpace(center, scale, 1.0)
    signatures = space.signatures(codes, own).astype(np.float64)
    pairs = np.concatenate([_squares_between(signatures[group]) for group in groups])
    radius = float(np.sqrt(max(np.quantile(pairs, _USUAL_PAIRS), 0.0))) if pairs.size else 0.0
    # All normal items have the same code: any other one is far away.
    return CodeSpace(center, scale, radius or 1.0)


def _moments(codes: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation `(D,)` of codes; the deviation is 0 where they do not vary, but for rounding."""
    moments = CodeMoments.none(codes.shape[1]).with_codes(codes)
    flat = moments.standardised(moments.mean[np.newaxis] + 1.0)[0] == 0
    return moments.mean, np.where(flat, 0.0, np.sqrt(moments.variance))


def _squares_between(signatures: NDArray[np.float64]) -> NDArray[np.float64]:
    """The squared distance of each pair."""
    squares = np.square(signatures).sum(axis=1)
    between = squares[:, np.newaxis] + squares - 2 * signatures @ signatures.T
    return np.asarray(between[np.triu_indices(len(signatures), 1)])


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


def overlap(one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The share of the smaller box that lies in the other, `(...)` in 0..1, of boxes `(..., 4)`: x, y of the top left
    pixel, width, height. NaN where a box is NaN."""
    together, smaller = np.float64(1), np.minimum(one[..., 2] * one[..., 3], other[..., 2] * other[..., 3])
    for begin, size in ((0, 2), (1, 3)):
        first = np.maximum(one[..., begin], other[..., begin])
        last = np.minimum(one[..., begin] + one[..., size], other[..., begin] + other[..., size])
        together = together * np.maximum(last - first, 0)
    return np.asarray(together / np.where(smaller > 0, smaller, 1))


@dataclass(frozen=True)
class Bounds:
    """Up to where two flags show the same thing.

    reach: so far apart may their codes lie, in units of `CodeSpace.radius`. least_agreement: the least cosine of
    their directions. least_overlap: the least share of the smaller worst box that lies in the other.
    """

    reach: float
    least_agreement: float
    least_overlap: float


def likeness(
    bounds: Bounds,
    agreement: NDArray[np.floating[Any]],
    distance: NDArray[np.floating[Any]],
    shared: NDArray[np.floating[Any]],
) -> NDArray[np.float64]:
    """How like flags are, 0..1: from `ALIKE` on they show the same thing. The least of what their directions, their
    codes and their worst boxes say, each of which is `ALIKE` at its bound and 1 where nothing differs.

    Args:
        bounds: of the pipeline.
        agreement: the cosine of the directions.
        distance: of the signatures; NaN where they cannot be compared, and say nothing.
        shared: the `overlap` of the worst boxes; NaN where there are none.
    """
    near = 1 / (1 + distance / bounds.reach)
    parts = (_beyond(bounds.least_agreement, agreement), near, _beyond(bounds.least_overlap, shared))
    return np.asarray(np.fmin(np.fmin(parts[0], parts[1]), parts[2]))


def _beyond(bound: float, value: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """A value of 0..1 on a scale where the bound is `ALIKE`; what is less than nothing counts as nothing."""
    above = ALIKE + (1 - ALIKE) * (value - bound) / (1 - bound) if bound < 1 else ALIKE
    below = ALIKE * value / bound if bound > 0 else 0 * value
    return np.clip(np.where(value >= bound, above, below), 0, 1)


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
