"""Who runs what: a lock on a file, held as long as its process lives.

The operating system frees the lock the instant its holder dies, however it dies, so a claim never
goes stale and needs no heartbeat. It holds between processes and threads of one machine, and between
machines that share the home folder on a file system that supports locks (NFS does).
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from aeflow.exceptions import AlreadyRunning
from aeflow.store.files import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Somebody who only looks (`holder`) has the lock for some microseconds: try again before giving up.
_TRIES = 5
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Claim:
    """A held claim: the proof that this process alone runs what `path` stands for."""

    path: Path
    host: str
    pid: int
    since: datetime

    def __str__(self) -> str:
        """Process, host and time, for a message."""
        return f"process {self.pid} on {self.host} since {self.since:%Y-%m-%d %H:%M:%S %Z}"


@contextmanager
def claim(path: Path, what: str, *, now: datetime) -> Iterator[Claim]:
    """Hold the claim at `path` during the block. `what` names it in a message ("batch 2026-11-20 of
    pump"); `now` is an aware time.

    Raises:
        AlreadyRunning: a living process holds it; the message names it.
        StorageError: the file cannot be written or locked.
    """
    mine = Claim(path=path, host=socket.gethostname(), pid=os.getpid(), since=now)
    with storage_errors(path, f"claim {what}"):
        descriptor = _lock(path)
    if descriptor is None:
        msg = f"{what} is being run by {_read(path) or 'another process'}"
        raise AlreadyRunning(msg, remedy="Wait for it to end, or end that process; then run again.")
    try:
        with storage_errors(path, f"claim {what}"):
            os.truncate(descriptor, 0)
            os.write(
                descriptor,
                json.dumps({"host": mine.host, "pid": mine.pid, "since": now.isoformat()}).encode(),
            )
        yield mine
    finally:
        # Removed while it is held: whoever locks this very file next finds that it has gone, and
        # takes the new one of that name.
        path.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """One process at a time is in the block; others wait. For work of some seconds, such as making a
    database.

    Raises:
        StorageError: the file cannot be written or locked.
    """
    with storage_errors(path, "lock the file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def holder(path: Path) -> Claim | None:
    """The living process that holds the claim at `path`; None where nobody does."""
    for _ in range(_TRIES):
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            held = _read(path)
            if held is not None:
                return held
            time.sleep(_PAUSE_SECONDS)  # it has the lock and is about to write its name
        else:
            return None
        finally:
            os.close(descriptor)
    return None


def _lock(path: Path) -> int | None:
    """An open descriptor of the file at `path`, locked; None while another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if _lock_at(path, descriptor):
            return descriptor
        os.close(descriptor)
    return None


def _lock_at(path: Path, descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The holder before may have removed the file between our open and our lock.
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _read(path: Path) -> Claim | None:
    """What the holder wrote; None in the instant before it has."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        since = datetime.fromisoformat(held["since"])
        return Claim(path=path, host=held["host"], pid=held["pid"], since=since)
    except (FileNotFoundError, ValueError, KeyError):
        return None
