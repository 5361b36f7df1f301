"""What changes something: words on flags, their taking back, and who sits before the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from aeflow.review.acts import cleaned, say, take_back
from aeflow.review.app import (
    TheDesk,
    TheForm,
    TheSelection,
    TheSession,
    TokenNeededError,
    desk_of,
    first,
    forget_session,
    form_of,
    go,
    keep_session,
    page,
    session_of,
)
from aeflow.review.pages import flag_after, flag_page, queue_page
from aeflow.review.sessions import Session
from aeflow.store.verdicts import Standing, Word, words_that_hold
from aeflow.wording import counted

if TYPE_CHECKING:
    from aeflow.review.board import Snapshot
    from aeflow.review.desk import Desk
    from aeflow.review.selection import Selection

router = APIRouter()
_WORDS = {Word.TRUE, Word.FALSE, Word.UNSURE}
_MOST_AT_ONCE = 200
_MOST_NAME = 60


def reviewing(session: TheSession, form: TheForm) -> Session:
    """The session of somebody who may say verdicts, whose form is their own.

    Raises:
        HTTPException: 403 for a reader.
    """
    del form
    if not session.may_review:
        raise HTTPException(403, "You may look, but not review.")
    return session


Reviewing = Annotated[Session, Depends(reviewing)]


@router.post("/flag/{flag_id}/say")
def say_word(
    request: Request, desk: TheDesk, session: Reviewing, form: TheForm, selection: TheSelection, flag_id: str
) -> Response:
    """A word on one flag; then the next one."""
    snapshot = desk.board.now()
    place = _place(snapshot, flag_id)
    word, note = _word(form), cleaned(first(form, "note"))
    # By its id: a report that is published meanwhile moves places.
    after = flag_after(desk, snapshot, selection, place)
    said = say(snapshot, [place], word, reviewer=session.reviewer, note=note, now=desk.clock())
    snapshot = desk.board.say(said)
    night, row = snapshot.catalogue.within(_place(snapshot, flag_id))
    notice = f"{night.name[row]}: {word}. Press z to take it back."
    if snapshot.state_of(_place(snapshot, flag_id)) == Standing.DISPUTED:
        others = words_that_hold(snapshot.said[flag_id])
        names = sorted(who for (_, who), v in others.items() if v.word not in {word, Word.UNSURE})
        notice = f"{night.name[row]}: {word}, and {', '.join(names)} said otherwise: it is disputed."
    return _show(request, desk, snapshot, selection, after, notice)


@router.post("/flag/{flag_id}/like")
def say_of_like(
    request: Request, desk: TheDesk, session: Reviewing, form: TheForm, selection: TheSelection, flag_id: str
) -> Response:
    """The same word on this flag and on those like it that are ticked."""
    snapshot = desk.board.now()
    word, note = _word(form), cleaned(first(form, "note"))
    flags = list(dict.fromkeys([flag_id, *form.get("flag", [])]))
    if len(flags) > _MOST_AT_ONCE + 1:
        raise HTTPException(422, f"At most {_MOST_AT_ONCE} flags get a verdict at once.")
    places = [_place(snapshot, flag) for flag in flags]
    after = flag_after(desk, snapshot, selection, places[0], besides=set(flags))
    said = say(snapshot, places, word, reviewer=session.reviewer, note=note, now=desk.clock())
    snapshot = desk.board.say(said)
    notice = f"{counted(len(flags), 'flag')}: {word}. Press z to take all of it back."
    return _show(request, desk, snapshot, selection, after, notice)


@router.post("/undo")
def undo(request: Request, desk: TheDesk, session: Reviewing, selection: TheSelection) -> Response:
    """The reviewer's last act is taken back, and its flag shown."""
    said = take_back(desk.board.said_by(session.reviewer), now=desk.clock())
    snapshot = desk.board.say(said)
    if not said:
        return _show(request, desk, snapshot, selection, None, "There is nothing to take back.")
    known = [v.flag_id for v in said if v.flag_id in snapshot.catalogue.place]
    notice = f"Taken back: {counted(len(said), 'verdict')}."
    return _show(request, desk, snapshot, selection, known[0] if known else None, notice)


@router.post("/who")
def who(request: Request, desk: TheDesk, session: TheSession, form: TheForm) -> Response:
    """Another name for what is said from this browser, where no token says who it is."""
    name = cleaned(first(form, "reviewer")).replace("\n", " ")[:_MOST_NAME]
    if desk.door.token_needed:
        raise HTTPException(403, "The token says who you are.")
    if not name:
        raise HTTPException(422, "A verdict needs a name.")
    desk.sessions.rename(session, name)
    return go(request, "/")


@router.post("/login")
def login(request: Request, form: Annotated[dict[str, list[str]], Depends(form_of)]) -> Response:
    """A session for a token."""
    desk = desk_of(request)
    address = request.client.host if request.client else ""
    if not desk.sessions.may_try(address):
        raise HTTPException(429, "Too many wrong tokens; wait a minute.")
    grant = desk.access.check(first(form, "token").strip())
    if grant is None:
        desk.sessions.failed(address)
        return page(request, "login.html.j2", {"wrong": True}, status=401)
    session = desk.sessions.open(grant.name, grant.role, grant.digest)
    response = go(request, "/")
    keep_session(request, response, session)
    return response


@router.get("/login")
def login_form(request: Request) -> Response:
    """Where a token is given."""
    try:
        session_of(request)
    except TokenNeededError:
        return page(request, "login.html.j2", {"wrong": False})
    return go(request, "/")


@router.post("/logout")
def logout(request: Request, desk: TheDesk, session: TheSession, form: TheForm) -> Response:
    """The session ends."""
    del form
    desk.sessions.close(session)
    response = go(request, "/login")
    forget_session(request, response)
    return response


def _show(
    request: Request, desk: Desk, snapshot: Snapshot, selection: Selection, flag_id: str | None, notice: str
) -> Response:
    """The flag's page, or the queue where there is none, with a notice, under its own address."""
    query = selection.query()
    address = f"{'/' if flag_id is None else f'/flag/{flag_id}'}{f'?{query}' if query else ''}"
    if "hx-request" not in request.headers:
        return go(request, address)
    if flag_id is None:
        values = queue_page(desk, snapshot, selection, 0)
        return page(request, "queue.html.j2", values | {"notice": notice}, address=address)
    values = flag_page(desk, snapshot, selection, _place(snapshot, flag_id))
    return page(request, "flag.html.j2", values | {"notice": notice}, address=address)


def _place(snapshot: Snapshot, flag_id: str) -> int:
    place = snapshot.catalogue.place.get(flag_id)
    if place is None:
        raise HTTPException(404, "No published report has that flag.")
    return place


def _word(form: dict[str, list[str]]) -> Word:
    word = first(form, "word")
    if word not in _WORDS:
        raise HTTPException(422, f"A verdict is true, false or unsure, not {word[:20]!r}.")
    return Word(word)
