"""Batches that the source no longer holds are not learnt from, and a recalibration that fails waits."""

from __future__ import annotations

import types

import pytest
import yaml

from aeflow.config import load_config
from aeflow.exceptions import AlreadyRunning, DetectorError
from aeflow.retraining import Outcome, RetrainingDecision
from aeflow.store.claims import claim
from aeflow.store.ledger import Facts, open_ledger
from aeflow.store.paths import Paths
from aeflow.store.retrainings import Step, open_retrainings
from flows import recalibrate_detector, recent_history, retrain_if_needed
from tests.unit.store.test_ledger import NOW

SCORED = ("2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20")


@pytest.fixture
def pump(tmp_path, home):
    """Four days were scored; the source holds the last two of them, and the history."""
    file = tmp_path / "configs" / "pump.yaml"
    file.parent.mkdir()
    (tmp_path / "data").mkdir()
    rows = [f"2026-11-{d}T12:00:00Z,1" for d in (10, 19, 20)]
    (tmp_path / "data" / "rows.csv").write_text("\n".join(["t,a", *rows]) + "\n")
    config = {
        "name": "pump",
        "source": {"kind": "table", "path": "../data/rows.csv", "time_column": "t", "channels": ["a"]},
        "batch": {"by": "period"},
        "history": {"last": "2026-11-10"},
        "prepare": {"kind": "series", "cadence_seconds": 60},
        "model": {"family": "pca"},
        "calibration": {"false_flags_per_batch": 1},
        "retraining": {"history_batches": 4},
    }
    file.write_text(yaml.safe_dump(config))
    paths = Paths(home, "pump")
    ledger = open_ledger(paths)
    for batch in SCORED:
        paths.report(batch).mkdir(parents=True)
        with claim(paths.claim(batch), batch, now=NOW) as mine:
            ledger.begin(batch, mine, now=NOW)
            ledger.finish(batch, mine, Facts(revision=1, rows_in=1, detector_version=1), now=NOW)
    return types.SimpleNamespace(file=file, config=load_config(file), paths=paths)


def test_a_recalibration_takes_the_batches_that_are_still_there(pump):
    assert recalibrate_detector._scored_by(pump.config, pump.paths, 1, None) == SCORED[2:]
    assert recalibrate_detector._scored_by(pump.config, pump.paths, 1, "2026-11-20") == SCORED[3:]
    assert recalibrate_detector._scored_by(pump.config, pump.paths, 2, None) == ()


@pytest.fixture
def healthy(monkeypatch):
    """No sensor was at fault on any night, and the champion learnt from a hundred rows."""
    monkeypatch.setattr(recent_history, "read_summary", lambda _folder: None)
    monkeypatch.setattr(recent_history, "night_of", lambda _summary: None)
    ok = types.SimpleNamespace(outcome=Outcome.OK)
    monkeypatch.setattr(recent_history, "judge_nights", lambda _nights, _rule: ok)
    monkeypatch.setattr(recent_history, "_learnt", lambda _paths: (100, 1))


def test_a_retraining_learns_from_the_batches_that_are_still_there(pump, healthy):
    found = recent_history.recent_history(pump.config, pump.paths)
    assert found.config.history.batches == ("2026-11-10", *SCORED[2:])


def test_after_a_change_for_good_it_learns_from_what_came_since_where_that_is_enough(
    pump, healthy, monkeypatch
):
    found = recent_history.recent_history(pump.config, pump.paths, new_normal_since=SCORED[2])
    assert found.config.history.batches == ("2026-11-10", *SCORED[2:])
    assert "too little to be learnt from alone" in found.notes[-1]
    monkeypatch.setattr(recent_history, "_FEWEST_WINDOWS", 0)
    found = recent_history.recent_history(pump.config, pump.paths, new_normal_since=SCORED[2])
    assert found.config.history.batches == SCORED[2:]
    assert found.config.split.train == pytest.approx(0.4)
    assert "changed for good with 2026-11-19" in found.notes[-1]


@pytest.mark.parametrize(
    ("error", "kept"),
    [(DetectorError("no batch"), [Step.NOT_RECALIBRATED]), (AlreadyRunning("a training"), [])],
)
def test_a_recalibration_that_fails_is_kept_and_one_that_was_not_begun_is_not(pump, monkeypatch, error, kept):
    def fail(_config, *, since):
        raise error

    monkeypatch.setattr(retrain_if_needed, "recalibrate_detector", fail)
    decision = RetrainingDecision(Outcome.RECALIBRATE, ("The errors rose.",))
    with pytest.raises(type(error)):
        retrain_if_needed._recalibrate(pump.file, pump.paths, decision)
    assert [step.step for step in open_retrainings(pump.paths).all()] == kept
