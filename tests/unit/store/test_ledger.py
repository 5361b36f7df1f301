from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from aeflow.exceptions import InputError, StorageError
from aeflow.store.claims import Claim
from aeflow.store.ledger import Facts, open_ledger
from aeflow.store.paths import Paths

NOW = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)
LATER = NOW + timedelta(minutes=3)
CLAIM = Claim(path=Path("x"), host="host", pid=17, since=NOW)
FACTS = Facts(
    revision=1,
    report_digest="r" * 64,
    input_digest="i" * 64,
    config_digest="c" * 64,
    detector_version=4,
    rows_in=1440,
    scored=1400,
    quarantined=30,
    not_scorable=10,
    flags=2,
)


@pytest.fixture
def ledger(home, monkeypatch):
    monkeypatch.delenv("AEFLOW_LEDGER_URL", raising=False)
    return open_ledger(Paths(home, "pump"))


def test_a_batch_runs_and_is_published_with_its_facts(ledger):
    begun = ledger.begin("b", CLAIM, now=NOW)
    assert (begun.state, begun.started_at, begun.finished_at, begun.attempts) == ("running", NOW, None, 1)
    done = ledger.finish("b", CLAIM, FACTS, now=LATER)
    assert (done.state, done.facts, done.finished_at) == ("published", FACTS, LATER)
    assert ledger.get("b") == done


def test_times_come_back_aware_in_utc_whatever_zone_they_were_given_in(ledger):
    local = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    row = ledger.begin("b", CLAIM, now=local)
    assert row.started_at == NOW
    assert row.started_at.utcoffset() == timedelta(0)


def test_a_time_without_an_offset_is_refused(ledger):
    with pytest.raises(InputError, match="aware time"):
        ledger.begin("b", CLAIM, now=NOW.replace(tzinfo=None))


def test_a_failed_rerun_keeps_the_facts_of_the_report_that_can_be_read(ledger):
    ledger.begin("b", CLAIM, now=NOW)
    ledger.finish("b", CLAIM, FACTS, now=NOW)
    ledger.begin("b", CLAIM, now=LATER)
    row = ledger.fail("b", CLAIM, "the disk is full", now=LATER, facts=Facts(rows_in=9))
    assert (row.state, row.message, row.attempts, row.facts) == ("failed", "the disk is full", 2, FACTS)
    assert ledger.history("b")[-1].facts == Facts(rows_in=9)


def test_a_refused_batch_without_a_report_says_what_came_in(ledger):
    ledger.begin("b", CLAIM, now=NOW)
    row = ledger.refuse("b", CLAIM, "40 % set aside", now=NOW, facts=Facts(rows_in=10, quarantined=4))
    assert (row.state, row.message) == ("refused", "40 % set aside")
    assert (row.facts.rows_in, row.facts.quarantined, row.facts.revision) == (10, 4, None)


def test_a_new_revision_replaces_the_facts(ledger):
    for facts in (FACTS, replace(FACTS, revision=2, flags=5)):
        ledger.begin("b", CLAIM, now=NOW)
        assert ledger.finish("b", CLAIM, facts, now=LATER).facts == facts


def test_a_run_that_was_killed_is_taken_over_and_says_so(ledger):
    ledger.begin("b", CLAIM, now=NOW)
    row = ledger.begin("b", CLAIM, now=LATER)
    assert (row.state, row.attempts, row.started_at) == ("running", 2, LATER)
    assert "killed" in row.message
    assert ledger.finish("b", CLAIM, FACTS, now=LATER).message == ""


def test_history_has_every_change_in_order_with_who_made_it(ledger):
    ledger.begin("b", CLAIM, now=NOW)
    ledger.fail("b", CLAIM, "no", now=NOW)
    ledger.begin("c", CLAIM, now=NOW)
    ledger.begin("b", replace(CLAIM, pid=18), now=LATER)
    ledger.finish("b", CLAIM, FACTS, now=LATER)
    changes = ledger.history("b")
    assert [(c.state, c.attempt, c.pid) for c in changes] == [
        ("running", 1, 17),
        ("failed", 1, 17),
        ("running", 2, 18),
        ("published", 2, 17),
    ]
    assert (changes[0].host, changes[1].message, changes[-1].at) == ("host", "no", LATER)
    assert len(ledger.history()) == 5


@pytest.mark.parametrize("batch", ["caf\udce9", "a\0b"])
def test_a_batch_id_that_is_no_text_is_refused(ledger, batch):
    with pytest.raises(InputError, match="no UTF-8"):
        ledger.begin(batch, CLAIM, now=NOW)


def test_a_message_about_a_file_whose_name_is_no_text_is_kept_readable(ledger):
    ledger.begin("b", CLAIM, now=NOW)
    assert ledger.fail("b", CLAIM, "caf\udce9 is \0 bad", now=NOW).message == "caf\\udce9 is \\x00 bad"


@pytest.mark.parametrize("end", ["finish", "refuse", "fail"])
def test_only_a_running_batch_can_end(ledger, end):
    argument = FACTS if end == "finish" else "why"
    with pytest.raises(InputError, match="never begun"):
        getattr(ledger, end)("b", CLAIM, argument, now=NOW)
    ledger.begin("b", CLAIM, now=NOW)
    ledger.finish("b", CLAIM, FACTS, now=NOW)
    with pytest.raises(InputError, match="is published"):
        getattr(ledger, end)("b", CLAIM, argument, now=NOW)
    assert len(ledger.history("b")) == 2


