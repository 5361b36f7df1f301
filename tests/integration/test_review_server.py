"""The review app as the command starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from benchmarks.review_store import MadeUp, write_store


@pytest.fixture
def start(tmp_path):
    """A function that starts the command on a small store."""
    config = write_store(tmp_path, MadeUp(1, 3))
    environment = {k: v for k, v in os.environ.items() if k not in {"AEFLOW_HOME", "AEFLOW_LEDGER_URL"}}
    running = []

    def begin(*options):
        process = subprocess.Popen(
            [sys.executable, "-c", "from aeflow.cli import main; main()", "review", str(config), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def test_it_answers_where_it_says_refuses_a_taken_port_and_ends_on_ctrl_c(start):
    app = start("--port", "0", "--reviewer", "anna")
    told = app.stdout.readline()
    assert told.startswith("pumps: 3 flags to review at http://127.0.0.1:")
    address = told.split(" at ")[1].strip()
    with urllib.request.urlopen(address, timeout=20) as answer:
        assert "3 open flags" in answer.read().decode()
    second = start("--port", address.rsplit(":", 1)[1].strip("/"))
    out, err = second.communicate(timeout=60)
    assert (second.returncode, out) == (2, "")
    assert "Choose another --port" in err
    app.send_signal(signal.SIGINT)
    assert app.communicate(timeout=20) == ("", "")
    assert app.returncode == 0
