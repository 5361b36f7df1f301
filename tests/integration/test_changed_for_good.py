"""After a change for good a better detector goes live by default settings, and faults are not learnt on the way."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from aeflow import detector as detectors
from aeflow import registry
from aeflow.backlog import paths_of
from aeflow.retraining import Outcome
from aeflow.store.verdicts import Verdict, Word, open_verdicts
from benchmarks import scenarios
from flows.retrain_if_needed import decide_only, retrain_if_needed
from tests.unit.detector.test_contest import UNTRAINED
from tests.unit.scoring.plant import CHANNELS, ROWS, machine, write_rows

LEARNT, SEASON = 8, 3
FAULT = slice(60, 76)
"""Rows of the last night of the season that is scored."""


def day(number):
    return f"2026-01-{number + 1:02d}"


NIGHTS = [day(LEARNT + n) for n in range(SEASON)]
TOMORROW = day(LEARNT + SEASON)


def plant_rows():
    """A plant that for the last nights lies and swings higher, its channels a little off where the load puts them, and
    breaks for sixteen readings."""
    generator = np.random.default_rng(0)
    values = machine(generator, LEARNT + SEASON + 1)
    late = slice(LEARNT * ROWS, None)
    load, off = np.array([1, 2, 0.5, 3]), 0.2 * np.array([1, -1, 1, -1])
    values[late] = 1.1 * (values[late] + load) + off + generator.normal(0, 0.05, values[late].shape)
    broken = (LEARNT + SEASON - 1) * ROWS
    values[broken + FAULT.start : broken + FAULT.stop] += np.array([9, -9, 9, 9])
    return values


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """Trained on what came before, and scored up to the third night of the change."""
    folder = tmp_path_factory.mktemp("plant") / "plant"
    pipeline = {
        "name": "plant",
        "source": {
            "kind": "table",
            "path": "../data",
            "time_column": "time",
            "entity_column": "machine",
            "channels": list(CHANNELS),
        },
        "batch": {"by": "period"},
        "history": {"last": day(LEARNT - 1)},
        "split": {"train": 0.5, "validation": 0.1, "calibration": 0.3, "test": 0.1, "stretches": LEARNT},
        "prepare": {"kind": "series", "cadence_seconds": 600, "window_points": 6},
        "model": {"family": "pca"},
        "calibration": {"false_flags_per_batch": 1},
    }

    def score(config):
        scenarios.train(config)
        for night in NIGHTS:
            scenarios.score(config, night)

    with pytest.MonkeyPatch.context() as patch:
        scenarios.write_pipeline(folder, pipeline)
        write_rows(folder / "data" / "rows.csv", {"m": plant_rows()})
        act(folder, score, patch)
    return folder


def act(folder, work, patch):
    for name in ("AEFLOW_HOME", "MLFLOW_TRACKING_URI"):
        patch.setenv(name, "the home of this plant, once it is worked in")
    return scenarios.work_in(folder, work)


@pytest.fixture
def in_a_copy(plant, tmp_path, monkeypatch):
    def run(work):
        shutil.copytree(plant, tmp_path / "plant")
        return act(tmp_path / "plant", work, monkeypatch)

    return run


def flagged(paths, batch):
    rows = pq.read_table(paths.report(batch) / "scores.parquet", columns=["flag"])
    return np.array([bool(flag) for flag in rows["flag"].to_pylist()])


def test_by_default_a_better_one_goes_live_and_the_fault_is_not_learnt(in_a_copy):
    def work(config):
        paths = paths_of(config)
        of_fault = flagged(paths, NIGHTS[-1])[FAULT]
        done = retrain_if_needed(config)
        assert (done.decision.outcome, done.decision.new_normal_since) == (Outcome.RETRAIN, NIGHTS[0])
        assert done.trained.live, done.trained.decision.reasons
        assert "It keeps the promise on recent normal data" in done.trained.decision.reasons[-1]
        assert f"changed for good with {NIGHTS[0]}" in done.trained.note
        assert of_fault.all()
        scenarios.score(config, TOMORROW, version=1)
        before = flagged(paths, TOMORROW).mean()
        scenarios.score(config, TOMORROW)
        scenarios.score(config, NIGHTS[-1])
        new = detectors.load(registry.fetch(paths, done.trained.version))
        return done.trained, before, flagged(paths, TOMORROW).mean(), flagged(paths, NIGHTS[-1])[FAULT], new

    trained, before, after, of_fault, new = in_a_copy(work)
    assert new.fitted_on.batches == tuple(NIGHTS)
    assert before > 0.2
    assert after < 0.02
    assert of_fault.all()
    # The fault with a window around it, and not the nights that are flagged for the change.
    assert FAULT.stop - FAULT.start <= trained.quarantined["flagged"] < 60


def test_one_that_learnt_nothing_is_refused(in_a_copy):
    def work(config):
        changed = yaml.safe_load(config.read_text())
        changed |= {"model": {"family": "lstm", "hidden_size": 4}, "training": UNTRAINED}
        config.write_text(yaml.safe_dump(changed))
        return retrain_if_needed(config).trained

    trained = in_a_copy(work)
    assert not trained.live
    assert "tells fewer planted faults from normal data than the linear baseline" in " ".join(
        trained.decision.reasons
    )


def test_faults_that_people_confirmed_are_no_new_season(in_a_copy):
    def work(config):
        paths = paths_of(config)
        for night in NIGHTS:
            ids = pq.read_table(paths.report(night) / "flags.parquet", columns=["flag_id"])["flag_id"]
            now = datetime.now(UTC)
            open_verdicts(paths).add([Verdict(i, night, Word.TRUE, "anna", now) for i in ids.to_pylist()])
        return decide_only(config)

    decided = in_a_copy(work)
    assert (decided.outcome, decided.new_normal_since) == (Outcome.HOLD, None)
    assert "confirmed faults" in decided.reasons[0]
