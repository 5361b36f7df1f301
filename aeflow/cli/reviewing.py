"""What people say of flags."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aeflow.cli.arguments import ConfigArgument, JsonOption, expect_folder, open_pipeline
from aeflow.wording import counted

if TYPE_CHECKING:
    from aeflow.review.trends import Tally


class Groups(StrEnum):
    """What flags are counted for."""

    NIGHT = "night"
    MODEL = "model"
    ENTITY = "entity"


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(review)
    app.command()(verdicts)


def review(  # noqa: PLR0917 - typer passes them by name
    config: ConfigArgument,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8765,
    host: Annotated[
        str, typer.Option(help="The address to listen on. Any but this machine's own needs tokens.")
    ] = "127.0.0.1",
    reviewer: Annotated[
        str | None, typer.Option(help="In whose name verdicts are said. Default: who is logged in.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Look, but say no verdicts.")] = False,
    require_token: Annotated[
        bool, typer.Option("--require-token", help="Ask for a token on this machine, too.")
    ] = False,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="A further host name it is reached by, as by a proxy."),
    ] = None,
    make_token: Annotated[
        str | None, typer.Option(metavar="PERSON", help="Make a token, show it once, and end.")
    ] = None,
    role: Annotated[
        str, typer.Option(help="Of that token: reviewer, or reader who may only look.")
    ] = "reviewer",
    revoke: Annotated[
        str | None, typer.Option(metavar="PERSON", help="Their token opens nothing any more; and end.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the browser.")] = False,
) -> None:
    """Review flags in the browser: the app on this machine's own address, until Ctrl+C."""
    path = open_pipeline(config)
    if make_token is not None or revoke is not None:
        _change_tokens(path, make_token, role, revoke)
        return
    from aeflow.cli.progress import progress_bar
    from aeflow.review.serve import first_token, listen, open_desk, serve

    listening = listen(host, port)
    with progress_bar("Reading reports") as bar:
        desk = open_desk(
            path,
            host=host,
            reviewer=reviewer or _user(),
            require_token=require_token,
            read_only=read_only,
            names=tuple(name or ()),
            told=lambda done, of: bar(done / of, f"{done} of {of}"),
        )
    address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
    print(
        f"{desk.pipeline}: {counted(desk.board.now().catalogue.size, 'flag')} to review at {address}",
        flush=True,
    )
    token = first_token(desk)
    if token is not None:
        print(f"The token of {desk.reviewer}, shown this once: {token}", flush=True)
    if desk.door.token_needed and host not in {"127.0.0.1", "localhost", "::1"}:
        print("It is not encrypted: outside a network that you trust, put it behind a proxy with https.")
    if show:
        import webbrowser

        webbrowser.open(address)
    serve(desk, listening)


def _change_tokens(config: Path, person: str | None, role: str, revoke: str | None) -> None:
    from datetime import UTC, datetime

    from aeflow.exceptions import InputError
    from aeflow.review.access import Role
    from aeflow.review.serve import open_access

    access = open_access(config)
    if role not in set(Role):
        raise InputError(f"expected reviewer or reader, got {role!r}", where="--role")
    if revoke is not None:
        access.revoke(revoke)
        print(f"The token of {revoke} opens nothing any more.")
    if person is not None:
        token = access.make(person, Role(role), now=datetime.now(UTC))
        print(f"The token of {person} ({role}), shown this once: {token}")


def verdicts(
    config: ConfigArgument,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Write every flag and its verdicts."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="Keep the verdicts that a file holds.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="csv (default), label-studio, or coco for regions of images."),
    ] = None,
    reviewer: Annotated[
        str | None, typer.Option(help="Who said it, where a row names nobody. Default: who is logged in.")
    ] = None,
    by: Annotated[
        Groups | None, typer.Option("--by", help="Flags and precision of each night, model or entity.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Take in what people said of flags, give it out, and tell how far the review is."""
    from aeflow.cli.output import print_json
    from aeflow.review.exchange import count_reviewed, export_verdicts, form_of, import_verdicts

    path = open_pipeline(config)
    if export is not None:
        expect_folder(export)
    done: dict[str, int] = {}
    if file is not None:
        done["imported"] = import_verdicts(path, file, form_of(file, form), reviewer=reviewer or _user())
    if export is not None:
        done["exported"] = export_verdicts(path, export, form_of(export, form))
    state = count_reviewed(path)
    groups = _tallies(path, by) if by is not None else []
    if json:
        told = {"by": [tally.to_json() for tally in groups]} if by is not None else {}
        print_json(state.to_json() | done | told)
        return
    if "imported" in done:
        new = done["imported"]
        print(f"{counted(new, 'new verdict')} from {file}.")
    if "exported" in done:
        print(
            f"{counted(done['exported'], 'flag')} in {export}. Fill in the verdicts and give it back with --import."
        )
    print(state.sentence())
    if by is not None:
        _print_tallies(by, groups)


def _tallies(config: Path, by: Groups) -> list[Tally]:
    from aeflow.backlog import paths_of
    from aeflow.review import trends
    from aeflow.review.board import Board

    tallied = {
        Groups.NIGHT: trends.by_night,
        Groups.MODEL: trends.by_version,
        Groups.ENTITY: trends.by_entity,
    }
    return list(tallied[by](Board(paths_of(config)).now()))


def _print_tallies(by: Groups, tallies: list[Tally]) -> None:
    from aeflow.cli.output import print_table

    names = ["flags", "true", "false", "unsure", "disputed", "open", "suppressed"]
    rows = []
    for tally in tallies:
        told = tally.to_json()
        shares = [told[name] for name in ("precision", "precision_low", "precision_high")]
        rows.append(
            [
                told["name"],
                *(told[name] for name in names),
                *("" if s is None else f"{s:.2f}" for s in shares),
            ]
        )
    print_table([str(by), *names, "precision", "from", "to"], rows)


def _user() -> str:
    from getpass import getuser

    try:
        return getuser()
    except (OSError, KeyError):  # a user id without an entry, as in containers
        return "unknown"
