"""A reviewed flag as a detector sees it that did not raise it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import torch

from aeflow.data.take_in import take_in_training
from aeflow.detector.fitting import fit, prepare
from aeflow.review.precedents import precedents_in_force
from aeflow.store.paths import Paths
from tests.unit.report.test_reviewed import START, event, said, write_report
from tests.unit.scoring.plant import CHANNELS, machine, pipeline, write_rows

CPU = torch.device("cpu")
DAYS = 8


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plant")
    values = machine(np.random.default_rng(0), DAYS)
    write_rows(folder / "data.csv", {"pump": values})
    config = pipeline(folder, last=DAYS)
    data = prepare(config, take_in_training(config, folder / "history"), batches=["b"])
    return config, fit(config, config.model, data, device=CPU, with_drift=False).detector, values


def precedent(tmp_path, fitted, p_value, **scoring):
    """The precedent that version 2 makes of a flag of version 1 with that p-value and a fault of the flow."""
    config, detector, values = fitted
    update = {"scoring": config.scoring.model_copy(update=scoring)}
    detector = replace(detector, config=config.model_copy(update=update))
    window = values[:6].copy()
    window[-1, 0] += 3
    channels = [
        {"channel": name, "share": 0.25, "contribution": 0.25, "observed": 1.0, "expected": 0.0}
        for name in CHANNELS
    ]
    row = {"window": window.ravel().tolist(), "channels": channels, "score": 7.0, "p_value": p_value}
    paths = Paths(tmp_path, "p")
    write_report(paths.report("b"), [event("f", 0, 1) | row])
    (found,) = precedents_in_force(
        config, paths, [said("f")], detector, 2, now=START + timedelta(days=2), device=CPU
    )
    return found, detector


@pytest.mark.parametrize("scoring", [{"smooth_points": 4}, {"baseline_points": 60}])
def test_where_scores_look_back_it_counts_as_rare_as_it_was_and_not_by_its_window_alone(
    tmp_path, fitted, scoring
):
    mild, detector = precedent(tmp_path / "mild", fitted, 0.02, **scoring)
    severe, _ = precedent(tmp_path / "severe", fitted, 0.005, **scoring)
    assert detector.look_back > 0
    assert mild.score < severe.score
    p_values = detector.p_values(np.array([mild.score, severe.score]), "pump")
    assert p_values == pytest.approx([0.02, 0.005], rel=0.25)


def test_where_a_score_is_that_of_one_window_it_is_seen_again(tmp_path, fitted):
    alone = {"smooth_points": 1, "baseline_points": 0}
    mild, detector = precedent(tmp_path / "mild", fitted, 0.02, **alone)
    severe, _ = precedent(tmp_path / "severe", fitted, 0.005, **alone)
    assert detector.look_back == 0
    assert mild.score == severe.score
