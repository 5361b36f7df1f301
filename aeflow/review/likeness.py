"""How like two flags are: the same channels in the same direction, or the same region of images that look alike.

The evidence of a flag is a vector of length 1. A part of share s counts as its square root, so that the scalar
product of two is the Bhattacharyya coefficient of their lists of shares, 0..1. That is the likeness of events.
Nothing of it needs the network: so it holds across detector versions.

Where an image is abnormal says little of how. So the likeness of two images is that times how near their codes
are: 0.9 for two that are as far apart as normal ones seldom are, falling to nothing. Codes of different detectors
cannot be compared; there the region alone counts.

Legend: F flags, G others, M parts of all of them, D numbers of a vector, S numbers of a signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_CELLS = 8
DIMENSIONS = _CELLS * _CELLS
"""D: the cells of an image, or as many places that channels and directions are shared out to."""
LIKE = 0.9
"""From here on two flags count as like each other: nine tenths of their evidence is common to both."""
_PLACES = 4  # of a channel and a direction: with one, a third of 38 channels would share theirs with another
_TOGETHER = 64
_NEAR = 3.0  # units of signatures: two that are 1 apart are 0.9 alike, two that are 3 apart a third


@dataclass(frozen=True, eq=False)
class Marks:
    """What flags are compared by.

    evidence: `(F, D)` float32, rows of length 1 or 0. look: `(F, S)` float32, signatures of the codes, NaN where
    one is not known; S is 0 where they do not count. version: `(F,)` int64, of the detector.
    """

    evidence: NDArray[np.float32]
    look: NDArray[np.float32]
    version: NDArray[np.int64]

    def __len__(self) -> int:
        """F."""
        return len(self.evidence)

    def at(self, places: NDArray[np.int64] | Sequence[int]) -> Marks:
        """Those of some of the flags."""
        chosen = np.asarray(places, np.int64)
        return Marks(self.evidence[chosen], self.look[chosen], self.version[chosen])


def no_marks() -> Marks:
    """Of no flag."""
    return Marks(np.zeros((0, DIMENSIONS), np.float32), np.zeros((0, 0), np.float32), np.zeros(0, np.int64))


def joined(parts: Sequence[Marks]) -> Marks:
    """One after another; where signatures have other lengths, the shorter ones count as not known."""
    if not parts:
        return no_marks()
    size = max(part.look.shape[1] for part in parts)
    looks = [
        part.look if part.look.shape[1] == size else np.full((len(part), size), np.nan, np.float32)
        for part in parts
    ]
    return Marks(
        np.concatenate([part.evidence for part in parts]),
        np.concatenate(looks),
        np.concatenate([part.version for part in parts]),
    )


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
    places = np.array(
        [[_places(name, d) for d in (-1, 0, 1)] for name in names.dictionary.to_pylist()], dtype=np.int64
    ).reshape(-1, 3, _PLACES)
    found = np.zeros((len(channels), DIMENSIONS))
    where = places[np.asarray(names.indices), direction + 1]
    np.add.at(found, (flag[:, None], where), _shares(parts)[:, None] / _PLACES)
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


def likeness(of: Marks, to: Marks) -> NDArray[np.float32]:
    """`(F,)` how like each is to the most like of the G others; 0 where there is none."""
    best = np.zeros(len(of), np.float32)
    for begin in range(0, len(to), _TOGETHER):  # in pieces, so that memory stays small
        some = to.at(np.arange(begin, min(begin + _TOGETHER, len(to))))
        like = of.evidence @ some.evidence.T
        if of.look.shape[1] and of.look.shape[1] == some.look.shape[1]:
            like *= _nearness(of, some)
        np.maximum(best, like.max(axis=1), out=best)
    return np.minimum(best, 1.0)


def _nearness(of: Marks, to: Marks) -> NDArray[np.float32]:
    """`(F, G)` how near the codes are, 1 where that cannot be told."""
    squares = (
        np.square(of.look).sum(axis=1)[:, None] + np.square(to.look).sum(axis=1) - 2 * of.look @ to.look.T
    )
    near = np.exp(-np.maximum(squares, 0) / _NEAR**2)
    told = (of.version[:, None] == to.version) & ~np.isnan(near)
    return np.where(told, near, np.float32(1)).astype(np.float32)


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


def _places(channel: str, direction: int) -> list[int]:
    """The `_PLACES` of the same evidence, in every process and version: two channels may share one of them, and
    are then a quarter alike, but not all."""
    digest = blake2b(f"{direction}{channel}".encode(), digest_size=64).digest()
    return list(dict.fromkeys(byte % DIMENSIONS for byte in digest))[:_PLACES]
