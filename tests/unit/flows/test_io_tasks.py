"""Steps are plain functions where no Prefect server follows the run."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextvars import ContextVar

import pytest

from flows import io_tasks


@pytest.mark.parametrize("kind", [io_tasks.step, io_tasks.io_step])
def test_without_a_server_a_step_is_the_function_itself_called_once(kind):
    calls = []

    @kind
    def read(number, *, unit="m"):
        """Reads."""
        calls.append(number)
        raise ConnectionError(f"{number} {unit}")

    assert (read.__name__, read.__doc__) == ("read", "Reads.")
    with pytest.raises(ConnectionError, match="3 km"):
        read(3, unit="km")
    assert calls == [3]


def test_a_flow_runs_as_a_plain_function_without_a_server(monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    def tell(what):
        return what, io_tasks.tracked()

    assert io_tasks.run(tell, "yes") == ("yes", False)


def test_every_flow_is_known_to_prefect_by_its_function():
    from flows.prefect_flows import FLOWS

    assert {flow.name: flow.fn for flow in FLOWS.values()} == {
        function.__name__.replace("_", "-"): function for function in FLOWS
    }


def test_without_a_server_prefect_is_not_imported():
    program = "import sys, flows.score_batch, flows.train_detector; print('prefect' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


def test_what_runs_beside_a_block_ends_before_the_block_does():
    begun, ended = threading.Event(), threading.Event()

    def work(answer):
        begun.wait(timeout=20)
        ended.set()
        return answer

    with io_tasks.beside(work, 7) as working:
        begun.set()
    assert ended.is_set()
    assert working.result() == 7


def test_an_error_beside_a_block_is_raised_where_its_result_is_asked_for():
    def fail():
        raise ValueError("beside")

    with io_tasks.beside(fail) as failing, pytest.raises(ValueError, match="beside"):
        failing.result()


def test_what_runs_beside_sees_the_context_of_the_block():
    place = ContextVar("place", default="nowhere")
    place.set("here")
    with io_tasks.beside(place.get) as asked:
        assert asked.result() == "here"
