"""Arguments that several commands take, and how a config is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path

ConfigArgument = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A config file, or its name in configs/.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]


def open_pipeline(config: str) -> Path:
    """The config file that CONFIG means, with the environment of every dependency set for its home."""
    from aeflow.config import find_config
    from aeflow.settings import home_for, prepare_environment

    path = find_config(config)
    prepare_environment(home_for(path))
    return path
