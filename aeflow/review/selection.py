"""Which flags a reviewer wants to see, and in which order.

Legend: N flags.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np

from aeflow.numerics.likeness import ALIKE
from aeflow.review.board import OPEN, STATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aeflow.review.board import Board, Snapshot
    from aeflow.review.catalogue import Catalogue

ALL = "all"
ORDERS = ("severity", "newest", "useful")
_MOST_DIGITS = 8
_CUT = 50.0  # the severity of the cut
_NEAR = 10.0  # in severity: so far from the cut a flag may be and still count as near it


@dataclass(frozen=True)
class Selection:
    """What is chosen. state: one of `STATES`, or `all`; order: one of `ORDERS`; entity: its name; first, last:
    batch ids, inclusive; version: of the detector; text: a part of an item's or entity's name. Empty: any."""

    state: str = OPEN
    order: str = "severity"
    entity: str = ""
    first: str = ""
    last: str = ""
    version: str = ""
    text: str = ""

    def query(self, **changes: str) -> str:
        """As the query of an address, with changes; what is as usual is left out."""
        chosen = replace(self, **changes)
        usual = Selection()
        values = {f.name: getattr(chosen, f.name) for f in fields(self)}
        return urlencode({name: v for name, v in values.items() if v != getattr(usual, name)})


def parse_selection(query: Mapping[str, str]) -> Selection:
    """The selection that an address asks for. What is not understood counts as not given: an address may be
    old, or mistyped by hand, and is nothing that could do harm."""
    known = {f.name: query[f.name].strip() for f in fields(Selection) if f.name in query}
    if known.get("state") not in {*STATES, ALL}:
        known.pop("state", None)
    if known.get("order") not in ORDERS:
        known.pop("order", None)
    return Selection(**known)


def whole_number(text: str) -> int | None:
    """The number that an address names; None where it is none, or has more than eight digits. Digits of other
    scripts and raised ones (`²`) are none: what a person types by hand must not end in an error."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


def chosen_places(
    board: Board, snapshot: Snapshot, selection: Selection, *, keep: int | None = None
) -> NDArray[np.int64]:
    """The places of the chosen flags in their order.

    Args:
        board: knows how like each flag is to reviewed ones.
        snapshot: of what is chosen.
        selection: what is wanted.
        keep: a place that stays among them though it may no longer be chosen: the one a person looks at.
    """
    mask = _within(snapshot.catalogue, selection)
    if selection.state != ALL:
        mask &= snapshot.state == STATES.index(selection.state)
    if keep is not None:
        mask[keep] = True
    order = _order(board, snapshot, selection.order)
    return order[mask[order]]


def count_states(snapshot: Snapshot, selection: Selection) -> dict[str, int]:
    """How many flags there are in each state, whatever state the selection asks for."""
    mask = _within(snapshot.catalogue, selection)
    counts = np.bincount(snapshot.state[mask], minlength=len(STATES)).tolist()
    return {ALL: int(mask.sum()), **dict(zip(STATES, counts, strict=True))}


def usefulness(board: Board, snapshot: Snapshot) -> NDArray[np.float32]:
    """`(N,)` 0..1, how much a verdict on each flag would tell: 1 at the cut, falling to 0 ten points of
    severity above it; or, if that is more, how unlike it is to everything that was called true or false."""
    near = np.clip(1 - np.abs(snapshot.catalogue.severity - _CUT) / _NEAR, 0, 1)
    told: NDArray[np.float32] = np.maximum(near, 1 - board.nearest_judged(snapshot)).astype(np.float32)
    return told


def why_useful(board: Board, snapshot: Snapshot, places: NDArray[np.int64]) -> list[str]:
    """For each of the places a reason in words, "" where there is none to speak of."""
    severity = snapshot.catalogue.severity[places]
    likest = board.nearest_judged(snapshot)[places]
    words = []
    for above, like in zip((severity - _CUT).tolist(), likest.tolist(), strict=True):
        near, strange = abs(above) <= _NEAR / 2, like < ALIKE
        words.append(
            " and ".join(
                part
                for part in (
                    "near the threshold" if near else "",
                    "unlike anything reviewed" if strange else "",
                )
                if part
            )
        )
    return words


def _order(board: Board, snapshot: Snapshot, order: str) -> NDArray[np.int64]:
    if order == "newest":
        return snapshot.catalogue.by_time
    severest = snapshot.catalogue.by_severity
    if order == "severity":
        return severest
    if order not in snapshot.orders:
        told = usefulness(board, snapshot)[severest]
        snapshot.orders[order] = severest[np.argsort(-told, kind="stable")]
    return snapshot.orders[order]


def _within(catalogue: Catalogue, selection: Selection) -> NDArray[np.bool_]:
    mask = np.ones(catalogue.size, dtype=bool)
    batches = catalogue.batches
    if selection.first:
        mask[: catalogue.offsets[bisect_left(batches, selection.first)]] = False
    if selection.last:
        # A prefix chooses all that begin with it: 2026-11 means the whole month.
        mask[catalogue.offsets[bisect_right(batches, f"{selection.last}\U0010ffff")] :] = False
    if selection.entity:
        names, codes = catalogue.entities
        mask &= codes == (names.index(selection.entity) if selection.entity in names else -1)
    if selection.version:
        version = whole_number(selection.version)
        mask &= catalogue.version == (-1 if version is None else version)
    if selection.text:
        wanted = selection.text.casefold()
        folded, which = catalogue.folded_names
        mask &= np.fromiter((wanted in name for name in folded), bool, len(folded))[which]
    return mask
