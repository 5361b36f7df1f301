"""Flags like one that a person called false.

A reviewed flag is a precedent for later ones of its entity. Alike are two flags whose codes lie within
reach of each other, and which the same channels caused, or the same region. Where the nearest precedent
was called false the flag is suppressed or downgraded; where one that was called true is nearer, or the new
flag is far more severe, it stays.

Those precedents that decided anything are kept with the report: scored again with them alone, it comes out
the same. Scores, p-values and what is flagged at the cut do not depend on verdicts.

Legend: P precedents, S numbers of a signature, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aeflow import schemas
from aeflow.numerics.likeness import ALIKE, Bounds, direction, likeness, overlap

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from aeflow.config import Review
    from aeflow.numerics.likeness import Box

PRECEDENTS_FILE = "precedents.parquet"
_SEVERITY_OF_CUT = 50.0


@dataclass(frozen=True, eq=False)
class Precedent:
    """A reviewed flag, as the present detector sees it.

    false: it was called false; else true. reviewer: who said it. at, until: when, and how long it bears on
    others; aware, UTC. direction `(C,)`: see `numerics.likeness.direction`. signature `(S,)`.
    """

    flag_id: str
    batch: str
    entity: str
    false: bool
    reviewer: str
    at: datetime
    until: datetime
    score: float
    direction: NDArray[np.float32]
    box: Box | None
    signature: NDArray[np.float32]


@dataclass(frozen=True)
class _Likeness:
    """Of a flag to some precedents: distance and agreement `(P,)`, and which of them are alike `(P,)`."""

    distance: NDArray[np.float64]
    agreement: NDArray[np.float64]
    alike: NDArray[np.bool_]


def suppress(
    flags: Sequence[dict[str, Any]],
    precedents: Sequence[Precedent],
    rule: Review,
    channels: tuple[str, ...],
) -> tuple[list[dict[str, Any]], list[Precedent]]:
    """The flags (rows of `schemas.FLAGS`, with signatures) with what precedents make of them, and the
    precedents that decided anything, by flag id.

    Precedents of a flag's own batch do not bear on it: what was said of those flags stands beside them.
    """
    judged: list[dict[str, Any]] = []
    used: dict[str, Precedent] = {}
    by_entity: dict[str, list[Precedent]] = {}
    for one in sorted(precedents, key=lambda p: p.flag_id):
        by_entity.setdefault(one.entity, []).append(one)
    for flag in flags:
        others = [p for p in by_entity.get(flag["entity"], ()) if p.batch != flag["batch"]]
        found = {"suppressed": False}
        if rule.suppression != "off" and others and flag.get("signature") is not None:
            decisive, how = _decide(flag, others, rule, channels)
            if decisive is not None:
                used[decisive.flag_id] = decisive
                if decisive.false:
                    found = _suppressed(decisive, how, rule)
        judged.append(flag | found)
    return judged, [used[name] for name in sorted(used)]


def _decide(
    flag: dict[str, Any], precedents: list[Precedent], rule: Review, channels: tuple[str, ...]
) -> tuple[Precedent | None, str]:
    """The precedent that decides what becomes of the flag, and how like it is, in words; None: none does."""
    like = _likeness(flag, precedents, rule, channels)
    false = np.array([p.false for p in precedents])
    score = np.array([p.score for p in precedents])
    decides = like.alike & ~(false & (flag["score"] > rule.most_severe * score))
    # Of equal distances that of a true one counts, then the first.
    order = np.lexsort((false, np.where(decides, like.distance, np.inf)))
    nearest = int(order[0])
    if not decides[nearest] or not (decides & false).any():
        return None, ""
    what = "region" if precedents[nearest].box is not None else "channels"
    how = (
        f"the same {what}, channels alike to {like.agreement[nearest]:.0%}, codes "
        f"{like.distance[nearest]:.2f} apart where {rule.reach:g} is allowed"
    )
    return precedents[nearest], how


def bounds_of(rule: Review) -> Bounds:
    """Up to where two flags show the same thing."""
    return Bounds(rule.reach, rule.least_agreement, rule.least_overlap)


def _likeness(
    flag: dict[str, Any], precedents: list[Precedent], rule: Review, channels: tuple[str, ...]
) -> _Likeness:
    signature = np.asarray(flag["signature"], dtype=np.float64)
    apart = np.stack([p.signature for p in precedents]).astype(np.float64) - signature
    distance = np.sqrt(np.square(apart).sum(axis=1))
    agreement = np.stack([p.direction for p in precedents]) @ direction_of(flag, channels)
    regions = overlap(_as_numbers(worst_box(flag)), np.stack([_as_numbers(p.box) for p in precedents]))
    alike = likeness(bounds_of(rule), agreement, distance, regions) >= ALIKE
    return _Likeness(distance, agreement, alike)


def _as_numbers(box: Box | None) -> NDArray[np.float64]:
    return np.full(4, np.nan) if box is None else np.array(box, dtype=np.float64)


def direction_of(flag: dict[str, Any], channels: tuple[str, ...]) -> NDArray[np.float64]:
    """Which channels caused a flag (a row of `schemas.FLAGS`), and which way they went, `(C,)`."""
    parts = {part["channel"]: part for part in flag["channels"]}
    contribution = np.array([parts[name]["contribution"] for name in channels], dtype=np.float64)
    known = [(parts[name]["observed"], parts[name]["expected"]) for name in channels]
    deviation = [np.nan if a is None or b is None else a - b for a, b in known]
    return direction(contribution, np.array(deviation, dtype=np.float64))


def worst_box(flag: dict[str, Any]) -> Box | None:
    """The worst region of an image's flag; None where it has none, and of series."""
    boxes = flag.get("boxes") or []
    if not boxes:
        return None
    first = boxes[0]
    return first["x_px"], first["y_px"], first["width_px"], first["height_px"]


