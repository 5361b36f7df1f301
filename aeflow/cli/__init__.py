"""The `aeflow` command: parses, calls one function, prints, sets the exit code.

Every import that takes time stays inside the commands, so that `aeflow --help` answers at once.
"""

from aeflow.cli.entry import main

__all__ = ["main"]
