"""Which channels a score is put down to, found by scoring the same stretch again with channels held.

Parts of the error say where it lies, not what caused it: a channel that is off makes a model expect the wrong
things of the others, and a score that is smoothed or whitened spreads it further. So the stretch is scored again
as it would have been, had one channel stayed at its level, and had one channel alone done what it did.

Legend: L grid points, C channels, M channels that moved, V = 2 M + 2 variants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray


def level_of(
    values: NDArray[np.floating[Any]], observed: NDArray[np.bool_], otherwise: NDArray[np.floating[Any]]
) -> NDArray[np.float32]:
    """The level that each channel stood at, `(C,)` float32: the median of its observed values `(L, C)`; where
    there is none, that of `otherwise` `(C,)`."""
    expect_shape("values", values, (None, None))
    expect_shape("observed", observed, values.shape)
    expect_shape("otherwise", otherwise, values.shape[1:])
    level = np.array(otherwise, dtype=np.float32)
    for channel, seen in enumerate(observed.T):
        if seen.any():
            level[channel] = np.median(values[seen, channel])
    return level


def held_variants(
    values: NDArray[np.float32], level: NDArray[np.floating[Any]], first: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A stretch `(L, C)` as it might have been, had channels stood still from point `first` on.

    Returns:
        variants `(V, L, C)`: as it was; all channels held at their `level` `(C,)`; then for each channel that moved
        that one alone held; then for each that one alone not held. NaN stay.
        moved: `(M,)` the numbers of the channels that did not stand at their level.

    Raises:
        InputError: shapes that do not fit, or a first point outside the stretch.
    """
    expect_shape("values", values, (None, None))
    expect_shape("level", level, values.shape[1:])
    if not 0 <= first < len(values):
        msg = f"first must be a point of the stretch of {len(values)}, got {first}"
        raise InputError(msg)
    held = values.copy()
    held[first:] = np.where(np.isnan(values[first:]), values[first:], level)
    moved = np.flatnonzero(((held != values) & ~np.isnan(values)).any(axis=0))
    count = moved.size
    variants = np.empty((2 * count + 2, *values.shape), dtype=values.dtype)
    variants[0], variants[1] = values, held
    variants[2 : count + 2], variants[count + 2 :] = values, held
    for number, channel in enumerate(moved.tolist()):
        variants[2 + number, :, channel] = held[:, channel]
        variants[2 + count + number, :, channel] = values[:, channel]
    return variants, moved


def causal_shares(
    scores: NDArray[np.floating[Any]], moved: NDArray[np.int64], parts: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """What part of a score is put down to each channel, `(C,)` float64, not negative, summing to 1.

    Half of it in proportion to how far the score falls when one channel alone is held, half in proportion to how
    far it rises from that of the stretch at rest when one channel alone does what it did. The first names the
    one channel that is off among others that do as usual; it alone would fail where many are off together, since
    to put one of them back makes the rest more odd. They are the first and the last step of a Shapley value; for
    a score that is a quadratic form, such as that of a linear model, their plain mean would be the whole of it. Taken
    each by itself, a channel that moves with others is not lost among them.

    Args:
        scores: `(V,)` of `held_variants`.
        moved: `(M,)` as returned there.
        parts: `(C,)` additive parts of the score, which decide where holding changes nothing, or where a score is
            not a number; those below 0 count as 0.

    Raises:
        InputError: shapes that do not fit.
    """
    expect_shape("scores", scores, (2 * moved.size + 2,))
    expect_shape("parts", parts, (None,))
    found = np.zeros(parts.size)
    as_it_was, at_rest, *_ = values = scores.astype(np.float64)
    one_held, one_moved = np.split(values[2:], 2)
    for change in (as_it_was - one_held, one_moved - at_rest):
        rise = np.maximum(change, 0.0)
        total = float(rise.sum())
        if np.isfinite(total) and total > 0:
            found[moved] += rise / total
    if not found.any():
        found = np.maximum(np.nan_to_num(parts.astype(np.float64)), 0.0)
    total = float(found.sum())
    return found / total if total > 0 else np.full(parts.size, 1 / parts.size)
