"""Nights that should be done and are not: told once an outage, and over once they are made good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import yaml

from aeflow.overdue import find_overdue
from aeflow.store.claims import claim
from aeflow.store.incidents import open_incidents
from aeflow.store.ledger import Facts, open_ledger
from aeflow.store.nightly_runs import NIGHTLY, open_nightly_runs
from aeflow.store.paths import Paths
from flows import watch

MONDAY = datetime(2026, 11, 16, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def pump(tmp_path, home, monkeypatch):
    """A pipeline of days, with data of 2026-11-10 to 2026-11-18, watched since Monday the 16th."""
    file = tmp_path / "configs" / "pump.yaml"
    file.parent.mkdir()
    (tmp_path / "data").mkdir()
    days = [f"2026-11-{d}T12:00:00Z,1" for d in range(10, 19)]
    (tmp_path / "data" / "rows.csv").write_text("\n".join(["t,a", *days]) + "\n")
    config = {
        "name": "pump",
        "source": {"kind": "table", "path": "../data/rows.csv", "time_column": "t", "channels": ["a"]},
        "batch": {"by": "period"},
        "prepare": {"kind": "series"},
        "model": {"family": "pca"},
        "calibration": {"false_flags_per_batch": 1},
        "schedule": {"nightly": "0 4 * * *", "grace_hours": 6},
        "notify": {"channels": [{"url": "${NOBODY}"}]},
    }
    file.write_text(yaml.safe_dump(config))
    paths = Paths(home, "pump")
    open_nightly_runs(paths).expect(now=MONDAY)
    return file, paths


def publish(paths, *batches, state="published"):
    ledger = open_ledger(paths)
    for batch in batches:
        with claim(paths.claim(batch), batch, now=MONDAY) as mine:
            ledger.begin(batch, mine, now=MONDAY)
            if state == "published":
                ledger.finish(batch, mine, Facts(revision=1), now=MONDAY)
            else:
                ledger.fail(batch, mine, "OSError: no\nmore", now=MONDAY)


def ran(paths, at):
    runs = open_nightly_runs(paths)
    runs.end(runs.begin(now=at), "done", "", now=at)


def test_before_the_first_grace_is_over_nothing_is_overdue(pump):
    assert find_overdue(pump[0], now=datetime(2026, 11, 17, 9, 59, tzinfo=UTC)) == []


def test_an_outage_is_one_incident_with_the_run_that_did_not_come(pump):
    file, _ = pump
    (night, run) = find_overdue(file, now=datetime(2026, 11, 17, 10, tzinfo=UTC))
    assert (night.batch, night.fault, night.incident) == ("2026-11-16", "missing", "2026-11-16")
    assert (run.batch, run.fault, run.incident) == ("", "not_run", "2026-11-16")
    found = find_overdue(file, now=datetime(2026, 11, 19, 12, tzinfo=UTC))
    assert [o.batch for o in found] == ["2026-11-16", "2026-11-17", "2026-11-18", ""]
    assert {o.incident for o in found} == {"2026-11-16"}


def test_what_came_is_not_overdue_and_what_failed_says_why(pump):
    file, paths = pump
    publish(paths, "2026-11-16")
    publish(paths, "2026-11-17", state="failed")
    ran(paths, datetime(2026, 11, 19, 4, tzinfo=UTC))
    publish(paths, "2026-11-18")
    (failed,) = find_overdue(file, now=datetime(2026, 11, 19, 12, tzinfo=UTC))
    assert (failed.batch, failed.fault) == ("2026-11-17", "failed")
    assert failed.message == "its scoring failed: OSError: no"


def test_a_night_without_data_is_late_and_a_night_in_work_is_not_overdue(pump):
    file, paths = pump
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    with claim(paths.task_claim(NIGHTLY), "the night", now=now):
        (late,) = find_overdue(file, now=now)
    assert (late.batch, late.fault) == ("2026-11-19", "late")
    assert "the source holds nothing of it yet" in late.sentence()


def test_a_pipeline_that_never_ran_and_was_never_deployed_owes_nothing(pump, home):
    file, _ = pump
    file.write_text(file.read_text().replace("name: pump", "name: other"))
    assert find_overdue(file, now=MONDAY + 30 * DAY) == []


def test_people_are_told_once_of_an_outage_and_again_of_the_next(pump, monkeypatch):
    file, paths = pump
    told = []
    monkeypatch.setattr("flows.notifications._send", lambda _channel, title, _body: not told.append(title))
    for hour in (10, 11, 12):
        watch.watch_nights(file, now=datetime(2026, 11, 17, hour, tzinfo=UTC))
    watch.watch_nights(file, now=datetime(2026, 11, 18, 12, tzinfo=UTC))
    assert told == ["pump: The night 2026-11-16 is missing"]
    publish(paths, "2026-11-16", "2026-11-17")
    ran(paths, datetime(2026, 11, 18, 13, tzinfo=UTC))
    watch.watch_nights(file, now=datetime(2026, 11, 18, 14, tzinfo=UTC))
    assert open_incidents(paths).open() == []
    watch.watch_nights(file, now=datetime(2026, 11, 19, 12, tzinfo=UTC))
    assert told[1:] == ["pump: The night 2026-11-18 is missing"]
