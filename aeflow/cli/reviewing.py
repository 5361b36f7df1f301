"""What people say of flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aeflow.cli.arguments import ConfigArgument, JsonOption, open_pipeline


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(verdicts)


def verdicts(
    config: ConfigArgument,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Write every flag and its verdicts as CSV."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="Keep the verdicts that a CSV holds.")
    ] = None,
    reviewer: Annotated[
        str | None, typer.Option(help="Who said it, where a row names nobody. Default: who is logged in.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Take in what people said of flags, give it out, and tell how far the review is."""
    from aeflow.cli.output import print_json
    from aeflow.review.exchange import count_reviewed, export_verdicts, import_verdicts

    path = open_pipeline(config)
    done: dict[str, int] = {}
    if file is not None:
        done["imported"] = import_verdicts(path, file, reviewer=reviewer or _user())
    if export is not None:
        done["exported"] = export_verdicts(path, export)
    state = count_reviewed(path)
    if json:
        print_json(state.to_json() | done)
        return
    if "imported" in done:
        new = done["imported"]
        print(f"{new} new {'verdict' if new == 1 else 'verdicts'} from {file}.")
    if "exported" in done:
        print(f"{done['exported']} rows in {export}. Fill in `verdict` and give it back with --import.")
    print(state.sentence())


def _user() -> str:
    from getpass import getuser

    try:
        return getuser()
    except (OSError, KeyError):  # a user id without an entry, as in containers
        return "unknown"
