"""With a Prefect server a run is followed step by step, and comes to the same report as without one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from aeflow.exceptions import SourceError
from aeflow.settings import prepare_environment
from aeflow.store.digests import manifest
from tests.integration.conftest import copy_of

pytestmark = pytest.mark.prefect

STARTS_WITHIN_SECONDS = 120


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The API address of a server of these tests' own."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("PREFECT")]:
            patch.delenv(name)
        prepare_environment(folder)
        environment |= {k: v for k, v in os.environ.items() if k.startswith("PREFECT")}
    environment |= {
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "DO_NOT_TRACK": "1",
    }
    program = Path(sys.executable).with_name("prefect")
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(
            [program, "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}/api"
    try:
        wait_for(url, running, folder / "log")
        yield url
    finally:
        running.terminate()
        try:
            running.wait(timeout=20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def wait_for(url, running, log):
    until = time.monotonic() + STARTS_WITHIN_SECONDS
    while time.monotonic() < until:
        assert running.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"the Prefect server did not start: {log.read_text()}")


def ask(url, what, **body):
    request = urllib.request.Request(
        f"{url}/{what}/filter", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@contextmanager
def followed_by(url):
    """Flows of this process report to the server, without the second of their heartbeat."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_LOGGING_TO_API_ENABLED,
        temporary_settings,
    )

    settings = {
        PREFECT_API_URL: url,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        PREFECT_LOGGING_TO_API_ENABLED: False,
    }
    with temporary_settings(settings):
        yield


def test_a_followed_run_shows_steps_and_artifacts_and_gives_the_same_report(server, trained, tmp_path):
    plain = copy_of(trained, tmp_path / "plain", same_data=True)
    plain.ok("score", "water", "--batch", "2022-W17")
    space = copy_of(trained, tmp_path / "followed", same_data=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW"))}
    environment |= {"AEFLOW_HOME": str(space.home), "PREFECT_API_URL": server, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from aeflow.cli import main; main()"]
    done = subprocess.run(
        [*command, "score", "water", "--batch", "2022-W17"],
        cwd=space.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "126 scored" in done.stdout
    report = "2022-W17"
    assert manifest(space.paths("water").report(report)) == manifest(plain.paths("water").report(report))

    (run,) = ask(server, "flow_runs", flow_runs={"name": {"any_": [report]}})
    assert run["state"]["name"] == "Completed"
    wanted = {
        "fetch_detector",
        "take_in_batch",
        "check",
        "score_and_judge",
        "learn_from_verdicts",
        "refuse_if_damaged",
        "build_report",
        "publish_report",
    }
    until = time.monotonic() + 30
    names: dict[str, str] = {}
    while time.monotonic() < until and not (names.keys() == wanted and set(names.values()) == {"Completed"}):
        found = ask(server, "task_runs", flow_runs={"id": {"any_": [run["id"]]}})
        # A task that was just made known has no state yet.
        names = {task["name"].rsplit("-", 1)[0]: (task["state"] or {}).get("name") for task in found}
        time.sleep(0.2)  # the server takes task runs in bundles
    assert names == dict.fromkeys(wanted, "Completed")

    artifacts = {a["key"]: a for a in ask(server, "artifacts")}
    assert "126 scored" in artifacts["score-water"]["data"]
    assert "/report.html)" in artifacts["report-water"]["data"]
    flags = json.loads(artifacts["flags-water"]["data"])
    assert len(flags) == plain.summary("water", report)["flags"]
    assert {"severity", "start", "end", "flag_id"} <= flags[0].keys()
    assert float(artifacts["progress-water"]["data"]) == 100.0


def test_io_steps_are_tried_three_times_and_computing_steps_once(server, monkeypatch):
    from prefect import flow

    from flows import io_tasks

    monkeypatch.setattr(io_tasks, "_RETRY_SECONDS", [0.0, 0.0])
    calls = {"io": 0, "computing": 0, "ours": 0}

    @io_tasks.io_step
    def read():
        calls["io"] += 1
        if calls["io"] < 3:
            raise ConnectionError("the source did not answer")
        return "rows"

    @io_tasks.step
    def compute():
        calls["computing"] += 1
        raise ConnectionError("once is enough")

    @io_tasks.io_step
    def refuse():
        calls["ours"] += 1
        raise SourceError("a person has to mend it")

    @flow(name="steps", persist_result=False)
    def steps():
        assert read() == "rows"
        with pytest.raises(ConnectionError):
            compute()
        with pytest.raises(SourceError):
            refuse()

    with followed_by(server):
        steps()
    assert calls == {"io": 3, "computing": 1, "ours": 1}
