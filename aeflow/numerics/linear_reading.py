"""How well a linear classifier reads a class from numbers that stand for items, such as codes.

Cross-fitted: the items are parted into folds, and each is told by a classifier that saw none of its
fold. Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016.

Legend: N items, D numbers of each, K classes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError
from aeflow.numerics.codes import CodeMoments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FOLDS = 5
_ITERATIONS = 1_000


@dataclass(frozen=True)
class LinearReading:
    """One classifier a fold. classes: `(K,)` names; weight `(F, D, K)` and offset `(F, K)` of each fold's."""

    classes: tuple[str, ...]
    moments: tuple[CodeMoments, ...]
    weight: NDArray[np.float64]
    offset: NDArray[np.float64]

    def probabilities(
        self, codes: NDArray[np.floating[Any]], fold: NDArray[np.integer[Any]]
    ) -> NDArray[np.float64]:
        """`(N, K)`, each item's by the classifier that saw none of its fold `(N,)`; NaN where the codes
        `(N, D)` are."""
        logits = np.full((len(codes), len(self.classes)), np.nan)
        for number, moments in enumerate(self.moments):
            mine = fold == number
            logits[mine] = moments.standardised(codes[mine]) @ self.weight[number] + self.offset[number]
        raised = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        shares: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
        return shares


def fit_reading(
    codes: NDArray[np.floating[Any]],
    names: Sequence[str],
    fold: NDArray[np.integer[Any]],
    *,
    unseen: NDArray[np.bool_] | None = None,
) -> LinearReading:
    """Fit a softmax on standardised codes `(N, D)` for each fold, on the items of the others.

    Args:
        codes: finite.
        names: the class of each item.
        fold: `(N,)` in 0..FOLDS - 1.
        unseen: `(FOLDS, N)` bool, items that a fold's classifier must not see either; None: its own alone.

    Raises:
        InputError: a fold's classifier would see fewer than two classes.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - a second that nobody else needs

    classes, target = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    moments: list[CodeMoments] = []
    weight = np.zeros((FOLDS, codes.shape[1], classes.size))
    offset = np.full((FOLDS, classes.size), -np.inf)
    for number in range(FOLDS):
        seen = fold != number if unseen is None else ~unseen[number] & (fold != number)
        known = np.unique(target[seen])
        if known.size < 2:
            raise InputError(
                f"expected items of two classes outside of each fifth of the items, got {int(seen.sum())} items of "
                f"{known.size}: {', '.join(classes[known][:5])}",
                remedy="Name the classes of more items, or of items further apart in time.",
            )
        moments.append(CodeMoments.none(codes.shape[1]).with_codes(codes[seen]))
        model = LogisticRegression(max_iter=_ITERATIONS)
        model.fit(moments[-1].standardised(codes[seen]), target[seen])
        if known.size == 2:  # one row: the odds of the second class against the first
            weight[number][:, known[1]], offset[number][known] = model.coef_[0], (0.0, model.intercept_[0])
        else:
            weight[number][:, known], offset[number][known] = model.coef_.T, model.intercept_
    return LinearReading(tuple(classes.tolist()), tuple(moments), weight, offset)


def folds_of_names(names: Sequence[str]) -> NDArray[np.int8]:
    """The fold of each name, `(N,)`: the same name, the same fold, whatever the others are."""
    digests = (hashlib.sha256(name.encode()).digest() for name in names)
    return np.array([int.from_bytes(digest[:8]) % FOLDS for digest in digests], dtype=np.int8)


def fold_edges(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """The times `(FOLDS - 1,)` at which folds end that hold about as many of `times` `(N,)` each."""
    ordered = np.sort(times)
    return ordered[[ordered.size * number // FOLDS for number in range(1, FOLDS)]]


def folds_of_times(times: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int8]:
    """The fold that each of `times` `(N,)` lies in, `(N,)` int8 in 0..FOLDS - 1; `edges` of `fold_edges`."""
    return np.searchsorted(edges, times, side="right").astype(np.int8)


def near_folds(times: NDArray[np.int64], edges: NDArray[np.int64], reach: int) -> NDArray[np.bool_]:
    """Which of `times` `(N,)` lie in a fold or so near that their windows reach into it, `(FOLDS, N)`.

    `edges` as of `fold_edges`; `reach` in the unit of `times`."""
    least, most = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    begins, ends = np.concatenate([[least], edges]), np.concatenate([edges, [most]])
    after = np.where(begins > least, begins - reach, least)
    before = np.where(ends < most, ends + reach, most)
    return (times >= after[:, None]) & (times <= before[:, None])
