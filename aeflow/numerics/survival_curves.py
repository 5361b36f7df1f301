"""How rare a score is among the held-out scores of its entity, as one smooth curve a row: what fusing is done by.

A calibration answers the same from every score it was given, and in steps. Here two scores that differ must not come
out alike, however high they are, and a thousand entities have a row each: so quantiles up to the tail, straight
lines between them, and a generalised Pareto tail that never ends.

Legend: N scores, E entities, Q numbers of a curve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.numerics.shapes import expect_entities, expect_shape
from aeflow.numerics.tail import fit_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

BODY = 32
"""Steps between score 0, which is never rare, and the start of the tail; as many numbers begin a curve."""
_START, _SHARE, _SCALE, _SHAPE = range(BODY, BODY + 4)
OWN_SCORES = 500
"""With fewer an entity's tail is a guess, and that of all stands in."""
_LEAST_SHARE = 0.01
"""Of the scale of all scores together: an entity whose scores hardly differ would find the next one infinitely rare."""


def fit_survival_curves(
    scores: NDArray[np.floating[Any]], entity: NDArray[np.integer[Any]], n_entities: int
) -> NDArray[np.float64]:
    """The curve of each entity, `(E + 1, Q)`; the last is of all together, and of those with fewer than `OWN_SCORES`.

    A curve holds the `BODY` scores that are reached with chances in even steps from 1 down to that of the tail, then of
    the tail (`tail.fit_tail`) start, share, scale and shape. Shapes below 0 are taken as 0: a tail that ends would call
    all beyond its end equally rare.

    Args:
        scores: `(N,)` held-out, not negative; NaN are left out.
        entity: `(N,)` codes 0 .. n_entities - 1.
        n_entities: E.

    Raises:
        InputError: shapes or codes that do not fit.
    """
    expect_shape("scores", scores, (None,))
    expect_shape("entity", entity, scores.shape)
    expect_entities(entity, n_entities)
    known = np.isfinite(scores)
    values, entity = scores[known].astype(np.float64), entity[known]
    pooled = _curve(values, least_scale=0.0)
    curves = np.tile(pooled, (n_entities + 1, 1))
    for code in np.flatnonzero(np.bincount(entity, minlength=n_entities) >= OWN_SCORES).tolist():
        curves[code] = _curve(values[entity == code], least_scale=_LEAST_SHARE * float(pooled[_SCALE]))
    return curves


def rarity(
    scores: NDArray[np.floating[Any]], curves: NDArray[np.float64], code: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """-log of the chance of a score at least this high, `(N,)`, not negative, rising with the score; NaN for NaN.

    Args:
        scores: `(N,)`.
        curves: `(E + 1, Q)` of `fit_survival_curves`.
        code: `(N,)` row of each score; -1 is the last.
    """
    found = np.empty(scores.shape, dtype=np.float64)
    for row in np.unique(code).tolist():
        mine = code == row
        found[mine] = _rarity(scores[mine].astype(np.float64), curves[row])
    found[scores <= 0] = 0.0  # however many of the held-out ones were 0
    return found


def score_of_rarity(rare: float, curve: NDArray[np.float64]) -> float:
    """The score that is so `rare` by a curve `(Q,)`: the inverse of `rarity`."""
    at_start = -np.log(curve[_SHARE])
    if not rare > at_start:  # NaN stays
        chance = np.linspace(1.0, curve[_SHARE], BODY + 1)
        return float(np.interp(-np.exp(-rare), -chance, _body(curve)))
    excess, shape = rare - at_start, curve[_SHAPE]
    return float(curve[_START] + curve[_SCALE] * (np.expm1(shape * excess) / shape if shape else excess))


def _rarity(scores: NDArray[np.float64], curve: NDArray[np.float64]) -> NDArray[np.float64]:
    chance = np.linspace(1.0, curve[_SHARE], BODY + 1)
    body = -np.log(np.interp(scores, _body(curve), chance))
    excess = np.maximum(scores - curve[_START], 0.0) / curve[_SCALE]
    shape = curve[_SHAPE]
    return np.asarray(body + (np.log1p(shape * excess) / shape if shape else excess))


def _body(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    return curve[: BODY + 1]  # the last step ends where the tail starts


def _curve(scores: NDArray[np.float64], *, least_scale: float) -> NDArray[np.float64]:
    tail = fit_tail(scores, 1.0) if scores.size else None
    if tail is not None:
        start, share, scale, shape = tail.start, tail.share, tail.scale, max(tail.shape, 0.0)
    else:  # the highest scores do not differ
        highest = float(scores.max(initial=0.0))
        start, share = highest, float((1 + np.count_nonzero(scores >= highest)) / (scores.size + 1))
        scale, shape = highest, 0.0
    below = scores[scores < start]
    steps = np.arange(1, BODY) / BODY
    body = np.quantile(below, steps) if below.size else start * steps
    tiny = float(np.finfo(np.float32).tiny)
    tail_numbers = [start, min(share, 1.0), max(scale, least_scale, tiny), shape]
    return np.concatenate([[0.0], body, tail_numbers])
