"""Processes that are started together, started again when they end, and stopped together.

Each is the leader of a process group of its own, so that what it has started goes with it, and a Ctrl-C
in the terminal reaches only the supervisor, which stops them in order.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aeflow.exceptions import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

_STARTS_WITHIN_SECONDS = 180.0
_LONGEST_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 60.0
"""One that lived so long is not in a circle of deaths."""
_POLL_SECONDS = 0.1
_LOG_BYTES = 20_000_000
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LOG_TAIL = 15


@dataclass(frozen=True)
class Service:
    """One process. health: an address that answers once it is ready; None: it is, once it runs."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    health: str | None = None


class Supervisor:
    """Starts services, keeps them alive and stops them. Not for several threads."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` is told, in a sentence, of everything that happens by itself."""
        self._say = say
        self._running: dict[str, _Running] = {}

    @property
    def pids(self) -> dict[str, int]:
        """Service -> the id of its process."""
        return {name: running.process.pid for name, running in self._running.items()}

    def start(self, services: Iterable[Service], *, stopping: Callable[[], bool] = lambda: False) -> bool:
        """Start them side by side and wait until all are ready; False if `stopping` came true meanwhile.

        Raises:
            StorageError: one ended, or was not ready in time; names its log.
        """
        new = [self._begin(service) for service in services]
        until = time.monotonic() + _STARTS_WITHIN_SECONDS
        while waiting := [r for r in new if not r.ready()]:
            if stopping():
                return False
            for running in waiting:
                if running.process.poll() is not None or time.monotonic() > until:
                    raise _not_started(running)
            time.sleep(_POLL_SECONDS)
        return True

    def keep_alive(self) -> list[str]:
        """Start again whatever has ended, each after a pause that doubles while it keeps ending; returns
        the names of those that were started."""
        now, begun = time.monotonic(), []
        for running in list(self._running.values()):
            code = running.process.poll()
            if code is None:
                continue
            if running.restart_at is None:
                running.pause = 1.0 if running.lived(now) > _STEADY_SECONDS else 2 * running.pause
                running.pause = min(running.pause, _LONGEST_PAUSE_SECONDS)
                running.restart_at = now + running.pause
                self._say(
                    f"{running.service.name} {_how(code)}; it is started again. Its log: {running.service.log}"
                )
            elif now >= running.restart_at:
                self._begin(running.service, before=running)
                begun.append(running.service.name)
        return begun

    def stop(self, names: Iterable[str] | None = None, *, grace_seconds: float = 10.0) -> None:
        """End the named services (None: all that are left), with all that they have started: asked to end
        first, killed after `grace_seconds`."""
        chosen = list(self._running) if names is None else [n for n in names if n in self._running]
        leaving = [self._running.pop(name) for name in chosen]
        groups = {group for running in leaving for group in running.groups}
        for number in (signal.SIGTERM, signal.SIGKILL):
            for group in groups:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, number)
            until = time.monotonic() + (grace_seconds if number == signal.SIGTERM else 5.0)
            while time.monotonic() < until and any(_lives(group) for group in groups):
                for running in leaving:
                    running.process.poll()
                time.sleep(_POLL_SECONDS)

    def _begin(self, service: Service, before: _Running | None = None) -> _Running:
        service.log.parent.mkdir(parents=True, exist_ok=True)
        if service.log.exists() and service.log.stat().st_size > _LOG_BYTES:
            service.log.replace(service.log.with_suffix(".before.log"))
        with service.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - the command is ours
                service.command,
                env=dict(service.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )
        running = _Running(service, process)
        if before is not None:
            running.pause = before.pause
            # What the one before has started may outlive it.
            running.groups = [g for g in before.groups if _lives(g)] + running.groups
        self._running[service.name] = running
        return running


class _Running:
    def __init__(self, service: Service, process: subprocess.Popen[bytes]) -> None:
        self.service, self.process = service, process
        self.begun = time.monotonic()
        self.groups = [process.pid]
        self.pause = 0.5
        self.restart_at: float | None = None

    def lived(self, now: float) -> float:
        return now - self.begun

    def ready(self) -> bool:
        if self.service.health is None:
            return True
        try:
            with urllib.request.urlopen(self.service.health, timeout=5) as answer:  # noqa: S310 - ours
                return bool(answer.status)
        except urllib.error.HTTPError as answer:
            return answer.code < 500  # it may ask who one is
        except OSError:
            return False


def _end_with_parent() -> None:
    """In the child: asked to end by the system should the supervisor be killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _how(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _not_started(running: _Running) -> StorageError:
    code = running.process.poll()
    what = _how(code) if code is not None else f"was not ready within {_STARTS_WITHIN_SECONDS:.0f} s"
    with suppress(OSError):
        text = running.service.log.read_text(encoding="utf-8", errors="replace")
        tail = "\n  ".join(text.splitlines()[-_LOG_TAIL:])
        what += f". Its last lines:\n  {tail}"
    return StorageError(
        f"{running.service.name} {what}",
        where=str(running.service.log),
        remedy="Look at its log; is its port free?",
    )
