"""Everything a running review app works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from aeflow.review.access import Access
    from aeflow.review.board import Board
    from aeflow.review.guard import Door
    from aeflow.review.sessions import Sessions


@dataclass(frozen=True)
class Desk:
    """One pipeline under review.

    config: the pipeline's file; pipeline: its name; kind: images or series; zone: IANA zone of all times shown.
    reviewer: in whose name verdicts are said where no token says it.
    read_only: nobody may say verdicts.
    clock: the time, aware.
    """

    config: Path
    pipeline: str
    kind: str
    zone: str
    context_points: int
    board: Board
    access: Access
    sessions: Sessions
    door: Door
    reviewer: str
    read_only: bool
    clock: Callable[[], datetime]
