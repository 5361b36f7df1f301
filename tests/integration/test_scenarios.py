"""Changes planted into real data end in the right decision, and what is flagged is never learnt from."""

from __future__ import annotations

import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from aeflow import detector as detectors
from aeflow import registry
from aeflow.backlog import paths_of
from aeflow.detector.detector import fingerprint
from aeflow.retraining import Outcome
from benchmarks import scenarios
from flows.retrain_if_needed import request_retraining, retrain_if_needed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scenarios")


@pytest.fixture(autouse=True)
def environment():
    """The scenarios have homes of their own, named in the environment of this process."""
    before = {name: os.environ.get(name) for name in ("AEFLOW_HOME", "MLFLOW_TRACKING_URI")}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def ended(name, folder):
    found = scenarios.run(name, folder)
    assert found.right, found
    return found


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["sensor_gain", "season", "burst"])
def test_a_planted_change_ends_in_the_right_decision(name, folder, shared_data):
    assert shared_data
    ended(name, folder)


@pytest.mark.real_data
@pytest.mark.slow
def test_a_stale_calibration_is_fitted_anew_once_and_goes_live(folder, shared_data):
    assert shared_data
    ended("stale_calibration", folder)

    def act(config):
        first, second = retrain_if_needed(config), request_retraining(config)
        assert first.recalibrated.live
        assert "keeps the promise" in first.recalibrated.decision.reasons[-1]
        # By the new version no night has been scored yet.
        assert second.decision.outcome == "OK"
        paths = paths_of(config)
        one, two = (detectors.load(registry.fetch(paths, version)) for version in (1, 2))
        for mine, theirs in zip(one.network.parameters(), two.network.parameters(), strict=True):
            assert mine.equal(theirs)
        return second.decision

    scenarios.work_in(folder / "stale_calibration", act)


def test_what_is_flagged_is_never_learnt_from_and_what_people_call_normal_is(folder):
    ended("new_variant", folder)

    def flagged_alone(config):
        return learnt_from(config, retrain_if_needed(config, wanted=Outcome.RETRAIN))

    flagged, known, aside = scenarios.work_in(folder / "digits", flagged_alone)
    assert len(flagged) > 20
    assert aside == {"flagged": len(flagged)}
    assert not known & flagged

    ended("new_variant_judged", folder)

    def judged(config):
        done = retrain_if_needed(config)
        assert done.trained.live, done.trained.decision.reasons
        assert "which the champion has not kept since night-1" in done.trained.decision.reasons[-1]
        return learnt_from(config, done)

    flagged, known, aside = scenarios.work_in(folder / "digits-judged", judged)
    assert len(known & flagged) > 10
    assert sum(aside.values()) < 10


def learnt_from(config, done):
    """Fingerprints of what was flagged and of what the new version was fitted to, and what was set aside."""
    paths = paths_of(config)
    flagged = set()
    for batch in paths.published():
        rows = pq.read_table(paths.report(batch) / "flags.parquet", columns=["sha256"]).to_pylist()
        flagged |= {fingerprint(row["sha256"]) for row in rows}
    new = detectors.load(registry.fetch(paths, done.trained.version))
    return flagged, set(np.asarray(new.fitted_on.items)), done.trained.quarantined
