from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aeflow.review.serve import open_desk
from benchmarks.review_store import MadeUp, write_store

HOSTILE = "<script>alert(1)</script>"
WHAT = MadeUp(
    nights=3,
    flags_a_night=12,
    entities=("pump-1", f"pump-2 {HOSTILE}", "pump-3", "pump-4"),
    channels=("pressure", f"flow {HOSTILE}", "current"),
)


@pytest.fixture(scope="session")
def made_up(tmp_path_factory):
    """A store of 36 flags that no test writes to."""
    return write_store(tmp_path_factory.mktemp("made-up"), WHAT)


@pytest.fixture
def store(tmp_path, made_up, monkeypatch):
    """The config of a store of the test's own: the same reports, and a ledger of its own."""
    monkeypatch.delenv("AEFLOW_HOME", raising=False)
    monkeypatch.delenv("AEFLOW_LEDGER_URL", raising=False)
    config = tmp_path / "configs" / made_up.name
    config.parent.mkdir()
    config.write_bytes(made_up.read_bytes())
    reports = tmp_path / ".aeflow" / "reports"
    reports.mkdir(parents=True)
    (reports / "pumps").symlink_to(made_up.parents[1] / ".aeflow" / "reports" / "pumps")
    return config


class Clock:
    """A time that a test sets."""

    def __init__(self):
        self.now = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)

    def __call__(self):
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def desk(store):
    """What the app works with, on loopback."""

    def opened(**options):
        made = open_desk(store, **{"host": "127.0.0.1", "reviewer": "anna", **options})
        object.__setattr__(made, "clock", Clock())
        return made

    return opened
