"""Events are put down to the channel that was disturbed, whatever else its error spreads to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from aeflow.config import Compute, Report
from aeflow.data.take_in import take_in, take_in_training
from aeflow.detector import attribution
from aeflow.detector.fitting import fit, prepare
from aeflow.scoring import score_batch
from tests.unit.scoring.plant import CHANNELS, ROWS, machine, pipeline, write_rows

CPU = torch.device("cpu")
DAYS = 8
LAST = f"2026-01-{DAYS:02d}"
SCORINGS = {
    "autoregression": ({"family": "autoregression"}, {"distance": "mahalanobis", "smooth_points": 6}),
    "pca": ({"family": "pca"}, {"points": "window", "smooth_points": 3}),
    "lstm": (
        {"family": "lstm", "task": "composite", "hidden_size": 8, "code_size": 4},
        {"smooth_points": 4, "baseline_points": 32},
    ),
}
FAULTS = {"a": (1, 40), "b": (3, 90)}
"""Machine -> the channel that is off, and from which row of the last day on."""


@pytest.fixture(scope="module", params=SCORINGS)
def plant(request, tmp_path_factory):
    """Two machines; on the last day one channel of each is off for twelve rows, and some rows are missing."""
    model, scoring = SCORINGS[request.param]
    folder = tmp_path_factory.mktemp("plant")
    machines = {name: machine(np.random.default_rng(seed), DAYS) for seed, name in enumerate(FAULTS)}
    for name, (channel, row) in FAULTS.items():
        machines[name][(DAYS - 1) * ROWS + row :][:12, channel] += 15
    write_rows(folder / "data.csv", machines)
    lines = (folder / "data.csv").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if f"{LAST}T06:20" not in line and f"{LAST}T14:" not in line]
    (folder / "data.csv").write_text("\n".join(kept) + "\n", encoding="utf-8")
    config = pipeline(folder, last=DAYS - 1, model=model, scoring=scoring, training={"epochs": 3})
    data = prepare(config, take_in_training(config, folder / "history"), batches=["all"])
    return config, fit(config, config.model, data, device=CPU).detector


def flags_of(plant, folder, **sections):
    config, detector = plant
    config = config.model_copy(update=sections).at(config.folder)
    intake = take_in(config, LAST, folder / "intake", context=detector.context)
    build = folder / "build"
    build.mkdir(parents=True)
    score_batch(replace(detector, config=config), config, intake, build, device=CPU)
    return pq.read_table(build / "flags.parquet").to_pylist()


def worst_of(flags):
    """The flag of each machine with the highest score."""
    return {flag["entity"]: flag for flag in sorted(flags, key=lambda flag: flag["score"])}


def test_the_disturbed_channel_comes_first_and_shares_sum_to_the_whole(plant, tmp_path):
    flags = flags_of(plant, tmp_path)
    worst = worst_of(flags)
    assert {name: flag["channels"][0]["channel"] for name, flag in worst.items()} == {
        name: CHANNELS[channel] for name, (channel, _) in FAULTS.items()
    }
    for flag in flags:
        parts = flag["channels"]
        shares = [part["share"] for part in parts]
        assert sum(shares) == pytest.approx(1, rel=1e-5)
        assert shares == sorted(shares, reverse=True)
        assert min(shares) >= 0
        assert sum(part["contribution"] for part in parts) == pytest.approx(flag["score"], rel=1e-4)


def test_the_stretch_as_it_was_has_the_score_of_the_batch(plant, tmp_path, monkeypatch):
    asked = []

    def seen(scores, moved, parts):
        asked.append((float(scores[0]), float(parts.sum())))
        return attributed(scores, moved, parts)

    attributed = attribution.causal_shares
    monkeypatch.setattr(attribution, "causal_shares", seen)
    flags = flags_of(plant, tmp_path)
    assert len(asked) == len(flags) > 0
    again, before = np.array(asked).T
    if not plant[0].scoring.baseline_points:
        np.testing.assert_allclose(again, before, rtol=1e-4)
    else:  # the level, by which it was divided, is the same for all of a machine's score
        assert (again > 0).all()


def test_shares_do_not_depend_on_portions(plant, tmp_path, monkeypatch):
    whole = flags_of(plant, tmp_path / "whole")
    assert whole
    monkeypatch.setattr(attribution, "_VALUES_AT_ONCE", 1)
    alone = flags_of(plant, tmp_path / "alone", compute=Compute(chunk_items=3))
    assert [f["flag_id"] for f in alone] == [f["flag_id"] for f in whole]
    for one, other in zip(alone, whole, strict=True):
        shares = ({p["channel"]: p["share"] for p in flag["channels"]} for flag in (one, other))
        ours, theirs = shares
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)


def test_beyond_the_flags_shown_in_full_shares_are_those_of_the_error(plant, tmp_path):
    flags = flags_of(plant, tmp_path, report=Report(max_evidence_flags=0))
    assert flags
    for flag in flags:
        for part in flag["channels"]:
            assert part["share"] == pytest.approx(part["contribution"] / flag["score"], rel=1e-4, abs=1e-6)
