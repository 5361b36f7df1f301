"""The cards of image flags: their pictures within what a page may weigh, and normal images to compare with."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from aeflow.report.flag_cards import (
    Card,
    Neighbour,
    Pictures,
    Region,
    bars,
    common_parts,
    more_channels,
)
from aeflow.report.flag_rows import expect_scored, flag_rows
from aeflow.report.pictures import heat_overlay, shrunk
from aeflow.wording import percent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PAGE_BYTES = 2_500_000
"""For all pictures of a page together, so that it stays under 3 MB."""
_LARGEST_PICTURES_BYTES = 240_000  # of one flag: more detail than a page needs
_NEIGHBOUR_BYTES = 6_000


def image_cards(flags: Path, scores: Path, *, limit: int) -> list[Card]:
    """Cards of the most severe image flags, at most `limit`.

    Raises:
        IntegrityError: a stored picture cannot be read, or the scores do not know a flag.
    """
    rows = list(flag_rows(flags, ["item", "neighbours"], limit=limit))
    items = [row["item"] for row in rows]
    sizes = _sizes(scores, set(items))
    expect_scored(sizes.keys(), items, scores)
    library = _Library()
    neighbours = [library.neighbours(row["neighbours"] or ()) for row in rows]
    # Text of base64 is a third longer than the picture.
    budget = (_PAGE_BYTES - library.bytes) * 3 // 4 // max(len(items), 1)
    budget = min(budget, _LARGEST_PICTURES_BYTES)
    return [
        _image_card(number, row, sizes[row["item"]], budget, like)
        for number, (row, like) in enumerate(
            zip(flag_rows(flags, limit=limit), neighbours, strict=True), start=1
        )
    ]


class _Library:
    """Pictures of normal images, each on the page once: where a flag is the first to be like one, its
    neighbour brings the picture, for others it only names it. bytes: of the pictures so far, as text."""

    def __init__(self) -> None:
        self.bytes = 0
        self._known: set[str] = set()

    def neighbours(
        self, stored: tuple[Mapping[str, Any], ...] | list[Mapping[str, Any]]
    ) -> tuple[Neighbour, ...]:
        return tuple(self._neighbour(one) for one in stored if one["picture"])

    def _neighbour(self, stored: Mapping[str, Any]) -> Neighbour:
        key = f"n{hashlib.sha256(stored['picture']).hexdigest()[:12]}"
        picture = None
        if key not in self._known:
            self._known.add(key)
            picture = shrunk(stored["picture"], _NEIGHBOUR_BYTES, where=f"normal image {stored['item']}")
            self.bytes += len(picture.uri)
        return Neighbour(stored["item"], f"{stored['distance']:.2f}", key, picture)


def _sizes(scores: Path, items: set[str]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    with pq.ParquetFile(scores, pre_buffer=False) as file:
        for batch in file.iter_batches(columns=["item", "width_px", "height_px", "flag"]):
            for row in batch.filter(pc.fill_null(batch.column("flag"), fill_value=False)).to_pylist():
                if row["item"] in items:
                    found[row["item"]] = (row["width_px"], row["height_px"])
    return found


def _image_card(
    number: int, row: Mapping[str, Any], size: tuple[int, int], budget: int, like: tuple[Neighbour, ...]
) -> Card:
    pictures = None
    if row["image_png"] is not None:
        each, for_heat = 3 * budget // 8, budget // 4
        where = f"flag {row['flag_id']} ({row['item']})"
        pictures = Pictures(
            original=shrunk(row["image_png"], each, where=where),
            expected=shrunk(row["reconstruction_png"], each, where=where),
            heat=heat_overlay(row["heatmap_png"], for_heat, where=where),
        )
    regions = tuple(
        Region(box["x_px"], box["y_px"], box["width_px"], box["height_px"], percent(box["share"]))
        for box in row["boxes"] or []
    )
    shares = row["channels"] or []
    return Card(
        **common_parts(number, row, row["item"]),
        bars=bars(shares) if len(shares) > 1 else (),
        more_channels=more_channels(shares),
        width_px=size[0],
        height_px=size[1],
        regions=regions,
        pictures=pictures,
        neighbours=like,
    )
