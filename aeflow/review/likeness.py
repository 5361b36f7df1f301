"""How like flags are to each other, by the measure that suppression goes by (`numerics.likeness`), over the flags of
all reports at once.

What is compared lies in the reports: which channels made the score, each above or below what was expected; of
images the worst box; and the signature of the code. Codes of different detectors cannot be compared: there the rest
alone counts.

Legend: F flags, G others, C channels, S numbers of a signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aeflow.numerics.likeness import direction, likeness, overlap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from aeflow.numerics.likeness import Bounds

_TOGETHER = 256


@dataclass(frozen=True, eq=False)
class Marks:
    """What flags are compared by.

    entity: `(F,)` int64, of which a flag is, by `entity_marks`. version: `(F,)` int64, of the detector.
    channels: names of the C channels. direction: `(F, C)` float32, see `numerics.likeness.direction`; 0 for a
    flag that names none. signature: `(F, S)` float32, NaN where there is none. box: `(F, 4)` float32, x, y, width and
    height of the worst region in pixels, NaN where there is none.
    """

    entity: NDArray[np.int64]
    version: NDArray[np.int64]
    channels: tuple[str, ...]
    direction: NDArray[np.float32]
    signature: NDArray[np.float32]
    box: NDArray[np.float32]

    def __len__(self) -> int:
        """F."""
        return len(self.entity)

    def at(self, places: NDArray[np.int64] | slice) -> Marks:
        """Those of some of the flags."""
        return Marks(
            self.entity[places],
            self.version[places],
            self.channels,
            self.direction[places],
            self.signature[places],
            self.box[places],
        )


def entity_marks(entities: Sequence[str]) -> NDArray[np.int64]:
    """A number for each name, the same in every report: eight bytes of a digest."""
    known = {name: int.from_bytes(blake2b(name.encode(), digest_size=8).digest()) for name in set(entities)}
    return np.array([known[name] for name in entities], dtype=np.uint64).view(np.int64)


def flag_directions(channels: pa.ListArray) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Names of the channels, and `(F, C)` from the `channels` of `flags.parquet`."""
    flag, parts = np.asarray(pc.list_parent_indices(channels)), pc.list_flatten(channels)
    names = parts.field("channel").dictionary_encode()
    shape = len(channels), len(names.dictionary)
    share, deviation = np.zeros(shape), np.full(shape, np.nan)
    at = flag, np.asarray(names.indices)
    share[at] = _numbers(parts, "share")
    deviation[at] = _numbers(parts, "observed") - _numbers(parts, "expected")
    return tuple(names.dictionary.to_pylist()), direction(share, deviation).astype(np.float32)


def worst_boxes_of(boxes: pa.ListArray) -> NDArray[np.float32]:
    """`(F, 4)` from the `boxes` of `flags.parquet`."""
    found = np.full((len(boxes), 4), np.nan, np.float32)
    some = np.asarray(pc.fill_null(pc.list_value_length(boxes), 0)) > 0
    if some.any():
        first = pc.list_element(boxes.filter(pa.array(some)), 0)
        names = ("x_px", "y_px", "width_px", "height_px")
        found[some] = np.stack([np.asarray(first.field(name)) for name in names], axis=1)
    return found


def joined(parts: Sequence[Marks]) -> Marks:
    """One after another. Channels that only some know have no part in the others' flags; where signatures have
    other lengths, the shorter ones count as not known."""
    channels = tuple(dict.fromkeys(name for part in parts for name in part.channels))
    size = max((part.signature.shape[1] for part in parts), default=0)
    if not parts:
        nothing = np.zeros(0, np.int64)
        return Marks(nothing, nothing, (), *(np.zeros((0, n), np.float32) for n in (0, 0, 4)))
    return Marks(
        np.concatenate([part.entity for part in parts]),
        np.concatenate([part.version for part in parts]),
        channels,
        np.concatenate([_with_channels(part, channels) for part in parts]),
        np.concatenate(
            [
                part.signature
                if part.signature.shape[1] == size
                else np.full((len(part), size), np.nan, np.float32)
                for part in parts
            ]
        ),
        np.concatenate([part.box for part in parts]),
    )


def likeness_to_one(of: Marks, place: int, bounds: Bounds) -> NDArray[np.float32]:
    """`(F,)` how like each of the flags is to the one at `place`, whatever entities they are of."""
    one = of.at(slice(place, place + 1))
    distance = np.full(len(of), np.nan, np.float32)
    comparable = np.flatnonzero(of.version == one.version)
    apart = of.signature[comparable] - one.signature
    distance[comparable] = np.sqrt(np.einsum("fs,fs->f", apart, apart)) if apart.shape[1] else np.nan
    agreement = of.direction @ one.direction[0]
    return likeness(bounds, agreement, distance, overlap(of.box, one.box)).astype(np.float32)


def likeness_to_nearest(of: Marks, to: Marks, bounds: Bounds) -> NDArray[np.float32]:
    """`(F,)` how like each flag is to the most like of the G others of its entity; 0 where there is none. Both are
    of the same channels."""
    best = np.zeros(len(of), np.float32)
    order = np.argsort(of.entity, kind="stable")
    ordered = of.entity[order]
    for entity in np.unique(to.entity).tolist():
        mine = order[slice(*np.searchsorted(ordered, [entity, entity + 1]))]
        others = np.flatnonzero(to.entity == entity)
        if mine.size:
            for begin in range(0, others.size, _TOGETHER):  # in pieces, so that memory stays small
                like = _likeness_of_pairs(of.at(mine), to.at(others[begin : begin + _TOGETHER]), bounds)
                best[mine] = np.maximum(best[mine], like.max(axis=1))
    return best


def _likeness_of_pairs(of: Marks, to: Marks, bounds: Bounds) -> NDArray[np.float64]:
    """`(F, G)`."""
    distance = np.full((len(of), len(to)), np.nan)
    if of.signature.shape[1]:
        # In double precision: what is far from normal has large codes, and near ones are then small differences.
        one, other = of.signature.astype(np.float64), to.signature.astype(np.float64)
        squares = np.square(one).sum(axis=1)[:, None] + np.square(other).sum(axis=1) - 2 * one @ other.T
        distance = np.sqrt(np.maximum(squares, 0))
        distance[of.version[:, None] != to.version] = np.nan
    regions = np.full((1, 1), np.nan)
    if not np.isnan(to.box).all():
        regions = overlap(of.box[:, None], to.box)
    return likeness(bounds, of.direction @ to.direction.T, distance, regions)


def _with_channels(part: Marks, channels: tuple[str, ...]) -> NDArray[np.float32]:
    if part.channels == channels:
        return part.direction
    found = np.zeros((len(part), len(channels)), np.float32)
    found[:, [channels.index(name) for name in part.channels]] = part.direction
    return found


def _numbers(parts: pa.StructArray, field: str) -> NDArray[np.float64]:
    return np.asarray(parts.field(field).cast(pa.float64()).fill_null(np.nan))
