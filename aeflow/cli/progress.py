"""Progress on standard error: a bar with the time left in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_QUIET_SECONDS = 30.0


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[float, str], None]]:
    """A function that takes the share done, 0..1, and a short note."""
    if not sys.stderr.isatty():
        yield _lines(what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0, note="")

        def show(share: float, note: str = "") -> None:
            bar.update(task, completed=share, note=note)

        yield show


def _lines(what: str) -> Callable[[float, str], None]:
    begun = said = time.monotonic()

    def say(share: float, note: str = "") -> None:
        nonlocal said
        now = time.monotonic()
        if now - said < _QUIET_SECONDS or not 0 < share < 1:
            return
        said = now
        left = (now - begun) * (1 - share) / share
        print(f"{what}: {share:.0%}, about {left:.0f} s left {note}".rstrip(), file=sys.stderr)

    return say
