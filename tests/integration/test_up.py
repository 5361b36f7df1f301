"""`aeflow up` against its real servers: an outage is made good, kills in the middle change nothing, an
event retrains, and at the end nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from aeflow.store.digests import sha256_folder
from aeflow.store.nightly_runs import open_nightly_runs
from tests.integration.conftest import copy_of

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

PENDING = ["2022-W11", "2022-W12", "2022-W13", "2022-W17", "2022-W18", "2022-W19", "2022-W20"]
PATIENCE_SECONDS = 240


class Up:
    """A running `aeflow up` of one workspace."""

    def __init__(self, space, *configs):
        self.space = space
        self.prefect, self.mlflow, self.review = free_port(), free_port(), free_port()
        self.api = f"http://127.0.0.1:{self.prefect}/api"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW", "AEFLOW"))}
        self.environment = kept | {"AEFLOW_HOME": str(space.home), "OMP_NUM_THREADS": "1"}
        self.log = space.folder / "up.log"
        program = [sys.executable, "-c", "from aeflow.cli import main; main()"]
        ports = ["--prefect-port", str(self.prefect), "--mlflow-port", str(self.mlflow)]
        ports += ["--review-port", str(self.review)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*program, "up", *configs, *ports],
                cwd=space.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(lambda: "Ready." in self.log.read_text() or self.process.poll() is not None, self)
        assert self.process.poll() is None, self.log.read_text()
        self.begun = self.below()

    def below(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def pid(self, service):
        return json.loads((self.space.home / "up.json").read_text())["processes"][service]

    def ask(self, what, **body):
        request = urllib.request.Request(
            f"{self.api}/{what}/filter", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except OSError:  # it is being started again
            return []

    def runs_of(self, flow):
        """The runs of a flow that have come, in the order in which they did."""
        found = self.ask("flow_runs", flows={"name": {"any_": [flow]}}, sort="START_TIME_ASC")
        return [run for run in found if run["state"] and run["state"]["type"] != "SCHEDULED"]

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def until(true, up):
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := true()):
        if time.monotonic() > end:
            logs = [up.log, *sorted((up.space.home / "logs").glob("*worker*.log"))]
            pytest.fail("\n".join(f"{log.name}:\n{log.read_text()[-3000:]}" for log in logs))
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def up(trained, tmp_path_factory):
    """Brought up after an outage of two days: deployed then, and nothing ran since."""
    space = copy_of(trained, tmp_path_factory.mktemp("up") / "space")
    space.set("water", schedule={"nightly": "0 4 * * *", "time_zone": "Europe/Rome"})
    before = datetime.now(UTC) - timedelta(days=2)
    open_nightly_runs(space.paths("water")).expect(now=before)
    running = Up(space, "water")
    yield running
    if running.process.poll() is None:
        running.process.kill()
    for process in running.begun:
        if process.is_running():
            process.kill()


def test_a_night_whose_worker_and_server_are_killed_in_the_middle_completes_once(up, trained, tmp_path):
    paths = up.space.paths("water")
    until(lambda: len(paths.published()) >= 2, up)
    untouched = {b: sha256_folder(paths.report(b)) for b in paths.published()[:2]}
    times = {b: (paths.report(b) / "scores.parquet").stat().st_mtime_ns for b in untouched}
    server, worker = up.pid("prefect-server"), psutil.Process(up.pid("score-worker-1"))
    for process in [worker, *worker.children(recursive=True), psutil.Process(server)]:
        process.send_signal(signal.SIGKILL)
    assert paths.published() != PENDING

    until(lambda: paths.published() == PENDING, up)
    runs = until(lambda: settled(up.runs_of("nightly")), up)
    assert [run["state"]["name"] for run in runs] == ["Crashed", "Completed"]
    assert up.pid("prefect-server") != server

    ledger = up.space.ledger("water")
    assert [(b.batch, b.state, b.facts.revision) for b in ledger.all()] == [
        (batch, "published", 1) for batch in PENDING
    ]
    assert sum(b.attempts for b in ledger.all()) <= len(PENDING) + 1
    assert {b: (paths.report(b) / "scores.parquet").stat().st_mtime_ns for b in untouched} == times

    plain = copy_of(trained, tmp_path / "plain", same_data=True)
    plain.set("water", schedule={"nightly": "0 4 * * *", "time_zone": "Europe/Rome"})
    plain.ok("score", "water", "--pending")
    assert [up.space.digest("water", b) for b in PENDING] == [plain.digest("water", b) for b in PENDING]
    artifacts = {a["key"] for a in up.ask("artifacts")}
    assert {"score-water", "flags-water", "progress-water"} <= artifacts


def settled(runs):
    """All runs, once there are two and both have come to an end."""
    return runs if len(runs) >= 2 and all(is_over(run) for run in runs) else None


def test_the_event_of_a_decision_starts_the_retraining_with_its_reason(up):
    code = (
        "from pathlib import Path; from flows.events import RETRAIN_REQUESTED, emit; "
        "assert emit(RETRAIN_REQUESTED, 'water', {'config': 'water', 'reason': 'Flow has moved.'})"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        env=up.environment | {"PREFECT_API_URL": up.api, "PREFECT_HOME": str(up.space.home / "prefect")},
        check=True,
    )
    (run,) = until(lambda: [r for r in up.runs_of("retrain") if is_over(r)], up)
    assert (run["state"]["name"], run["parameters"]["reason"]) == ("Completed", "Flow has moved.")
    assert (run["work_pool_name"], run["work_queue_name"]) == ("train", "gpu")


def is_over(run):
    return run["state"]["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def test_parameters_that_cannot_be_are_refused_when_a_run_is_asked_for(up):
    (deployment,) = up.ask("deployments", flows={"name": {"any_": ["backfill"]}})
    wrong = {"batches": {"first": "2022-W17", "jobs": 0}}
    request = urllib.request.Request(
        f"{up.api}/deployments/{deployment['id']}/create_flow_run",
        json.dumps({"parameters": wrong}).encode(),
        {"Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code in {409, 422}
    assert "minimum of 1" in refused.value.read().decode()


def test_deploying_again_changes_nothing_twice(up):
    before = [{d["id"] for d in up.ask("deployments")}, {a["id"] for a in up.ask("automations")}]
    done = up.space.ok("deploy", "water")
    assert "nightly/water: 0 4 * * * Europe/Rome" in done
    assert [{d["id"] for d in up.ask("deployments")}, {a["id"] for a in up.ask("automations")}] == before
    queues = {q["name"]: q["priority"] for q in up.ask("work_queues")}
    assert queues["nightly"] < queues["backfill"]


def test_ctrl_c_ends_everything(up):
    children = [p for p in up.below() if p.is_running()]
    assert len(children) >= 5
    assert up.stop() == 0, up.log.read_text()
    _gone, alive = psutil.wait_procs(children, timeout=5)
    assert not alive, alive
    for port in (up.prefect, up.mlflow, up.review):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert not (up.space.home / "up.json").exists()
