"""What a supervisor keeps alive it also ends, with everything that was started below it."""

from __future__ import annotations

import socket
import sys
import time

import psutil
import pytest

from aeflow.exceptions import InputError, StorageError
from flows.up.run import tell_addresses, write_state
from flows.up.services import Addresses, choose_services
from flows.up.supervisor import Service, Supervisor

SLEEPER = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"


def service(tmp_path, code, name="one", **options):
    return Service(name, (sys.executable, "-c", code), {}, tmp_path / f"{name}.log", **options)


def wait_for(true):
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_ends_is_started_again_and_said_so(tmp_path):
    said = []
    supervisor = Supervisor(said.append)
    supervisor.start([service(tmp_path, "import time; time.sleep(60)")])
    try:
        first = supervisor.pids["one"]
        psutil.Process(first).kill()
        wait_for(supervisor.keep_alive)
        assert supervisor.pids["one"] != first
        (sentence,) = said
        assert sentence.startswith("one was killed by signal 9; it is started again.")
    finally:
        supervisor.stop(grace_seconds=0.1)


def test_stopping_ends_children_of_children_even_of_one_that_was_killed(tmp_path):
    supervisor = Supervisor(lambda _text: None)
    supervisor.start([service(tmp_path, SLEEPER)])
    leader = psutil.Process(supervisor.pids["one"])
    wait_for(leader.children)
    (orphan,) = leader.children()
    leader.kill()
    wait_for(supervisor.keep_alive)
    again = psutil.Process(supervisor.pids["one"])
    supervisor.stop(grace_seconds=5)
    _, alive = psutil.wait_procs([orphan, again], timeout=5)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
    assert supervisor.pids == {}


def test_one_that_does_not_end_when_asked_is_killed(tmp_path):
    supervisor = Supervisor(lambda _text: None)
    supervisor.start([service(tmp_path, STUBBORN)])
    process = psutil.Process(supervisor.pids["one"])
    wait_for(lambda: "on" in (tmp_path / "one.log").read_text())
    supervisor.stop(grace_seconds=0.2)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_one_that_does_not_start_is_told_with_the_end_of_its_log(tmp_path):
    supervisor = Supervisor(lambda _text: None)
    bad = service(tmp_path, "raise SystemExit('the port is taken')", health="http://127.0.0.1:9/")
    with pytest.raises(StorageError, match="ended with exit code 1") as told:
        supervisor.start([bad])
    assert "the port is taken" in str(told.value)
    supervisor.stop(grace_seconds=0.1)


def test_a_port_that_is_taken_is_refused_before_anything_starts(tmp_path, home, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} of 127.0.0.1") as told:
            choose_services(home, [], Addresses(prefect_port=port), score_workers=1, train_workers=1)
        assert "--prefect-port" in str(told.value)


def test_a_password_is_on_no_command_line_and_in_nothing_that_is_shown(tmp_path, home, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "postgresql://mlflow:hush@127.0.0.1:1/mlflow")
    monkeypatch.setenv("PREFECT_API_URL", "http://me:hush@prefect.example:4200/api")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    services = choose_services(home, [], Addresses(mlflow_port=port), score_workers=1, train_workers=1)
    (server,) = services.servers
    assert not any("hush" in word for service in [server, *services.workers] for word in service.command)
    assert server.environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql://mlflow:hush@127.0.0.1:1/mlflow"

    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "https://me:hush@mlflow.example/at/@home")
    said = []
    home.mkdir(exist_ok=True)
    tell_addresses(home, [], Addresses(), said.append)
    write_state(home, Addresses(), Supervisor(said.append))
    shown = "\n".join([*said, (home / "up.json").read_text()])
    assert "hush" not in shown
    assert shown.count("https://mlflow.example/at/@home") == 2
    assert shown.count("http://prefect.example:4200") == 2


def test_servers_of_others_are_used_and_not_started(tmp_path, home, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example:4200/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    services = choose_services(home, [], Addresses(), score_workers=2, train_workers=1)
    assert services.servers == ()
    assert [w.name for w in services.workers] == ["score-worker-1", "score-worker-2", "train-worker-1"]
    assert services.environment["PREFECT_API_URL"] == "http://prefect.example:4200/api"
    assert Addresses().mlflow == "http://mlflow.example:5000"
