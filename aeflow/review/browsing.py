"""The pages that are looked at; nothing is changed by any of them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from aeflow.review.app import TheDesk, TheSelection, TheSession, environment, page, static_file
from aeflow.review.catalogue import Catalogue
from aeflow.review.desk import Desk
from aeflow.review.evidence import (
    PICTURES,
    Evidence,
    read_card,
    read_evidence,
    read_neighbour,
    read_normal,
    read_picture,
)
from aeflow.review.exchange import Form, export_verdicts
from aeflow.review.pages import entity_page, flag_page, queue_page, trends_page
from aeflow.review.selection import whole_number

router = APIRouter()

_MOST_PANELS = 12
_MOST_NIGHTS = 10_000

# What a flag shows stays as it is until its report is published anew.
_KEPT = {"Cache-Control": "private, max-age=300"}

Channels = Annotated[list[str] | None, Query()]


@router.get("/")
def queue(
    request: Request,
    desk: TheDesk,
    _: TheSession,
    selection: TheSelection,
    number: Annotated[str, Query(alias="page")] = "1",
) -> Response:
    """The queue."""
    at = (whole_number(number) or 1) - 1
    return page(request, "queue.html.j2", queue_page(desk, desk.board.now(), selection, at))


@router.get("/flag/{flag_id}")
def flag(request: Request, desk: TheDesk, _: TheSession, selection: TheSelection, flag_id: str) -> Response:
    """One flag."""
    snapshot = desk.board.now()
    place = snapshot.catalogue.place.get(flag_id)
    if place is None:
        raise HTTPException(404, "No published report has that flag.")
    return page(request, "flag.html.j2", flag_page(desk, snapshot, selection, place))


@router.get("/flag/{flag_id}/{name}.png")
def picture(desk: TheDesk, _: TheSession, flag_id: str, name: str) -> Response:
    """A picture of a flag."""
    catalogue = desk.board.now().catalogue
    place = catalogue.place.get(flag_id)
    content = None
    if place is not None and name in PICTURES:
        content = read_picture(*catalogue.within(place), name)
    if content is None:
        raise HTTPException(404, "There is no such picture.")
    return Response(content, media_type="image/png", headers=_KEPT)


@router.get("/flag/{flag_id}/normal-{number}.webp")
def neighbour(desk: TheDesk, _: TheSession, flag_id: str, number: str) -> Response:
    """A normal image that is most like a flag."""
    catalogue = desk.board.now().catalogue
    place = catalogue.place.get(flag_id)
    which, content = whole_number(number), None
    if place is not None and which is not None:
        content = read_neighbour(*catalogue.within(place), which)
    if content is None:
        raise HTTPException(404, "There is no such picture.")
    return Response(content, media_type="image/webp", headers=_KEPT)


@router.get("/flag/{flag_id}/plot")
def plot(desk: TheDesk, _: TheSession, flag_id: str, channel: Channels = None) -> Response:
    """The plot of a flag of a series: its main channels, or those that are named."""
    catalogue, place = _series_flag(desk, flag_id)
    night, row = catalogue.within(place)
    evidence = read_evidence(night, row)
    card = read_card(
        night, row, evidence, _known(evidence, channel), context_points=desk.context_points, zone=desk.zone
    )
    return _part("plot.html.j2", card=card)


@router.get("/flag/{flag_id}/normal")
def normal(desk: TheDesk, _: TheSession, flag_id: str, channel: Channels = None) -> Response:
    """A stretch of the same entity without a flag, to compare it with."""
    catalogue, place = _series_flag(desk, flag_id)
    evidence = read_evidence(*catalogue.within(place))
    chosen = _known(evidence, channel)
    beside = read_normal(
        catalogue, place, evidence, chosen, context_points=desk.context_points, zone=desk.zone
    )
    return _part("normal.html.j2", card=beside)


def _series_flag(desk: Desk, flag_id: str) -> tuple[Catalogue, int]:
    catalogue = desk.board.now().catalogue
    place = catalogue.place.get(flag_id)
    if place is None:
        raise HTTPException(404, "No published report has that flag.")
    if catalogue.within(place)[0].kind != "series":
        raise HTTPException(404, "An image has no plot.")
    return catalogue, place


def _known(evidence: Evidence, channels: list[str] | None) -> list[str]:
    """Those of the named channels that the flag has."""
    known = {part["channel"] for part in evidence.shares}
    return [name for name in dict.fromkeys(channels or ()) if name in known][:_MOST_PANELS]


def _part(template: str, **values: object) -> Response:
    """A part of a page that needs no session; the browser may keep it a while."""
    text = environment().get_template(template).render(**values)
    return HTMLResponse(text, headers=_KEPT)


@router.get("/entity")
def entity(request: Request, desk: TheDesk, _: TheSession, name: str = "") -> Response:
    """The history of an entity."""
    snapshot = desk.board.now()
    if name not in snapshot.catalogue.entities[0]:
        raise HTTPException(404, "No flag is of that entity.")
    return page(request, "entity.html.j2", entity_page(desk, snapshot, name))


@router.get("/trends")
def trends(request: Request, desk: TheDesk, _: TheSession, nights: str = "60") -> Response:
    """Flags and precision over the nights."""
    wanted = whole_number(nights)
    most = _MOST_NIGHTS if wanted is None else min(max(wanted, 1), _MOST_NIGHTS)
    return page(request, "trends.html.j2", trends_page(desk.board.now(), most))


@router.get("/export/{form}")
def export(desk: TheDesk, _: TheSession, form: str) -> Response:
    """Every flag and all that was said of it, as `aeflow verdicts --export` writes it."""
    if form not in set(Form):
        raise HTTPException(404, f"Verdicts are exported as {', '.join(Form)}.")
    ending, media_type = ("csv", "text/csv") if form == Form.CSV else ("json", "application/json")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "verdicts"
        export_verdicts(desk.config, file, Form(form))
        content = file.read_bytes()
    name = f"{desk.pipeline}-verdicts-{form}.{ending}"
    return Response(
        content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


@router.get("/static/{name}")
def static(name: str) -> Response:
    """The app's own files."""
    found = static_file(name)
    if found is None:
        raise HTTPException(404, "There is no such file.")
    content, media_type = found
    # Asked for again each time: an app of a newer version must not run with older files.
    return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})
