"""Commands as a user runs them, measured from outside: wall time, CPU time, peak memory."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SERVER_START_SECONDS = 120
_MB_PER_MAXRSS = 1 / 1024 if sys.platform == "linux" else 1 / 1024**2  # kilobytes on Linux, bytes on macOS
# A process begins with the peak memory of the one that starts it: so a small one does.
_LAUNCHER = """
import json, os, subprocess, sys, time
begun = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, used = os.wait4(process.pid, 0)  # tells what this one process used
found = [time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss]
os.write(int(sys.argv[1]), json.dumps(found).encode())
code = process.returncode = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
"""


@dataclass(frozen=True)
class Measured:
    """A finished process. cpu_s: user and system time; peak_mb: its largest resident memory."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def aeflow(*arguments: str | Path, env: Mapping[str, str]) -> Measured:
    """Run the command `aeflow`."""
    command = Path(sys.executable).with_name("aeflow")
    return measure([str(command), *map(str, arguments)], env=env)


def python(code: str, *, env: Mapping[str, str]) -> Measured:
    """Run a piece of Python in a process of its own."""
    return measure([sys.executable, "-c", code], env=env)


def measure(command: Sequence[str], *, env: Mapping[str, str]) -> Measured:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    told, tell = os.pipe()
    with os.fdopen(told, encoding="utf-8") as answer:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(tell), *command],
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[tell],
                check=False,
            )
        finally:
            os.close(tell)
        if done.returncode:
            msg = f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout.decode()[-2000:]}"
            raise RuntimeError(msg)
        wall, cpu, peak = json.load(answer)
    return Measured(wall, cpu, peak * _MB_PER_MAXRSS)


def environment(home: Path) -> dict[str, str]:
    """That of a user without a Prefect server, everything below `home`."""
    left_out = {name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_", "AEFLOW_"))}
    return {k: v for k, v in os.environ.items() if k not in left_out} | {"AEFLOW_HOME": str(home)}


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """A Prefect server of our own on loopback, stopped in the end; yields the address of its API."""
    from aeflow.settings import prepare_environment  # noqa: PLC0415

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    before = dict(os.environ)
    try:
        prepare_environment(home)  # the settings that aeflow itself gives to Prefect
        env = dict(os.environ) | {"PREFECT_HOME": str(home / "server"), "PREFECT_SERVER_API_PORT": str(port)}
    finally:
        os.environ.clear()
        os.environ.update(before)
    command = shutil.which("prefect", path=str(Path(sys.executable).parent)) or "prefect"
    address = f"http://127.0.0.1:{port}/api"
    server = subprocess.Popen(
        [command, "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_answers(f"{address}/health", server)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_it_answers(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _SERVER_START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    msg = f"the Prefect server did not answer within {_SERVER_START_SECONDS} s"
    raise RuntimeError(msg)
