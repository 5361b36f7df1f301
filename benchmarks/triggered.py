"""Retraining as an installation lives it: `python -m benchmarks.triggered`, a table of what was seen.

`aeflow up` with a plant of eight channels whose season changes for good. The scheduled night decides RETRAIN and
emits the event; Prefect's automation runs the deployment on the pool for training, whose worker trains; the
challenger meets the champion. A second event at the same time trains nothing. Then a retraining by hand, one by
verdicts and one by age, and the watch, fired by its schedule, which tells a webhook of the night that is missing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from aeflow.store.retrainings import Step, open_retrainings
from aeflow.store.verdicts import Verdict, Word, open_verdicts
from benchmarks.installation import Installation, Seen, day, in_seconds, since, tell, until, up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.installation import Up

PIPELINE = "plant"
CHANNELS, ROWS = 8, 288
LEARNT, NEW_SEASON = 14, 8
_EMIT = """
from flows.events import RETRAIN_REQUESTED, emit
assert emit(RETRAIN_REQUESTED, "plant", {"config": "plant", "reason": "The same, seen by another."})
"""


class Plant(Installation):
    """Eight channels that follow three causes and a noise; a day is a file of readings of five minutes each."""

    def __init__(self, folder: Path, webhook: str) -> None:
        """webhook: where people are told things."""
        super().__init__(folder, PIPELINE)
        self.environment["PLANT_WEBHOOK"] = webhook
        generator = np.random.default_rng(0)
        self._mix = generator.normal(0, 1, (3, CHANNELS))
        self._level = generator.uniform(20, 80, CHANNELS)

    def make(self, cron: str | None = None, **retraining: object) -> None:
        """Write its config, in which retraining is as by default but for what is given."""
        self.write(
            {
                "source": {
                    "kind": "table",
                    "path": "../data",
                    "time_column": "t",
                    "channels": [f"c{c}" for c in range(CHANNELS)],
                },
                "batch": {"by": "period", "period": "day"},
                "history": {"first": day(0), "last": day(LEARNT - 1)},
                "split": {
                    "train": 0.5,
                    "validation": 0.1,
                    "calibration": 0.2,
                    "test": 0.2,
                    "stretches": LEARNT,
                },
                "prepare": {"kind": "series", "cadence_seconds": 300, "window_points": 6},
                "model": {"family": "pca"},
                "calibration": {"false_flags_per_batch": 1},
                "retraining": retraining,
                "schedule": {"nightly": cron, "time_zone": "UTC", "grace_hours": 1e-3} if cron else {},
                "notify": {"channels": [{"url": "${PLANT_WEBHOOK}"}]},
            }
        )

    def night(self, number: int, *, new_season: bool = False) -> None:
        """The file of a day. In the new season the load lies higher and swings more, the channels lie a little
        off where the causes put them, and the noise is larger."""
        generator = np.random.default_rng(1000 + number)
        angle = 2 * np.pi * np.arange(ROWS) / ROWS
        load = np.zeros(ROWS)
        for step in range(1, ROWS):
            load[step] = 0.9 * load[step - 1] + generator.normal(0, 0.4)
        causes = np.column_stack([np.sin(angle) + 0.2 * generator.normal(), np.cos(angle), load])
        noise = generator.normal(0, 0.3, (ROWS, CHANNELS))
        if new_season:
            causes = 1.2 * causes + [0, 0, 2]
            noise = 1.3 * noise + 0.7 * (-1) ** np.arange(CHANNELS)
        values = self._level + causes @ self._mix + noise
        rows = []
        for step, reading in enumerate(values):
            hour, minute = divmod(5 * step, 60)
            rows.append(
                ",".join([f"{day(number)}T{hour:02d}:{minute:02d}:00Z", *(f"{v:.4f}" for v in reading)])
            )
        self.arrive(number, ",".join(["t", *(f"c{c}" for c in range(CHANNELS))]), rows)

    def versions(self) -> list[dict[str, Any]]:
        """What `aeflow models` lists."""
        found: list[dict[str, Any]] = json.loads(self.run("models", PIPELINE, "--json")[1])
        return found

    def say_of_a_flag(self, batch: str) -> None:
        """Somebody calls one flag of a batch false."""
        flags = pq.read_table(self.paths.report(batch) / "flags.parquet", columns=["flag_id"])["flag_id"]
        said = Verdict(
            flags[0].as_py(), batch, Word.FALSE, "anna", datetime.now(UTC), note="it is the season"
        )
        open_verdicts(self.paths).add([said])


def triggered(folder: Path) -> Iterator[Seen]:
    """What is seen, as it is seen."""
    with webhook() as (address, told):
        plant = Plant(folder / "plant", address)
        plant.make()
        for number in range(LEARNT):
            plant.night(number)
        plant.run("train", PIPELINE)
        for number in range(LEARNT, LEARNT + NEW_SEASON):
            plant.night(number, new_season=True)
        fire, cron = in_seconds(60)
        plant.make(cron)
        with up(plant) as running:
            until(lambda: running.runs("retrain"))
            yield Seen(
                "the scheduled night decided, and the automation began the retraining, after", since(fire)
            )
            _emit_again(plant, running)
            first, second = _ended(running, 2)
            yield Seen("it was asked for since", first["parameters"]["reason"])
            where = f"{first['work_pool_name']}, {first['work_queue_name']}"
            yield Seen("on pool and queue", where, where == "train, gpu")
            states = [first["state"]["name"], second["state"]["name"]]
            yield Seen(
                "it ended, and so did that of a second event", ", ".join(states), states == ["Completed"] * 2
            )
            yield from _came_of_it(plant, "two triggers", trainings=1, trigger="drift", live=2)
            page = max(plant.home.glob("mlartifacts/**/promotion.md"), key=lambda p: p.stat().st_mtime)
            head = page.read_text().splitlines()[0]
            yield Seen("promotion.md at the version's run", head, "goes live" in head)
            running.ask_for("retrain", force=True, reason="a new pump")
            _ended(running, 3)
            yield from _came_of_it(plant, "by hand", trainings=2, trigger="request")
            plant.make(cron, on_verdicts=1, cool_down_days=0)
            plant.say_of_a_flag(day(LEARNT))
            plant.night(LEARNT + NEW_SEASON, new_season=True)
            running.ask_for("nightly")
            _ended(running, 4)
            yield from _came_of_it(plant, "by a verdict", trainings=3, trigger="verdicts")
            plant.make(cron, on_age_days=1e-6, cool_down_days=0)
            plant.night(LEARNT + NEW_SEASON + 1, new_season=True)
            running.ask_for("nightly")
            _ended(running, 5)
            yield from _came_of_it(plant, "by age", trainings=4, trigger="age")
            fire, cron = in_seconds(20)
            running.schedule("watch", cron)
            (watch, *_) = until(lambda: running.over("watch"))
            state = watch["state"]["name"]
            yield Seen(
                "the watch, fired by its schedule, ended after",
                f"{since(fire)}, {state}",
                state == "Completed",
            )
        for what in ("Decision after the night: RETRAIN", "Detector 2 went live", "The night", "new flags"):
            found = [line for line in told if what in line]
            yield Seen("people were told", ", ".join(found) or f"nothing of {what}", bool(found))


def _emit_again(plant: Plant, running: Up) -> None:
    """The event once more, as another process would see the same."""
    environment = plant.environment | {"PREFECT_API_URL": running.api}
    subprocess.run([sys.executable, "-c", _EMIT], cwd=plant.folder, env=environment, check=True)


def _ended(running: Up, number: int) -> list[dict[str, Any]]:
    """The runs of the retraining, once so many have come to an end."""
    return until(lambda: found if len(found := running.over("retrain")) >= number else [])


def _came_of_it(
    plant: Plant, how: str, *, trainings: int, trigger: str, live: int | None = None
) -> Iterator[Seen]:
    """The last training, and which version is live; live: which should be, where it is sure."""
    steps = open_retrainings(plant.paths).all()
    begun = [step for step in steps if step.step == Step.BEGUN]
    right = (len(begun), begun[-1].trigger) == (trainings, trigger)
    yield Seen(f"{how}: trainings so far, the last for", f"{len(begun)}, {begun[-1].trigger}", right)
    versions = plant.versions()
    champion = next(v["version"] for v in versions if "champion" in v["aliases"])
    right = len(versions) == trainings + 1 and live in {None, champion}
    yield Seen(f"{how}: version {len(versions)} came of it, live is", str(champion), right)


@contextmanager
def webhook() -> Iterator[tuple[str, list[str]]]:
    """An address as Apprise takes it, and what was posted there, title and body line by line."""
    told: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            posted = json.loads(content)
            told.extend([posted["title"], *posted["message"].splitlines()])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    server = HTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"json://127.0.0.1:{server.server_address[1]}", told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main() -> int:
    """Run it; the exit code is the number of lines that are not as they should be."""
    with tempfile.TemporaryDirectory(prefix="aeflow-triggered-") as folder:
        return tell("triggered", triggered(Path(folder)))


if __name__ == "__main__":
    raise SystemExit(main())
