"""Who trains, who stops the training, who calibrates, who tests: nothing has two of these jobs.

Images are shared out by whole groups, drawn by the seed; series in consecutive blocks of time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from aeflow.config import Split

PARTS = ("train", "validation", "calibration", "test")
"""Names of the part codes 0 to 3."""
TRAIN, VALIDATION, CALIBRATION, TEST = range(4)


def split_groups(
    groups: Sequence[str | None], contents: Sequence[str], shares: Split, seed: int
) -> NDArray[np.int8]:
    """The part of each of N images, (N,) int8 codes of `PARTS`.

    Images of one group, and images of the same content, are in the same part. The numbers of images
    come as near to the shares as whole groups allow; a part with a share is never empty.

    Args:
        groups: (N,); None: the image is a group of its own.
        contents: (N,) digests of the files.
        shares: of the parts, sum 1.
        seed: which groups go where.

    Raises:
        InputError: lengths differ, or there are fewer groups than parts with a share.
    """
    if len(groups) != len(contents):
        msg = f"expected as many contents as groups, got {len(contents)} and {len(groups)}"
        raise InputError(msg)
    unit = _units(groups, contents)
    sizes = np.bincount(unit) if unit.size else np.zeros(0, dtype=np.int64)
    share = np.array([shares.train, shares.validation, shares.calibration, shares.test])
    empty = {int(part) for part in np.flatnonzero(share)}
    if len(sizes) < len(empty):
        msg = f"expected at least {len(empty)} groups of images, one for each part, got {len(sizes)}"
        raise InputError(
            msg, where="split", remedy="Take in more history, or choose a finer source.manifest.group."
        )
    lacking = [float(s) for s in share * len(groups)]
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]  # large groups first, small ones even it out
    part_of_unit = np.empty(len(sizes), dtype=np.int8)
    for placed, one in enumerate(order):
        open_parts = empty if len(sizes) - placed == len(empty) else range(len(PARTS))
        part = max((p for p in open_parts if share[p]), key=lambda p: lacking[p])
        part_of_unit[one] = part
        lacking[part] -= float(sizes[one])
        empty.discard(part)
    return part_of_unit[unit]


def split_time(
    entity: ArrayLike, shares: Split, *, counted: NDArray[np.bool_] | None = None
) -> NDArray[np.int8]:
    """The part of each of L points, (L,) int8 codes of `PARTS`: for each entity one block a part, in
    the order of `PARTS`. An entity with very few points may have none in some part.

    Args:
        entity: (L,) int; the points of each entity stand in the order of time.
        shares: of the parts, sum 1.
        counted: (L,): which points count for the shares (those with a row, say). A point that does
            not is in the part of the counted one before it. None: all count.

    Raises:
        InputError: a shape does not fit.
    """
    codes = np.asarray(entity)
    weight = np.ones(codes.shape, dtype=np.bool_) if counted is None else np.asarray(counted, dtype=np.bool_)
    if codes.ndim != 1 or weight.shape != codes.shape:
        msg = f"expected entity and counted of one shape (L,), got {codes.shape} and {weight.shape}"
        raise InputError(msg)
    bounds = np.cumsum([shares.train, shares.validation, shares.calibration])
    parts = np.empty(codes.shape, dtype=np.int8)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=codes[order[:1]] - 1))
    for block in np.split(order, starts[1:]):
        rank = np.cumsum(weight[block])  # 1 for the first counted point
        cuts = np.rint(bounds * (rank[-1] if rank.size else 0))
        parts[block] = np.searchsorted(cuts, np.maximum(rank, 1), side="left")
    return parts


def stretches(entity: NDArray[np.integer[Any]], counted: NDArray[np.bool_], number: int) -> NDArray[np.int64]:
    """A code for each stretch of each of L points, (L,): the counted points of every entity are cut into `number`
    stretches of one length; a point that does not count is in the stretch of the counted one before it."""
    found = np.zeros(entity.shape, dtype=np.int64)
    for code in np.unique(entity):
        mine = np.flatnonzero(entity == code)
        rank = np.maximum(np.cumsum(counted[mine]) - 1, 0)
        found[mine] = code * number + rank * number // max(int(rank[-1]) + 1, 1)
    return found


def _units(groups: Sequence[str | None], contents: Sequence[str]) -> NDArray[np.int64]:
    """(N,) number of the set of images that belong together, in the order of their first image."""
    parent = list(range(len(groups)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first_of: dict[tuple[str, str], int] = {}
    for i, (group, content) in enumerate(zip(groups, contents, strict=True)):
        keys = [("content", content)] if group is None else [("group", group), ("content", content)]
        for key in keys:
            one, other = root(first_of.setdefault(key, i)), root(i)
            parent[max(one, other)] = min(one, other)
    roots = np.array([root(i) for i in range(len(groups))], dtype=np.int64)
    return np.unique(roots, return_inverse=True)[1]


def spread_out(numbers: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of the numbers `(N,)`, evenly spread over them."""
    return numbers[np.linspace(0, numbers.size - 1, min(most, numbers.size)).astype(np.int64)]
