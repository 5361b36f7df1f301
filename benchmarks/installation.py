"""An installation on this machine: a folder with one pipeline, its commands, and `aeflow up` over it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from aeflow.store.digests import sha256_folder
from aeflow.store.ledger import open_ledger
from aeflow.store.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

T = TypeVar("T")
FIRST = date(2022, 3, 1)
_PATIENCE_SECONDS = 600.0
_PROGRAM = [sys.executable, "-c", "from aeflow.cli import main; main()"]
_OVER = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass(frozen=True)
class Seen:
    """One line of what was seen. right: whether it is as it should be."""

    what: str
    how: str
    right: bool = True


def tell(part: str, lines: Iterable[Seen]) -> int:
    """Print what is seen as it is seen; returns how many lines are not as they should be."""
    wrong = 0
    for line in lines:
        print(f"{part:9} {'' if line.right else 'WRONG: '}{line.what}: {line.how}", flush=True)
        wrong += not line.right
    return wrong


class Installation:
    """A folder with the config, the data and the home of one pipeline."""

    def __init__(self, folder: Path, pipeline: str) -> None:
        """`folder` is made by `write`."""
        self.folder, self.pipeline = folder, pipeline
        self.home = folder / "home"
        self.paths = Paths(self.home, pipeline)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "AEFLOW"))}
        self.environment = kept | {"AEFLOW_HOME": str(self.home)}

    def write(self, config: dict[str, object]) -> None:
        """Write its config, in place of the one before."""
        for name in ("configs", "data", "home"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        text = json.dumps({"name": self.pipeline, **config})
        (self.folder / "configs" / f"{self.pipeline}.yaml").write_text(text)

    def copy(self, folder: Path) -> Installation:
        """The same at another place."""
        shutil.copytree(self.folder, folder)
        return Installation(folder, self.pipeline)

    def arrive(self, number: int, header: str, rows: list[str]) -> None:
        """The file of a day."""
        (self.folder / "data" / f"{day(number)}.csv").write_text("\n".join([header, *rows]) + "\n")

    def run(self, *arguments: str) -> tuple[float, str]:
        """Run a command to its end; returns the seconds and what it printed."""
        begun = time.perf_counter()
        command = [*_PROGRAM, *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return time.perf_counter() - begun, done.stdout

    def done(self) -> int:
        """How many nights the ledger calls published."""
        return sum(batch.state == "published" for batch in open_ledger(self.paths).all())

    def digests(self) -> dict[str, str]:
        """Night -> digest of its report."""
        return {night: sha256_folder(self.paths.report(night)) for night in self.paths.published()}


class Up:
    """A running `aeflow up`: its process, and its Prefect server as anybody sees it on loopback."""

    def __init__(self, process: subprocess.Popen[bytes], prefect_port: int) -> None:
        self.process = process
        self.api = f"http://127.0.0.1:{prefect_port}/api"

    def post(self, path: str, body: object) -> Any:
        """The server's answer to a body of JSON."""
        request = urllib.request.Request(  # noqa: S310 - ours, on loopback
            f"{self.api}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """The runs of a flow that have come, in the order in which they did; none while the server is away."""
        with suppress(OSError):
            found = self.post("flow_runs/filter", _of_flow(flow) | {"sort": "START_TIME_ASC"})
            return [run for run in found if run["state"] and run["state"]["type"] != "SCHEDULED"]
        return []

    def over(self, flow: str) -> list[dict[str, Any]]:
        """Those that have come to an end."""
        return [run for run in self.runs(flow) if run["state"]["type"] in _OVER]

    def deployment(self, flow: str) -> str:
        """The id of a flow's deployment."""
        (found,) = self.post("deployments/filter", _of_flow(flow))
        return str(found["id"])

    def schedule(self, flow: str, cron: str) -> None:
        """One more line of a crontab for a flow's deployment, in UTC."""
        schedule = {"schedule": {"cron": cron, "timezone": "UTC"}, "active": True}
        self.post(f"deployments/{self.deployment(flow)}/schedules", [schedule])

    def ask_for(self, flow: str, **parameters: object) -> None:
        """A run of a flow's deployment, as its form in the UI asks for one."""
        self.post(f"deployments/{self.deployment(flow)}/create_flow_run", {"parameters": parameters})


def _of_flow(name: str) -> dict[str, object]:
    return {"flows": {"name": {"any_": [name]}}}


@contextmanager
def up(site: Installation) -> Iterator[Up]:
    """A running `aeflow up` of the site, stopped at the end if it still lives."""
    ports = [free_port() for _ in range(3)]
    options = [
        "--prefect-port",
        str(ports[0]),
        "--mlflow-port",
        str(ports[1]),
        "--review-port",
        str(ports[2]),
    ]
    log = site.folder / "up.log"
    with log.open("ab") as file:
        process = subprocess.Popen(
            [*_PROGRAM, "up", site.pipeline, *options],
            cwd=site.folder,
            env=site.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Up(process, ports[0])
    except TimeoutError as error:
        error.add_note(log.read_text()[-2000:])
        for worker in sorted((site.home / "logs").glob("*worker*.log")):
            error.add_note(f"{worker.name}:\n{worker.read_text()[-2000:]}")
        raise
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def day(number: int) -> str:
    """The id of the day of that number."""
    return (FIRST + timedelta(days=number)).isoformat()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(found: Callable[[], T]) -> T:
    """Wait until something is found that is true, and return it.

    Raises:
        TimeoutError: it never was.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    while not (it := found()):
        if time.monotonic() > end:
            msg = f"not so within {_PATIENCE_SECONDS:.0f} s"
            raise TimeoutError(msg)
        time.sleep(0.1)
    return it


def kill(*pids: int) -> None:
    """These processes and all below them, at once."""
    import psutil  # noqa: PLC0415 - of the tests' setup

    for pid in pids:
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def in_seconds(seconds: float) -> tuple[datetime, str]:
    """A full minute at least so far away, in UTC, and the crontab's line for it."""
    fire = (datetime.now(UTC) + timedelta(seconds=seconds + 60)).replace(second=0, microsecond=0)
    return fire, f"{fire.minute} {fire.hour} * * *"


def since(fire: datetime) -> str:
    """How long it is since then."""
    return f"{(datetime.now(UTC) - fire).total_seconds():.0f} s"
