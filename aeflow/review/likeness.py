"""How like two flags are, by their evidence: the same channels in the same direction, or the same region.

The evidence of a flag is a vector of length 1; the likeness of two is their scalar product, 0..1. A part of
share s counts as its square root, so the likeness of two lists of shares is the Bhattacharyya coefficient
of them. Nothing of it needs the network: so it holds across detector versions.

Legend: F flags, M parts of all of them, D numbers of a vector.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CELLS = 8
DIMENSIONS = _CELLS * _CELLS
"""D: the cells of an image, or as many places that channels and directions are shared out to."""
LIKE = 0.9
"""From here on two flags count as like each other: nine tenths of their evidence is common to both."""
_TOGETHER = 64


def channel_evidence(channels: pa.ListArray) -> NDArray[np.float32]:
    """`(F, D)` from the `channels` of `flags.parquet`: which channels, and above or below what was expected.
    A row is 0 where a flag names none."""
    flag, parts = _parts(channels)
    observed, expected = (
        np.asarray(parts.field(name).cast(pa.float64()).fill_null(np.nan))
        for name in ("observed", "expected")
    )
    direction = np.sign(np.nan_to_num(observed - expected)).astype(np.int64)
    names = parts.field("channel").dictionary_encode()
    slots = np.array(
        [[_slot(name, d) for d in (-1, 0, 1)] for name in names.dictionary.to_pylist()], dtype=np.int64
    ).reshape(-1, 3)
    found = np.zeros((len(channels), DIMENSIONS))
    np.add.at(found, (flag, slots[np.asarray(names.indices), direction + 1]), _shares(parts))
    return _unit(found)


def region_evidence(
    boxes: pa.ListArray, width_px: NDArray[np.int64], height_px: NDArray[np.int64]
) -> NDArray[np.float32]:
    """`(F, D)` from the `boxes` of `flags.parquet` and the sizes `(F,)` of the images: which of 8 x 8 cells
    they cover, a box widened by half a cell, so that a region beside another is still somewhat like it.
    A row is 0 where a flag has none."""
    flag, parts = _parts(boxes)
    along = []
    for begin, size, whole in (("x_px", "width_px", width_px), ("y_px", "height_px", height_px)):
        length = np.maximum(whole[flag], 1)
        low = np.asarray(parts.field(begin)) / length * _CELLS - 0.5
        high = low + np.asarray(parts.field(size)) / length * _CELLS + 1
        cells = np.arange(_CELLS)
        along.append(np.maximum(np.minimum(high[:, None], cells + 1) - np.maximum(low[:, None], cells), 0))
    covered = np.einsum("my,mx->myx", along[1], along[0]).reshape(-1, DIMENSIONS)
    covered /= np.maximum(covered.sum(axis=1, keepdims=True), 1e-12)
    found = np.zeros((len(boxes), DIMENSIONS))
    np.add.at(found, flag, covered * _shares(parts)[:, None])
    return _unit(found)


def likeness(vectors: NDArray[np.float32], to: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(F,)` how like each of `(F, D)` is to the most like of `to` `(G, D)`; 0 where G is 0."""
    best = np.zeros(len(vectors), np.float32)
    for begin in range(0, len(to), _TOGETHER):  # in pieces, so that memory stays small
        np.maximum(best, (vectors @ to[begin : begin + _TOGETHER].T).max(axis=1), out=best)
    return np.minimum(best, 1.0)


def _parts(lists: pa.ListArray) -> tuple[NDArray[np.int64], pa.StructArray]:
    """The flag `(M,)` that each part belongs to, and the parts."""
    return np.asarray(pc.list_parent_indices(lists)), pc.list_flatten(lists)


def _shares(parts: pa.StructArray) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.maximum(np.asarray(parts.field("share").cast(pa.float64())), 0)
    return shares


def _unit(found: NDArray[np.float64]) -> NDArray[np.float32]:
    total = found.sum(axis=1, keepdims=True)
    parts: NDArray[np.float64] = np.divide(found, total, out=np.zeros_like(found), where=total > 0)
    return np.sqrt(parts).astype(np.float32)


def _slot(channel: str, direction: int) -> int:
    """The same place for the same evidence, in every process and version."""
    return zlib.crc32(f"{direction}{channel}".encode()) % DIMENSIONS
