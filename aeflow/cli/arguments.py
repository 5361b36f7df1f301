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


def expect_folder(file: Path) -> Path:
    """The file that is to be written, whose folder must be there: a folder that is made where a name was mistyped
    is found by nobody.

    Raises:
        StorageError: it is not.
    """
    from aeflow.exceptions import StorageError

    if not file.parent.is_dir():
        raise StorageError(
            f"expected a folder to write {file.name} into, and {file.parent} is none",
            where=str(file),
            remedy="Make the folder first, or name another.",
        )
    return file
