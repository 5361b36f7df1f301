"""The ledger on a real PostgreSQL server, started for these tests where one is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aeflow.review.board import Board
from aeflow.store.claims import Claim
from aeflow.store.ledger import Facts, open_ledger
from aeflow.store.paths import Paths
from aeflow.store.verdicts import Verdict, Word, open_verdicts
from benchmarks.review_store import MadeUp, write_night
from tests.integration.postgresql import postgresql_server

NOW = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)
CLAIM = Claim(path=Path("x"), host="host", pid=17, since=NOW)

WORK = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from aeflow.store.claims import Claim
from aeflow.store.ledger import Facts, open_ledger
from aeflow.store.paths import Paths
now = datetime(2026, 11, 20, tzinfo=UTC)
mine = Claim(Path("x"), "host", 1, now)
ledger = open_ledger(Paths(Path("unused"), "pump"))
for i in range(10):
    ledger.begin(f"{sys.argv[1]}-{i}", mine, now=now)
    ledger.finish(f"{sys.argv[1]}-{i}", mine, Facts(revision=1), now=now)
"""


@pytest.fixture(scope="module")
def server():
    """The address of a new, empty database."""
    with postgresql_server() as address:
        yield f"{address}/postgres"


def test_processes_that_make_the_ledger_at_once_lose_nothing(server, monkeypatch, tmp_path):
    monkeypatch.setenv("AEFLOW_LEDGER_URL", server)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(n)], stderr=subprocess.PIPE, text=True, env=environment
        )
        for n in range(3)
    ]
    assert [process.communicate(timeout=60)[1] for process in running] == ["", "", ""]
    ledger = open_ledger(Paths(tmp_path, "pump"))
    assert len(ledger.all()) == 30
    assert len(ledger.history()) == 60
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_comes_back(server, monkeypatch, tmp_path):
    monkeypatch.setenv("AEFLOW_LEDGER_URL", server)
    ledger = open_ledger(Paths(tmp_path, "motor"))
    facts = Facts(revision=1, input_digest="i" * 64, rows_in=5_000_000_000, scored=5_000_000_000)
    for batch in ("b", "B", "a"):
        ledger.begin(batch, CLAIM, now=NOW)
        ledger.finish(batch, CLAIM, facts, now=NOW)
    ledger.begin("b", CLAIM, now=NOW)
    row = ledger.fail("b", CLAIM, "no", now=NOW)
    assert (row.state, row.facts, row.started_at, row.attempts) == ("failed", facts, NOW, 2)
    assert [b.batch for b in ledger.all()] == ["B", "a", "b"]
    assert [c.state for c in ledger.history("b")] == ["running", "published", "running", "failed"]


def test_reviewers_on_one_server_hear_each_other(server, monkeypatch, tmp_path):
    monkeypatch.setenv("AEFLOW_LEDGER_URL", server)
    paths = Paths(tmp_path, "reviewed")
    write_night(paths, MadeUp(1, 5), 0)
    anna, ben = Board(paths), Board(paths)
    flag = anna.now().catalogue.flag_ids[2]
    said = Verdict(flag, "2024-01-01", Word.TRUE, "anna", NOW, "bearing", 1)
    anna.say([said])
    assert ben.now().said[flag] == (said,)
    ben.say([replace(said, word=Word.FALSE, reviewer="ben", at=NOW + timedelta(minutes=1))])
    assert anna.now().state_of(2) == "disputed"
    ben.say([replace(said, word=Word.RETRACTED, reviewer="ben", at=NOW + timedelta(minutes=2))])
    assert anna.now().state_of(2) == "true"
    assert len(open_verdicts(paths).all()) == 3
