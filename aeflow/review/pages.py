"""What the pages show, as plain values; `app` serves them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.numerics.likeness import ALIKE
from aeflow.report.flag_cards import bars, more_channels, plotted_channels
from aeflow.review.board import OPEN, STATES
from aeflow.review.evidence import read_evidence
from aeflow.review.likeness import likeness_to_one
from aeflow.review.selection import ALL, Selection, chosen_places, count_states, why_useful
from aeflow.review.trends import by_entity, by_night, by_version, gathered, total
from aeflow.store.verdicts import Word, words_that_hold
from aeflow.wording import chance, counted, figure, lasting, moment, percent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from aeflow.numerics.likeness import Bounds
    from aeflow.review.board import Snapshot
    from aeflow.review.catalogue import Catalogue
    from aeflow.review.desk import Desk
    from aeflow.store.verdicts import Verdict

ROWS = 50
"""Flags on a page of the queue."""
_SIMILAR = 6
_MOST_LIKE = 60
"""Flags like this one that can get a verdict together."""
_LEAST_SIMILAR = 0.3
_NIGHTS_OF_ENTITY = 90
_COLUMNS_OF_CHART = 100
_ENTITIES = 30


@dataclass(frozen=True)
class Line:
    """A flag in a list."""

    flag_id: str
    name: str
    batch: str
    when: str
    severity: str
    state: str
    what: str
    pictured: bool
    why: str = ""
    like: str = ""


def queue_page(desk: Desk, snapshot: Snapshot, selection: Selection, page: int) -> dict[str, Any]:
    """The flags of a selection, `ROWS` at a time; `page` counts from 0, one too high shows the last."""
    places = chosen_places(desk.board, snapshot, selection)
    pages = max(-(-len(places) // ROWS), 1)
    page = min(max(page, 0), pages - 1)
    shown = places[page * ROWS : (page + 1) * ROWS]
    why = why_useful(desk.board, snapshot, shown) if selection.order == "useful" else [""] * len(shown)
    names, _ = snapshot.catalogue.entities
    return {
        "selection": selection,
        "lines": lines_of(desk, snapshot, shown, why=why),
        "counts": count_states(snapshot, selection),
        "states": (OPEN, *STATES[1:], ALL),
        "found": len(places),
        "page": page,
        "pages": pages,
        "entities": [name for name in names if name],
        "versions": sorted({night.version for night in snapshot.catalogue.nights}, reverse=True),
        "batches": snapshot.catalogue.batches,
        "unread": snapshot.catalogue.unread,
    }


def lines_of(
    desk: Desk,
    snapshot: Snapshot,
    places: NDArray[np.int64],
    *,
    why: Iterable[str] | None = None,
    like: NDArray[np.float32] | None = None,
) -> list[Line]:
    """The flags as lines of a list."""
    catalogue = snapshot.catalogue
    found = []
    for number, (place, reason) in enumerate(zip(places.tolist(), why or [""] * len(places), strict=True)):
        night, row = catalogue.within(place)
        found.append(
            Line(
                flag_id=night.flag_id[row],
                name=night.name[row],
                batch=night.batch,
                when=_when(catalogue, place, desk.zone),
                severity=f"{night.severity[row]:.0f}",
                state=snapshot.state_of(place),
                what=_what(night.channel[row], float(night.share[row])) if night.kind == "series" else "",
                pictured=night.kind == "images",
                why=reason,
                like="" if like is None else percent(float(like[number])),
            )
        )
    return found


def flag_page(desk: Desk, snapshot: Snapshot, selection: Selection, place: int) -> dict[str, Any]:
    """Everything of one flag.

    Raises:
        StorageError, IntegrityError: its report cannot be read.
    """
    catalogue = snapshot.catalogue
    night, row = catalogue.within(place)
    evidence = read_evidence(night, row)
    before, after, number, found = _neighbours(desk, snapshot, selection, place)
    stored = evidence.row
    shares = evidence.shares
    return {
        "selection": selection,
        "flag_id": night.flag_id[row],
        "kind": night.kind,
        "name": night.name[row],
        "entity": night.entity[row],
        "batch": night.batch,
        "version": night.version,
        "report": night.sentence,
        "severity": f"{night.severity[row]:.0f}",
        "p_value": f"{figure(stored['p_value'])} ({chance(stored['p_value'])})",
        "when": _when(catalogue, place, desk.zone),
        "span": _span(stored),
        "state": snapshot.state_of(place),
        "before": before,
        "after": after,
        "number": number,
        "found": found,
        "width_px": evidence.width_px,
        "height_px": evidence.height_px,
        "pictured": evidence.pictured,
        "neighbours": [(name, f"{distance:.2f}") for name, distance in evidence.neighbours],
        "suppressed": _suppressed(stored, desk.zone),
        "boxes": [box | {"text": percent(box["share"])} for box in stored["boxes"] or []],
        "bars": () if night.kind == "images" and len(shares) < 2 else bars(shares),
        "more_channels": more_channels(shares),
        "plotted": plotted_channels(stored) if night.kind == "series" else (),
        "words": _words(snapshot.said.get(night.flag_id[row], ()), desk.zone),
        **_likes(desk, snapshot, place),
    }


def flag_after(
    desk: Desk, snapshot: Snapshot, selection: Selection, place: int, *, besides: Collection[str] = ()
) -> str | None:
    """The id of the flag that comes after this one in the queue; at the end the first that is there still.
    None where there is no other, but for those that are named in `besides`."""
    places = chosen_places(desk.board, snapshot, selection, keep=place).tolist()
    here = places.index(place)
    ids = snapshot.catalogue.flag_ids
    others = (ids[other] for other in (*places[here + 1 :], *places[:here]))
    return next((flag for flag in others if flag not in besides), None)


def like_places(
    snapshot: Snapshot, place: int, bounds: Bounds
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """All other flags that are somewhat like it, of any entity, the most like first, and how like they are."""
    catalogue = snapshot.catalogue
    like = likeness_to_one(catalogue.like, place, bounds)
    like[place] = -1
    some = np.flatnonzero(like >= _LEAST_SIMILAR)
    # Of the same likeness the newest first.
    order = some[np.lexsort((-some, -like[some]))]
    return order, like[order]


def _likes(desk: Desk, snapshot: Snapshot, place: int) -> dict[str, Any]:
    places, like = like_places(snapshot, place, desk.board.bounds)
    state, entity = snapshot.state[places], snapshot.catalogue.like.entity
    reviewed = np.flatnonzero(state != 0)[:_SIMILAR]
    # Those that a verdict on this one bears on, were they of later nights: what is said of one may be said of all.
    same = (like >= ALIKE) & (entity[places] == entity[place])
    group = np.flatnonzero((state == 0) & same)
    return {
        "similar": lines_of(desk, snapshot, places[reviewed], like=like[reviewed]),
        "group": lines_of(desk, snapshot, places[group[:_MOST_LIKE]], like=like[group[:_MOST_LIKE]]),
        "group_size": int(group.size),
    }


def _neighbours(
    desk: Desk, snapshot: Snapshot, selection: Selection, place: int
) -> tuple[str, str, int, int]:
    """The flags before and after in the queue, "" for none; the number of this one, and of how many."""
    places = chosen_places(desk.board, snapshot, selection, keep=place)
    here = int(np.flatnonzero(places == place)[0])
    ids = snapshot.catalogue.flag_ids
    before = ids[places[here - 1]] if here else ""
    after = ids[places[here + 1]] if here + 1 < len(places) else ""
    return before, after, here + 1, len(places)


def _words(said: Iterable[Verdict], zone: str) -> list[dict[str, Any]]:
    """Everything that was said of a flag, the newest first, and whether it holds."""
    said = list(said)
    holding = [id(verdict) for verdict in words_that_hold(said).values()]
    return [
        {
            "reviewer": verdict.reviewer,
            "word": str(verdict.word),
            "told": "took back their word" if verdict.word is Word.RETRACTED else str(verdict.word),
            "at": moment(verdict.at.replace(microsecond=0), zone),
            "at_iso": verdict.at.isoformat(),
            "note": verdict.note,
            "holds": id(verdict) in holding,
        }
        for verdict in reversed(said)
    ]


def _suppressed(stored: Mapping[str, Any], zone: str) -> dict[str, str] | None:
    """Why verdicts suppressed or downgraded the flag, until when, and like which; None where they did not."""
    if not stored["suppressed_reason"]:
        return None
    until = stored["suppressed_until"]
    return {
        "reason": stored["suppressed_reason"],
        "by": stored["suppressed_by"] or "",
        "until": moment(until.replace(microsecond=0), zone) if until else "",
    }


def _what(channel: str, share: float) -> str:
    return f"{channel} {percent(share)}" if channel else ""


def _when(catalogue: Catalogue, place: int, zone: str) -> str:
    start = int(catalogue.start_us[place])
    if start == np.iinfo(np.int64).min:
        return ""
    return moment(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=start), zone)


def _span(stored: Mapping[str, Any]) -> str:
    if stored["start"] is None:
        return ""
    points = stored["points"] or 1
    if points == 1:
        return "1 point"
    return f"{lasting(stored['end'] - stored['start'])}, {counted(points, 'point')}"


def entity_page(desk: Desk, snapshot: Snapshot, name: str) -> dict[str, Any]:
    """The flags of one entity over the nights, and what was said of them."""
    names, codes = snapshot.catalogue.entities
    mask = codes == names.index(name)
    nights = by_night(snapshot, mask=mask, most=_NIGHTS_OF_ENTITY)
    newest = snapshot.catalogue.by_time
    return {
        "name": name,
        "nights": gathered(nights, _COLUMNS_OF_CHART),
        "total": total(name, by_night(snapshot, mask=mask)),
        "lines": lines_of(desk, snapshot, newest[mask[newest]][:ROWS]),
        "states": STATES,
    }


def trends_page(snapshot: Snapshot, most: int) -> dict[str, Any]:
    """Flags and precision over the last `most` nights, and by detector version and entity over all."""
    nights = by_night(snapshot, most=most)
    entities = [tally for tally in by_entity(snapshot) if tally.name]
    return {
        "nights": gathered(nights, _COLUMNS_OF_CHART),
        "in_view": total("these nights", nights),
        "most": most,
        "known": len(snapshot.catalogue.nights),
        "versions": by_version(snapshot),
        "entities": entities[:_ENTITIES],
        "more_entities": max(len(entities) - _ENTITIES, 0),
        "states": STATES,
    }
