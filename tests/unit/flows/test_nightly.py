"""The nightly run: what fails keeps nothing else, people hear of it once, and the night is noted."""

from __future__ import annotations

import types

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from aeflow.backlog import find_pending
from aeflow.exceptions import (
    AlreadyRunning,
    BatchNotFound,
    BatchRefused,
    InputError,
    NightFailed,
    SourceError,
)
from aeflow.retraining import Outcome, RetrainingDecision
from aeflow.schemas import FLAGS
from aeflow.store.claims import claim
from aeflow.store.incidents import open_incidents
from aeflow.store.ledger import Facts, open_ledger
from aeflow.store.nightly_runs import NIGHTLY, open_nightly_runs
from aeflow.store.paths import Paths
from flows import nightly
from flows.notifications import deliver
from flows.retrain_if_needed import Retrained
from flows.score_batches import Attempt, score_batches
from tests.unit.store.test_ledger import NOW


@pytest.fixture
def pump(tmp_path, home, monkeypatch):
    """A pipeline of three days whose scoring is a stand-in: `outcomes` says what each batch comes to."""
    file = tmp_path / "configs" / "pump.yaml"
    file.parent.mkdir()
    (tmp_path / "data").mkdir()
    rows = [f"2026-11-{d}T12:00:00Z,1" for d in (18, 19, 20)]
    (tmp_path / "data" / "rows.csv").write_text("\n".join(["t,a", *rows]) + "\n")
    config = {
        "name": "pump",
        "source": {"kind": "table", "path": "../data/rows.csv", "time_column": "t", "channels": ["a"]},
        "batch": {"by": "period"},
        "prepare": {"kind": "series", "cadence_seconds": 60},
        "model": {"family": "pca"},
        "calibration": {"false_flags_per_batch": 1},
        "notify": {"channels": [{"url": "${NOBODY}"}]},
    }
    file.write_text(yaml.safe_dump(config))
    paths = Paths(home, "pump")
    found = types.SimpleNamespace(file=file, paths=paths, outcomes={}, told=[], scored=[])

    def send(_channel, title, body):
        found.told.append((title, body))
        return True

    def score(_config, batch, **_options):
        found.scored.append(batch)
        error = found.outcomes.get(batch)
        with claim(paths.claim(batch), batch, now=NOW) as mine:
            ledger = open_ledger(paths)
            ledger.begin(batch, mine, now=NOW)
            if error is not None:
                ledger.fail(batch, mine, str(error), now=NOW)
                raise error
            facts = Facts(revision=1, scored=1, not_scorable=0, quarantined=0, flags=0, detector_version=1)
            ledger.finish(batch, mine, facts, now=NOW)
        return types.SimpleNamespace(
            pipeline="pump", batch=batch, folder=paths.report(batch), facts=facts, changed=False
        )

    monkeypatch.setattr("flows.notifications._send", send)
    monkeypatch.setattr("flows.score_batches.score_batch", score)
    decision = RetrainingDecision(Outcome.OK, ("Nothing has moved.",))
    monkeypatch.setattr(nightly, "request_retraining", lambda _config: Retrained("pump", decision))
    return found


def last_run(pump):
    return open_nightly_runs(pump.paths).last_ended()


# The history of this pipeline is all there is, so that every batch is to be scored.
def test_one_batch_that_fails_keeps_no_other_and_is_told_of_once(pump):
    pump.outcomes["2026-11-19"] = BatchRefused("too much is set aside")
    night = nightly.score_pending(pump.file)
    assert pump.scored == ["2026-11-18", "2026-11-19", "2026-11-20"]
    assert [a.batch for a in night.failed] == ["2026-11-19"]
    assert pump.told == [("pump: Batch 2026-11-19 could not be scored", "too much is set aside")]
    assert last_run(pump).outcome == "failed"
    with pytest.raises(NightFailed, match="batch 2026-11-19: too much is set aside"):
        night.raise_if_failed()

    nightly.score_pending(pump.file)
    assert pump.scored[3:] == ["2026-11-19", "2026-11-20"]  # what looks back to it is looked at again
    assert len(pump.told) == 1
    pump.outcomes.clear()
    assert not nightly.score_pending(pump.file).failed
    assert last_run(pump).outcome == "done"
    assert open_incidents(pump.paths).open() == []


