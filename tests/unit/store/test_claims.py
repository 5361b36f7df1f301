from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from aeflow.exceptions import AlreadyRunning
from aeflow.store.claims import claim, exclusive, holder

NOW = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)

HOLD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from aeflow.store.claims import claim
with claim(Path(sys.argv[1]), "it", now=datetime(2026, 11, 20, tzinfo=UTC)):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """A claim that another process holds: (path, process)."""
    path = tmp_path / "a.claim"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield path, process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_claim_is_held_by_one_and_free_afterwards(tmp_path):
    path = tmp_path / "claims" / "a.claim"
    assert holder(path) is None
    with claim(path, "it", now=NOW) as mine:
        assert (mine.host, mine.pid, mine.since) == (socket.gethostname(), os.getpid(), NOW)
        assert holder(path) == mine
    assert holder(path) is None
    assert list(path.parent.iterdir()) == []


def test_a_second_run_is_refused_and_told_who_holds_the_claim(held):
    path, process = held
    found = holder(path)
    assert found is not None
    assert found.pid == process.pid
    with (
        pytest.raises(AlreadyRunning, match=f"batch 1 is being run by process {process.pid} on"),
        claim(path, "batch 1", now=NOW),
    ):
        pass
    assert holder(path) == found


def test_the_claim_of_a_killed_process_is_free_at_once(held):
    path, process = held
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert path.exists()
    assert holder(path) is None
    with claim(path, "it", now=NOW) as mine:
        assert holder(path) == mine


def test_two_threads_of_one_process_exclude_each_other(tmp_path):
    path = tmp_path / "a.claim"
    refused = []

    def try_it():
        try:
            with claim(path, "it", now=NOW):
                pass
        except AlreadyRunning as error:
            refused.append(error)

    with claim(path, "it", now=NOW):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert len(refused) == 1


def test_an_error_in_the_block_frees_the_claim(tmp_path):
    path = tmp_path / "a.claim"
    with pytest.raises(RuntimeError), claim(path, "it", now=NOW):
        raise RuntimeError
    assert holder(path) is None


def test_looking_does_not_keep_a_run_from_starting(tmp_path):
    path = tmp_path / "a.claim"
    stop = threading.Event()

    def look():
        while not stop.is_set():
            holder(path)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(50):
            with claim(path, "it", now=NOW) as mine:
                assert mine.pid == os.getpid()
    finally:
        stop.set()
        thread.join()


def _race(path, log, rounds):
    for _ in range(rounds):
        try:
            with claim(path, "it", now=NOW):
                descriptor = os.open(log, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                os.close(descriptor)
                log.unlink()
        except AlreadyRunning:
            pass


def test_processes_that_race_never_hold_it_together(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_race, args=(tmp_path / "a.claim", tmp_path / "log", 100)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [w.exitcode for w in workers] == [0, 0, 0]


def test_others_wait_for_an_exclusive_block(tmp_path):
    order = []
    inside = threading.Event()

    def second():
        inside.wait(10)
        with exclusive(tmp_path / "x.lock"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with exclusive(tmp_path / "x.lock"):
        inside.set()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
