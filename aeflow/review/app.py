"""The review app: pages made on the server, which a small script of its own swaps in part by part.

Everything that changes something is a form with the session's secret in it; without the script the same forms
and links load whole pages. `guard` stands before it all.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs

import jinja2
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from aeflow.exceptions import AeflowError, SourceError
from aeflow.report.html import templates_of
from aeflow.review.access import Role
from aeflow.review.charts import flags_chart, precision_chart, sentence_of_precision
from aeflow.review.desk import Desk
from aeflow.review.guard import Guard
from aeflow.review.selection import Selection, parse_selection
from aeflow.review.sessions import Session
from aeflow.wording import counted, percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp


_STATIC = {
    "review.css": ("aeflow.review", "static", "text/css"),
    "review.js": ("aeflow.review", "static", "text/javascript"),
    "swap.js": ("aeflow.review", "static", "text/javascript"),
    "icon.svg": ("aeflow.review", "static", "image/svg+xml"),
    # The report's own: plots look and are read the same in both.
    "colours.css": ("aeflow.report", "templates", "text/css"),
    "plot.css": ("aeflow.report", "templates", "text/css"),
    "plot.js": ("aeflow.report", "templates", "text/javascript"),
}
_REFUSED = {401: "Not known", 403: "Not allowed", 404: "Not found"}


class TokenNeededError(Exception):
    """The browser has no session, and may not have one without a token."""


def create_app(desk: Desk) -> ASGIApp:
    """The app over one pipeline's reports and verdicts, behind its guard. No page that documents it, none that
    loads from elsewhere."""
    from aeflow.review import acting, browsing  # noqa: PLC0415 - they need what is defined here

    app = FastAPI(title="aeflow review", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.desk = desk
    app.include_router(browsing.router)
    app.include_router(acting.router)
    app.add_exception_handler(TokenNeededError, _ask_for_token)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(AeflowError, _tell)
    # Around everything, so that an answer to an error of ours has its headers, too.
    return Guard(app, desk.door)


def desk_of(request: Request) -> Desk:
    """What the app works with."""
    desk: Desk = request.app.state.desk
    return desk


def session_of(request: Request) -> Session:
    """The session of the browser; a new one where no token is needed.

    Raises:
        TokenNeededError: it has none, or its token was revoked.
    """
    desk = desk_of(request)
    session = desk.sessions.get(request.cookies.get(_cookie(desk)))
    if session is not None and desk.door.token_needed:
        granted = {grant.digest: grant for grant in desk.access.grants()}
        if session.digest not in granted:
            desk.sessions.close(session)
            session = None
    if session is None:
        if desk.door.token_needed:
            raise TokenNeededError
        session = desk.sessions.open(desk.reviewer, Role.READER if desk.read_only else Role.REVIEWER)
    request.state.session = session
    return session


async def form_of(request: Request) -> dict[str, list[str]]:
    """The fields of a form: name -> its values."""
    body = await request.body()
    return parse_qs(body.decode("utf-8", errors="replace"), keep_blank_values=True, max_num_fields=2_000)


def checked_form(
    session: Annotated[Session, Depends(session_of)], form: Annotated[dict[str, list[str]], Depends(form_of)]
) -> dict[str, list[str]]:
    """The fields of a form that this session's page sent.

    Raises:
        HTTPException: 403, its secret is missing or another one.
    """
    if not session.sent(first(form, "csrf")):
        raise HTTPException(403, "The page is older than the app; load it again.")
    return form


def selection_of(request: Request) -> Selection:
    """Which flags the address asks for."""
    return parse_selection(request.query_params)


def first(form: Mapping[str, list[str]], name: str) -> str:
    """The first value of a field, "" where it is missing."""
    return form.get(name, [""])[0]


TheDesk = Annotated[Desk, Depends(desk_of)]
TheSession = Annotated[Session, Depends(session_of)]
TheForm = Annotated[dict[str, list[str]], Depends(checked_form)]
TheSelection = Annotated[Selection, Depends(selection_of)]


def page(
    request: Request,
    template: str,
    values: Mapping[str, Any],
    *,
    status: int = 200,
    address: str | None = None,
) -> Response:
    """A page, or the part of it that the script asked for. address: what the browser shall show instead of
    what it asked for."""
    desk, session = desk_of(request), getattr(request.state, "session", None)
    text = (
        environment()
        .get_template(template)
        .render(
            desk=desk,
            session=session,
            layout="part.html.j2" if "hx-request" in request.headers else "page.html.j2",
            **{"notice": "", "selection": Selection(), **values},
        )
    )
    response = HTMLResponse(text, status_code=status)
    if address is not None:
        response.headers["HX-Push-Url"] = address
    if session is not None:
        keep_session(request, response, session)
    return response


def go(request: Request, address: str) -> Response:
    """To another page of the app."""
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": address})
    return RedirectResponse(address, status_code=303)


def keep_session(request: Request, response: Response, session: Session) -> None:
    """Tell the browser its session, if it does not know it yet."""
    name = _cookie(desk_of(request))
    if request.cookies.get(name) != session.key:
        response.set_cookie(
            name, session.key, httponly=True, samesite="lax", secure=request.url.scheme == "https", path="/"
        )


def forget_session(request: Request, response: Response) -> None:
    """Tell the browser to forget its session."""
    response.delete_cookie(_cookie(desk_of(request)), path="/")


@cache
def static_file(name: str) -> tuple[bytes, str] | None:
    """One of the app's own files and its media type; None where there is no such one."""
    if name not in _STATIC:
        return None
    package, folder, media_type = _STATIC[name]
    return files(package).joinpath(folder, name).read_bytes(), media_type


@cache
def environment() -> jinja2.Environment:
    """The app's templates, with the words and charts that they use."""
    made = templates_of("aeflow.review")
    made.filters |= {"counted": counted, "percent": percent, "precision": sentence_of_precision}
    made.globals |= {"flags_chart": flags_chart, "precision_chart": precision_chart}
    return made


def _cookie(desk: Desk) -> str:
    # Cookies know no port: two apps on one machine must not overwrite each other's.
    return f"aeflow-review-{desk.pipeline}"


def _ask_for_token(request: Request, error: Exception) -> Response:
    del error
    if request.url.path.endswith(".png") or "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    return page(request, "login.html.j2", {"wrong": False}, status=401)


def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {"title": _REFUSED.get(error.status_code, "Not possible"), "why": str(error.detail)}
    return page(request, "problem.html.j2", told, status=error.status_code)


def _not_understood(request: Request, error: Exception) -> Response:
    del error
    told = {"title": "Not understood", "why": "The address asks for something that is not a number."}
    return page(request, "problem.html.j2", told, status=422)


def _tell(request: Request, error: Exception) -> Response:
    asked = isinstance(error, SourceError)  # for something that these data do not have
    told = {"title": "Not possible" if asked else "This could not be read", "why": str(error)}
    return page(request, "problem.html.j2", told, status=422 if asked else 500)