def test_a_batch_that_another_process_is_at_has_not_failed(pump):
    pump.outcomes["2026-11-20"] = AlreadyRunning("batch 2026-11-20 is being run by process 17")
    night = nightly.score_pending(pump.file)
    assert night.failed == ()
    assert pump.told == []
    night.raise_if_failed()


def test_a_source_that_cannot_be_read_is_told_of_and_noted_as_a_night_that_failed(pump):
    data = pump.file.parents[1] / "data" / "rows.csv"
    data.rename(data.with_suffix(".gone"))
    with pytest.raises(SourceError):
        nightly.score_pending(pump.file)
    assert pump.told[0][0] == "pump: the nightly run of pump failed"
    assert last_run(pump).outcome == "failed"
    data.with_suffix(".gone").rename(data)
    nightly.score_pending(pump.file)
    assert last_run(pump).outcome == "done"


def test_a_file_that_cannot_be_read_keeps_no_batch_and_is_told_until_it_is_mended(pump):
    table = pump.file.parent.parent / "data" / "rows.csv"
    table.rename(table.parent / "in.csv")
    bad = table.parent / "bad.csv"
    bad.write_bytes(b"\0\0")
    pump.file.write_text(pump.file.read_text().replace("rows.csv", "*.csv"))
    night = nightly.score_pending(pump.file)
    assert [a.batch for a in night.attempts] == ["2026-11-18", "2026-11-19", "2026-11-20"]
    assert night.failed == ()
    assert "bad.csv" in night.sentence()
    with pytest.raises(NightFailed, match=r"file bad\.csv: expected a header line"):
        night.raise_if_failed()
    assert [title for title, _ in pump.told] == ["pump: 1 file of the source cannot be read"]
    nightly.score_pending(pump.file)
    assert len(pump.told) == 1
    worse = table.parent / "worse.csv"
    worse.write_bytes(b"\0\0")
    nightly.score_pending(pump.file)
    assert pump.told[-1][0] == "pump: 2 files of the source cannot be read"
    assert len(open_incidents(pump.paths).open()) == 1
    bad.unlink()
    worse.unlink()
    nightly.score_pending(pump.file).raise_if_failed()
    assert open_incidents(pump.paths).open() == []


def test_a_history_that_was_rotated_away_keeps_no_night(pump):
    config = yaml.safe_load(pump.file.read_text())
    pump.file.write_text(yaml.safe_dump({**config, "history": {"last": "2026-11-10"}}))
    assert len(nightly.score_pending(pump.file).attempts) == 3
    pump.file.write_text(yaml.safe_dump({**config, "history": {"batches": ["2026-11-01", "2026-11-18"]}}))
    nightly.score_pending(pump.file)
    assert len(pump.scored) == 3
    assert find_pending(pump.file).batches == ()


def test_two_nightly_runs_of_a_pipeline_do_not_meet(pump):
    with (
        claim(pump.paths.task_claim(NIGHTLY), "the other", now=NOW),
        pytest.raises(AlreadyRunning, match="the nightly run of pump is being run by"),
    ):
        nightly.score_pending(pump.file)


def test_a_decision_is_told_and_over_when_all_is_well_again(pump, monkeypatch):
    fault = RetrainingDecision(Outcome.SENSOR_FAULT, ("Channel a is stuck.",))
    monkeypatch.setattr(nightly, "request_retraining", lambda _config: Retrained("pump", fault))
    nightly.score_pending(pump.file)
    assert pump.told == [(f"pump: Decision after the night: {Outcome.SENSOR_FAULT}", "Channel a is stuck.")]
    well = RetrainingDecision(Outcome.OK, ("Nothing has moved.",))
    monkeypatch.setattr(nightly, "request_retraining", lambda _config: Retrained("pump", well))
    nightly._decide(pump.file)
    assert open_incidents(pump.paths).open() == []
    assert len(pump.told) == 1


def test_a_recalibration_that_goes_live_is_told_as_a_promotion(pump, monkeypatch):
    stale = RetrainingDecision(Outcome.RECALIBRATE, ("The errors rose.",))
    won = types.SimpleNamespace(
        version=2, live=True, decision=types.SimpleNamespace(reasons=("It keeps the promise.",))
    )
    done = Retrained("pump", stale, recalibrated=won)
    monkeypatch.setattr(nightly, "request_retraining", lambda _config: done)
    nightly.score_pending(pump.file)
    ((title, body),) = pump.told
    assert title == "pump: Decision after the night: RECALIBRATE, and 1 more"
    assert "Detector 2 went live\nIt keeps the promise." in body


