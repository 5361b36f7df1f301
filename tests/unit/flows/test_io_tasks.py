"""Steps are plain functions where no Prefect server follows the run."""

from __future__ import annotations

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
    from prefect import flow

    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    @flow
    def tell(what):
        return what, io_tasks.tracked()

    assert io_tasks.run(tell, "yes") == ("yes", False)
