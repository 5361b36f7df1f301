"""Isolation forest: how few random cuts part an item from the others.

Liu, Ting & Zhou 2008, "Isolation Forest", ICDM. Fitted by scikit-learn; what is kept are plain arrays, and the
scores are read off them, so that a stored forest needs neither pickle nor the version that fitted it.

Legend: N items, F features, B trees, M nodes of the largest tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.ensemble import IsolationForest as Fitter

from aeflow.exceptions import InputError
from aeflow.numerics.shapes import expect_finite, expect_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

TREES = 100
ITEMS_A_TREE = 256
"""Both as the paper recommends."""

_NAMES = ("column", "threshold", "left", "right", "depth")
_LEAF = -1
_ITEMS_AT_ONCE = 16_384


@dataclass(frozen=True, eq=False)
class IsolationForest:
    """All trees as `(B, M)` arrays: column int32, -1 in leaves; threshold float64, an item goes left with at
    most that; left, right int32, nodes of the same tree; depth float64, of leaves, with what a leaf of several
    items would have gone on. features: F. usual_depth: of an item among as many as a tree was grown of."""

    column: NDArray[np.int32]
    threshold: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    depth: NDArray[np.float64]
    features: int
    usual_depth: float

    def scores(self, items: NDArray[np.float32]) -> NDArray[np.float32]:
        """`2 ** (-mean depth / usual depth)` of items `(N, F)`, `(N,)` float32 in 0..1; higher is more
        abnormal. An item's score depends on no other.

        Raises:
            InputError: another number of features.
        """
        expect_shape("items", items, (None, self.features))
        parts = [self._scores(items[i : i + _ITEMS_AT_ONCE]) for i in range(0, len(items), _ITEMS_AT_ONCE)]
        return np.concatenate([np.empty(0, dtype=np.float32), *parts])

    def _scores(self, items: NDArray[np.float32]) -> NDArray[np.float32]:
        total = np.zeros(len(items))
        for column, threshold, left, right, depth in zip(
            self.column, self.threshold, self.left, self.right, self.depth, strict=True
        ):
            node = np.zeros(len(items), dtype=np.int32)
            inside = np.flatnonzero(column[node] != _LEAF)
            while inside.size:
                at = node[inside]
                goes_left = items[inside, column[at]] <= threshold[at]
                node[inside] = np.where(goes_left, left[at], right[at])
                inside = inside[column[node[inside]] != _LEAF]
            total += depth[node]
        return (2 ** (-total / len(self.depth) / self.usual_depth)).astype(np.float32)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Name -> array: the trees `(B, M)` each, and `sizes` `(2,)`: features and usual depth."""
        sizes = np.array([self.features, self.usual_depth])
        return {name: getattr(self, name) for name in _NAMES} | {"sizes": sizes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The forest of which `to_arrays` gave `arrays`.

        Raises:
            InputError: an array is missing.
        """
        missing = sorted({*_NAMES, "sizes"} - set(arrays))
        if missing:
            msg = f"the stored isolation forest lacks {', '.join(missing)}"
            raise InputError(msg, remedy="Train the detector again.")
        features, usual_depth = arrays["sizes"].tolist()
        return cls(**{name: arrays[name] for name in _NAMES}, features=int(features), usual_depth=usual_depth)


def fit_isolation_forest(items: NDArray[np.float32], *, seed: int) -> IsolationForest:
    """A forest grown on normal items `(N, F)`, finite; the same seed gives the same forest.

    Raises:
        InputError: fewer than two items, or one that is not finite.
    """
    expect_shape("items", items, (None, None))
    expect_finite("items", items)
    if len(items) < 2:
        msg = f"an isolation forest needs at least two normal items, got {len(items)}"
        raise InputError(msg)
    grown_of = min(ITEMS_A_TREE, len(items))
    fitter = Fitter(n_estimators=TREES, max_samples=grown_of, random_state=seed).fit(items)
    trees = [tree.tree_ for tree in fitter.estimators_]
    nodes = max(tree.node_count for tree in trees)

    def stacked(of_tree: list[NDArray[Any]], dtype: type[Any]) -> NDArray[Any]:
        whole = np.zeros((len(trees), nodes), dtype=dtype)
        for row, values in zip(whole, of_tree, strict=True):
            row[: len(values)] = values
        return whole

    leaf = [tree.children_left == _LEAF for tree in trees]
    column = [np.where(end, _LEAF, tree.feature) for end, tree in zip(leaf, trees, strict=True)]
    return IsolationForest(
        stacked(column, np.int32),
        stacked([tree.threshold for tree in trees], np.float64),
        stacked([tree.children_left for tree in trees], np.int32),
        stacked([tree.children_right for tree in trees], np.int32),
        stacked([_depths(tree) for tree in trees], np.float64),
        items.shape[1],
        float(_usual_depth(np.array([grown_of]))[0]),
    )


def _depths(tree: Any) -> NDArray[np.float64]:
    """Cuts down to each node, and what those of its items would still need on average."""
    left: NDArray[np.int64] = tree.children_left
    right: NDArray[np.int64] = tree.children_right
    depth = np.zeros(left.size)
    for node in range(left.size):  # a child has a higher number than its parent
        if left[node] != _LEAF:
            depth[left[node]] = depth[right[node]] = depth[node] + 1
    return depth + _usual_depth(tree.n_node_samples)


def _usual_depth(items: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of an item in a random tree of so many: the length of an unsuccessful search in a binary tree."""
    several = np.maximum(items, 3).astype(np.float64)
    found = 2 * (np.log(several - 1) + np.euler_gamma) - 2 * (several - 1) / several
    return np.where(items <= 1, 0.0, np.where(items == 2, 1.0, found))