def test_a_decision_that_fails_fails_no_night_and_is_told_until_it_is_over(pump, monkeypatch, caplog):
    def fail(_config):
        raise BatchNotFound("the source holds no batch 2026-10-01")

    well = nightly.request_retraining
    monkeypatch.setattr(nightly, "request_retraining", fail)
    assert not nightly.score_pending(pump.file).failed
    assert last_run(pump).outcome == "done"
    assert pump.told == [
        ("pump: The decision after the night failed", "the source holds no batch 2026-10-01")
    ]
    assert "the source holds no batch 2026-10-01" in caplog.text
    monkeypatch.setattr(nightly, "request_retraining", well)
    nightly._decide(pump.file)
    assert open_incidents(pump.paths).open() == []


def flags_file(folder, ids, suppressed=()):
    folder.mkdir(parents=True)
    rows = [
        {field.name: None for field in FLAGS}
        | {"flag_id": i, "severity": 90.0 + n, "entity": "p", "item": "", "suppressed": i in suppressed}
        for n, i in enumerate(ids)
    ]
    columns = ["flag_id", "severity", "entity", "item", "start", "end", "suppressed"]
    schema = pa.schema([FLAGS.field(name) for name in columns])
    table = pa.Table.from_pylist([{k: row[k] for k in columns} for row in rows], schema=schema)
    pq.write_table(table, folder / "flags.parquet")


def test_only_flags_that_the_report_before_did_not_have_are_told(pump):
    flags_file(pump.paths.report("2026-11-20"), ["a", "b", "c", "like-a-false-one"], ["like-a-false-one"])
    flags_file(pump.paths.revisions("2026-11-20") / "rev=1", ["a", "c"])
    scored = types.SimpleNamespace(
        pipeline="pump",
        batch="2026-11-20",
        folder=pump.paths.report("2026-11-20"),
        facts=Facts(revision=2, flags=3),
        changed=True,
    )
    nightly.note_attempt(pump.file, Attempt("2026-11-20", scored))
    deliver(pump.file)
    ((title, body),) = pump.told
    assert title == "pump: 1 new flag in batch 2026-11-20, the worst of severity 91"
    assert "report.html" in body


def test_all_that_came_up_while_an_outage_was_made_good_is_one_message(pump, monkeypatch):
    pump.outcomes = {"2026-11-18": BatchRefused("too much"), "2026-11-19": BatchRefused("nothing at all")}
    fault = RetrainingDecision(Outcome.SENSOR_FAULT, ("Channel a is stuck.",))
    monkeypatch.setattr(nightly, "request_retraining", lambda _config: Retrained("pump", fault))
    nightly.score_pending(pump.file)
    ((title, body),) = pump.told
    assert title == "pump: Batch 2026-11-18 could not be scored, and 2 more"
    for said in ("too much", "Batch 2026-11-19", "nothing at all", "SENSOR_FAULT", "Channel a is stuck."):
        assert said in body


def test_what_was_noted_is_told_even_if_the_decision_breaks(pump, monkeypatch):
    pump.outcomes["2026-11-19"] = BatchRefused("too much is set aside")

    def broken(_config):
        raise ZeroDivisionError

    monkeypatch.setattr(nightly, "request_retraining", broken)
    with pytest.raises(ZeroDivisionError):
        nightly.score_pending(pump.file)
    assert [title for title, _ in pump.told] == ["pump: Batch 2026-11-19 could not be scored"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BatchRefused("too much", where="pump, batch b1"), "pump, batch b1: too much"),
        (BatchRefused("too much"), "batch b1: too much"),
        (RuntimeError("broken"), "batch b1: broken"),
    ],
)
def test_a_complaint_names_its_batch_once(error, said):
    assert Attempt("b1", error=error).complaint == said


def test_fewer_than_one_job_is_refused(pump):
    with pytest.raises(InputError, match="at least one job"):
        score_batches(pump.file, ["2026-11-20"], jobs=0)