def _suppressed(by: Precedent, how: str, rule: Review) -> dict[str, Any]:
    reason = (
        f"like flag {by.flag_id} of batch {by.batch}, called false by {by.reviewer} on {by.at:%Y-%m-%d} "
        f"({how}); holds until {by.until:%Y-%m-%d}"
    )
    found: dict[str, Any] = {
        "suppressed": rule.suppression == "suppress",
        "suppressed_by": by.flag_id,
        "suppressed_reason": reason,
        "suppressed_until": by.until,
    }
    return found if rule.suppression == "suppress" else found | {"severity": _SEVERITY_OF_CUT}


def write_precedents(precedents: Sequence[Precedent], path: Path) -> None:
    """As `schemas.PRECEDENTS`; the same precedents give the same bytes."""
    rows = [
        {
            "flag_id": p.flag_id,
            "batch": p.batch,
            "entity": p.entity,
            "verdict": "false" if p.false else "true",
            "reviewer": p.reviewer,
            "at": p.at,
            "until": p.until,
            "score": p.score,
            "direction": p.direction,
            "box": p.box,
            "signature": p.signature,
        }
        for p in precedents
    ]
    table = pa.Table.from_pylist(rows, schema=schemas.PRECEDENTS)
    pq.write_table(table, path, version="2.6", compression="zstd")


def read_precedents(path: Path) -> list[Precedent]:
    """What `write_precedents` wrote."""
    return [
        Precedent(
            flag_id=row["flag_id"],
            batch=row["batch"],
            entity=row["entity"],
            false=row["verdict"] == "false",
            reviewer=row["reviewer"],
            at=row["at"],
            until=row["until"],
            score=row["score"],
            direction=np.array(row["direction"], dtype=np.float32),
            box=None if row["box"] is None else tuple(row["box"]),
            signature=np.array(row["signature"], dtype=np.float32),
        )
        for row in pq.read_table(path, partitioning=None).to_pylist()
    ]
