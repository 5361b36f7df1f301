"""The review app as a running server."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aeflow.config import load_config
from aeflow.exceptions import StorageError
from aeflow.review.access import Access, Role
from aeflow.review.app import create_app
from aeflow.review.board import Board
from aeflow.review.desk import Desk
from aeflow.review.guard import LOOPBACK, Door
from aeflow.review.sessions import Sessions
from aeflow.settings import home_for
from aeflow.store.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def open_access(config: Path) -> Access:
    """The tokens of a pipeline's review app."""
    return Access(Paths(home_for(config), load_config(config).name).review_access)


def open_desk(
    config: Path,
    *,
    host: str,
    reviewer: str,
    require_token: bool = False,
    read_only: bool = False,
    names: tuple[str, ...] = (),
    told: Callable[[int, int], None] | None = None,
) -> Desk:
    """What the app of a pipeline works with.

    Args:
        config: the pipeline's file.
        host: the address to listen on; any but this machine's own needs tokens.
        reviewer: in whose name verdicts are said where no token says it.
        require_token: tokens on loopback, too.
        read_only: nobody may say verdicts.
        names: further host names under which the app is reached.
        told: called while the reports are read, with how many were and how many there are.

    Raises:
        StorageError: a report or the database cannot be read.
    """
    pipeline = load_config(config)
    paths = Paths(home_for(config), pipeline.name)
    return Desk(
        config=config,
        pipeline=pipeline.name,
        kind=pipeline.kind,
        zone=pipeline.batch.time_zone,
        context_points=pipeline.report.context_points,
        board=Board(paths, rule=pipeline.review, told=told),
        access=Access(paths.review_access),
        sessions=Sessions(time.monotonic),
        door=Door(host, token_needed=require_token or host not in LOOPBACK, names=names),
        reviewer=reviewer,
        read_only=read_only,
        clock=lambda: datetime.now(UTC),
    )


def first_token(desk: Desk) -> str | None:
    """A token of a reviewer where one is needed and nobody has any; None else."""
    if not desk.door.token_needed or desk.access.grants():
        return None
    return desk.access.make(desk.reviewer, Role.REVIEWER, now=desk.clock())


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        StorageError: the address is none of this machine, or taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        msg = f"expected a free address to listen on, and it cannot be used: {error.strerror}"
        raise StorageError(msg, where=f"{host}:{port}", remedy="Choose another --port, or --host.") from error


def serve(desk: Desk, listening: socket.socket) -> None:
    """Answer until interrupted."""
    import uvicorn  # noqa: PLC0415 - a fifth of a second that no other command needs

    settings = uvicorn.Config(
        create_app(desk),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    # Ctrl+C is how one ends it.
    with desk.board.watching(), suppress(KeyboardInterrupt):
        uvicorn.Server(settings).run(sockets=[listening])
