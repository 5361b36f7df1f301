"""Nights as an installation lives them: `python -m benchmarks.nightly`, a table of what was seen.

nights   thirty nightly runs, one after the other, beside a backfill of the same nights by two processes and one
`--pending` after an outage: seconds, and whether every report has the same bytes
killed   `aeflow up` with a schedule that fires at the next minute; in the middle of the night its worker, the run
and the Prefect server are killed; then, in the middle of another, everything is, and it is started again
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from aeflow.store.digests import sha256_folder
from aeflow.store.ledger import open_ledger
from aeflow.store.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIRST = date(2022, 3, 1)
LEARNT = 5
NIGHTS = 30
PIPELINE = "daily"
_PATIENCE_SECONDS = 600.0
_PROGRAM = [sys.executable, "-c", "from aeflow.cli import main; main()"]


class Site:
    """A folder with one pipeline of days, one file a day, 144 rows of two channels."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made."""
        self.folder, self.paths = folder, Paths(folder / "home", PIPELINE)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "AEFLOW"))}
        self.environment = kept | {"AEFLOW_HOME": str(folder / "home")}

    def make(self, schedule: dict[str, str] | None = None) -> Site:
        """Write its config."""
        for name in ("configs", "data", "home"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        config = {
            "name": PIPELINE,
            "source": {"kind": "table", "path": "../data", "time_column": "t", "channels": ["flow", "level"]},
            "batch": {"by": "period", "period": "day"},
            "history": {"first": day(0), "last": day(LEARNT - 1)},
            "prepare": {"kind": "series", "cadence_seconds": 600, "window_points": 6},
            "model": {"family": "pca"},
            "calibration": {"false_flags_per_batch": 1},
            "schedule": schedule or {},
        }
        (self.folder / "configs" / f"{PIPELINE}.yaml").write_text(json.dumps(config))
        return self

    def copy(self, folder: Path) -> Site:
        """The same at another place."""
        shutil.copytree(self.folder, folder)
        return Site(folder)

    def arrive(self, number: int) -> None:
        """The file of a day."""
        rows = []
        for step in range(144):
            hour, minute = divmod(10 * step, 60)
            flow = 50 + (step * 7 + number * 3) % 11 + (40 if step == 20 + number else 0)
            rows.append(f"{day(number)}T{hour:02d}:{minute:02d}:00Z,{flow},{(step * 5 + number) % 7}")
        (self.folder / "data" / f"{day(number)}.csv").write_text("\n".join(["t,flow,level", *rows]) + "\n")

    def run(self, *arguments: str) -> float:
        """Run a command to its end; returns the seconds."""
        begun = time.perf_counter()
        command = [*_PROGRAM, *arguments]
        subprocess.run(command, cwd=self.folder, env=self.environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begun

    def done(self) -> int:
        """How many nights the ledger calls published."""
        return sum(batch.state == "published" for batch in open_ledger(self.paths).all())

    def digests(self) -> dict[str, str]:
        """Night -> digest of its report."""
        return {night: sha256_folder(self.paths.report(night)) for night in self.paths.published()}


def day(number: int) -> str:
    """The id of the day of that number."""
    return (FIRST + timedelta(days=number)).isoformat()


def nights(folder: Path) -> list[tuple[str, str]]:
    """Thirty nights in three ways."""
    site = Site(folder / "trained").make()
    for number in range(LEARNT):
        site.arrive(number)
    site.run("train", PIPELINE)
    nightly, backfilled = site.copy(folder / "nightly"), site.copy(folder / "backfilled")
    outage = site.copy(folder / "outage")
    seconds = 0.0
    for number in range(LEARNT, LEARNT + NIGHTS):
        nightly.arrive(number)
        seconds += nightly.run("score", PIPELINE, "--pending")
    rows = [(f"{NIGHTS} nightly runs", f"{seconds:.0f} s")]
    for number in range(LEARNT, LEARNT + NIGHTS):
        backfilled.arrive(number)
        outage.arrive(number)
    last = day(LEARNT + NIGHTS - 1)
    took = backfilled.run("score", PIPELINE, "--from", day(LEARNT), "--to", last, "--jobs", "2")
    rows.append(("the same as a backfill by two processes", f"{took:.0f} s"))
    took = outage.run("score", PIPELINE, "--pending")
    rows.append(("the same made good by one --pending", f"{took:.0f} s"))
    same = nightly.digests() == backfilled.digests() == outage.digests()
    rows.append((f"all {len(nightly.digests())} reports have the same bytes", "yes" if same else "NO"))
    return rows


def killed(folder: Path) -> list[tuple[str, str]]:
    """Two nights of ten batches, killed in the middle."""
    plain = Site(folder / "plain").make()
    for number in range(LEARNT):
        plain.arrive(number)
    plain.run("train", PIPELINE)
    site = plain.copy(folder / "site")
    for number in range(LEARNT, LEARNT + 10):
        site.arrive(number)
        plain.arrive(number)
    fire = datetime.now(UTC) + timedelta(seconds=100)
    site.make({"nightly": f"{fire.minute} {fire.hour} * * *", "time_zone": "UTC"})
    rows = []
    with up(site) as process:
        until(lambda: len(site.paths.published()) >= 3)
        rows.append(("the schedule of the next minute fired, its first report came after", _since(fire)))
        state = json.loads((site.folder / "home" / "up.json").read_text())["processes"]
        _kill(state["score-worker-1"], state["prefect-server"])
        at = len(site.paths.published())
        until(lambda: site.done() == 10)
        rows.append((f"worker, run and server killed after {at} of 10 batches: all 10 after", _since(fire)))
        for number in range(LEARNT + 10, LEARNT + 20):
            site.arrive(number)
            plain.arrive(number)
        fire = datetime.now(UTC) + timedelta(seconds=70)
        site.make({"nightly": f"{fire.minute} {fire.hour} * * *", "time_zone": "UTC"})
        site.run("deploy", PIPELINE)
        until(lambda: len(site.paths.published()) >= 13)
        at = len(site.paths.published())
        _kill(process.pid)
    with up(site):
        until(lambda: site.done() == 20)
        rows.append((f"everything killed after {at} of 20, started again: all 20 after", _since(fire)))
    again = [b.batch for b in open_ledger(site.paths).all() if b.attempts > 1 or b.facts.revision != 1]
    rows.append(("batches begun a second time (those that were killed)", ", ".join(again) or "none"))
    plain.run("score", PIPELINE, "--pending")
    rows.append(
        (
            "reports have the bytes of a run without kills",
            "yes" if site.digests() == plain.digests() else "NO",
        )
    )
    return rows


@contextmanager
def up(site: Site) -> Iterator[subprocess.Popen[bytes]]:
    """A running `aeflow up` of the site, stopped at the end if it still lives."""
    ports = [str(free_port()) for _ in range(3)]
    options = ["--prefect-port", ports[0], "--mlflow-port", ports[1], "--review-port", ports[2]]
    log = site.folder / "up.log"
    with log.open("ab") as file:
        process = subprocess.Popen(
            [*_PROGRAM, "up", PIPELINE, *options],
            cwd=site.folder,
            env=site.environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(true: Callable[[], bool]) -> None:
    """Wait until it is true.

    Raises:
        TimeoutError: it never was.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    while not true():
        if time.monotonic() > end:
            msg = f"not so within {_PATIENCE_SECONDS:.0f} s"
            raise TimeoutError(msg)
        time.sleep(0.05)


def _kill(*pids: int) -> None:
    """These processes and all below them, at once."""
    import psutil  # noqa: PLC0415 - of the tests' setup

    for pid in pids:
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def _since(fire: datetime) -> str:
    return f"{(datetime.now(UTC) - fire.replace(second=0, microsecond=0)).total_seconds():.0f} s"


def main() -> None:
    """Run the parts and print their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["nights", "killed"], help="one part")
    chosen = parser.parse_args().only
    parts = {"nights": nights, "killed": killed}
    for name in [chosen] if chosen else list(parts):
        with tempfile.TemporaryDirectory(prefix="aeflow-nightly-") as folder:
            for what, seen in parts[name](Path(folder)):
                print(f"{name:8} {what:70} {seen}", flush=True)


if __name__ == "__main__":
    main()
