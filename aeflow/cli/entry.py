"""The entry point: the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import atexit
import errno
import os
import sys
import traceback
from importlib.metadata import version
from typing import Annotated

# Rich's own rendering of --help costs 60 ms and breaks lines in narrow terminals.
os.environ.setdefault("TYPER_USE_RICH", "0")

import typer

from aeflow.cli import configure, detectors, nightly, operating, querying, representations, reviewing
from aeflow.cli.process import leave, settle
from aeflow.exceptions import AeflowError

_YOURS, _OURS = 2, 1
_OF_THE_MACHINE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO),
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
}


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"aeflow {version('aeflow')}")
        raise typer.Exit


app = typer.Typer(
    name="aeflow",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Nightly anomaly detection for images and time series."""


configure.add_commands(app)
detectors.add_commands(app)
nightly.add_commands(app)
representations.add_commands(app)
reviewing.add_commands(app)
querying.add_commands(app)
operating.add_commands(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with 0 (done), 2 (yours to mend) or 1 (ours)."""
    settle()
    status = _OURS
    # Registered before what libraries leave to the end, and so done after it.
    atexit.register(lambda: leave(status))
    status = run(sys.argv[1:] if arguments is None else arguments)
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """Run the command line; returns the exit code."""
    try:
        app(args=arguments)
    except SystemExit as error:  # typer's own: usage errors (2), typer.Exit, and the normal end
        return error.code if isinstance(error.code, int) else _OURS
    except AeflowError as error:
        # What a command says of itself begins with its name.
        _say(str(error) if str(error).startswith("aeflow ") else f"aeflow: {error}")
        return error.exit_code
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            return _unexpected(error)
        _say(
            f"aeflow: {error.filename or 'a file'}: {error.strerror}\n  Check the path, its rights and the free space."
        )
        return _YOURS
    except Exception as error:  # noqa: BLE001 - the last resort: a person gets a sentence, the log the rest
        return _unexpected(error)
    return 0


def _unexpected(error: Exception) -> int:
    from aeflow.settings import home_in_use

    log, details = home_in_use() / "error.log", traceback.format_exc()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(details, encoding="utf-8")
        kept = f"The details lie in {log}: please report them."
    except OSError:
        kept = details
    _say(f"aeflow: this should not have happened: {type(error).__name__}: {error}\n  {kept}")
    return _OURS


def _say(message: str) -> None:
    print(message, file=sys.stderr)