def test_a_published_batch_needs_its_revision(ledger):
    ledger.begin("b", CLAIM, now=NOW)
    with pytest.raises(InputError, match="revision"):
        ledger.finish("b", CLAIM, Facts(), now=NOW)


def test_pipelines_do_not_see_each_other(ledger, home):
    other = open_ledger(Paths(home, "motor"))
    ledger.begin("b", CLAIM, now=NOW)
    assert other.get("b") is None
    assert other.all() == []
    assert other.history() == []
    other.begin("b", CLAIM, now=LATER)
    assert ledger.get("b").started_at == NOW


def test_all_batches_come_by_id(ledger):
    for batch in ("c", "B", "a"):
        ledger.begin(batch, CLAIM, now=NOW)
    assert [b.batch for b in ledger.all()] == ["B", "a", "c"]
    assert ledger.get("nothing") is None


WORK = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from aeflow.store.claims import Claim
from aeflow.store.ledger import Facts, open_ledger
from aeflow.store.paths import Paths
now = datetime(2026, 11, 20, tzinfo=UTC)
mine = Claim(Path("x"), "host", 1, now)
ledger = open_ledger(Paths(Path(sys.argv[1]), "pump"))
for i in range(20):
    ledger.begin(f"{sys.argv[2]}-{i}", mine, now=now)
    ledger.finish(f"{sys.argv[2]}-{i}", mine, Facts(revision=1), now=now)
"""


def work_at_once(home, processes):
    running = [
        subprocess.Popen([sys.executable, "-c", WORK, str(home), str(n)], stderr=subprocess.PIPE, text=True)
        for n in range(processes)
    ]
    return [process.communicate(timeout=120)[1] for process in running]


def test_processes_that_make_the_ledger_at_once_and_write_at_once_lose_nothing(home, monkeypatch):
    monkeypatch.delenv("AEFLOW_LEDGER_URL", raising=False)
    assert work_at_once(home, 4) == ["", "", "", ""]
    ledger = open_ledger(Paths(home, "pump"))
    assert len(ledger.all()) == 80
    assert {b.state for b in ledger.all()} == {"published"}
    assert len(ledger.history()) == 160


def test_the_embedded_ledger_is_written_ahead_so_that_readers_never_wait(ledger, home):
    with sqlite3.connect(home / "ledger.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with ledger.engine.execution_options(sqlite_begin="IMMEDIATE").begin():
        assert ledger.all() == []


def test_a_ledger_of_another_version_is_refused(ledger, home):
    with sqlite3.connect(home / "ledger.db") as connection:
        connection.execute("UPDATE aeflow_ledger SET version = 99")
    with pytest.raises(StorageError, match="version 99"):
        open_ledger(Paths(home, "pump"))


def test_a_file_that_is_no_database_is_refused(home, monkeypatch):
    monkeypatch.delenv("AEFLOW_LEDGER_URL", raising=False)
    home.mkdir()
    (home / "ledger.db").write_text("no database at all, but long enough to be looked at" * 50)
    with pytest.raises(StorageError, match="not a database"):
        open_ledger(Paths(home, "pump"))


def test_the_environment_names_another_database(home, monkeypatch, tmp_path):
    monkeypatch.setenv("AEFLOW_LEDGER_URL", f"sqlite:///{tmp_path / 'other.db'}")
    open_ledger(Paths(home, "pump")).begin("b", CLAIM, now=NOW)
    assert (tmp_path / "other.db").exists()
    assert not (home / "ledger.db").exists()


@pytest.mark.parametrize("url", ["no address", "nosql://x"])
def test_an_address_that_is_none_is_refused(home, monkeypatch, url):
    monkeypatch.setenv("AEFLOW_LEDGER_URL", url)
    with pytest.raises(StorageError, match="address of a database"):
        open_ledger(Paths(home, "pump"))


def test_a_home_with_odd_characters_holds_a_ledger(tmp_path, monkeypatch):
    monkeypatch.delenv("AEFLOW_LEDGER_URL", raising=False)
    home = tmp_path / "a b?c#d%e"
    open_ledger(Paths(home, "pump")).begin("b", CLAIM, now=NOW)
    assert (home / "ledger.db").exists()


def test_an_error_never_shows_the_password(home, monkeypatch):
    monkeypatch.setenv("AEFLOW_LEDGER_URL", "postgresql://user:secret@127.0.0.1:1/none")
    with pytest.raises(StorageError) as caught:
        open_ledger(Paths(home, "pump"))
    assert "secret" not in str(caught.value)


def test_history_can_be_read_by_plain_sql(ledger, home):
    ledger.begin("b", CLAIM, now=NOW)
    engine = sa.create_engine(f"sqlite:///{home / 'ledger.db'}")
    with engine.connect() as connection:
        row = connection.execute(sa.text("SELECT state, at FROM history")).one()
    assert row.state == "running"
    assert str(row.at).startswith("2026-11-20 02:30:00")


def test_a_ledger_that_may_only_be_read_is_read(tmp_path, monkeypatch):
    file = tmp_path / "a folder" / "ledger.db"
    paths = Paths(file.parent, "pump")
    open_ledger(paths).begin("b", CLAIM, now=NOW)
    names = sorted(entry.name for entry in file.parent.iterdir())
    monkeypatch.setattr("aeflow.store.ledger_tables.os.access", lambda *_: False)
    ledger = open_ledger(paths)
    assert [batch.batch for batch in ledger.all()] == ["b"]
    assert sorted(entry.name for entry in file.parent.iterdir()) == names
    with pytest.raises(StorageError, match="readonly"):
        ledger.begin("c", CLAIM, now=NOW)
