"""What is measured of a batch while it is scored: the channel, the machine and the size of a planted change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from aeflow import detector as detectors
from aeflow.config import Compute
from aeflow.data.take_in import take_in, take_in_training
from aeflow.detector.fitting import fit, prepare
from aeflow.scoring import score_batch
from tests.unit.scoring.plant import CHANNELS, ROWS, machine, pipeline, write_rows

CPU = torch.device("cpu")
DAYS = 14


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """Two machines; the flow of one reads twice as much on the last day, and on the day before a third came."""
    folder = tmp_path_factory.mktemp("plant")
    generator = np.random.default_rng(0)
    machines = {name: machine(generator, DAYS) for name in ("a", "b", "new")}
    machines["a"][-ROWS:, 0] *= 2
    write_rows(folder / "data.csv", machines, skip=DAYS - 2)
    config = pipeline(folder, last=11)
    data = prepare(config, take_in_training(config, folder / "history"), batches=[f"d{i}" for i in range(11)])
    return config, fit(config, config.model, data, device=CPU).detector


def measured(plant, batch, folder, **compute):
    config, detector = plant
    config = config.model_copy(update={"compute": Compute(**compute)}).at(config.folder)
    intake = take_in(config, batch, folder / "intake", context=detector.context)
    build = folder / "build"
    build.mkdir(parents=True)
    return score_batch(replace(detector, config=config), config, intake, build, device=CPU).drift


def test_a_quiet_day_moves_nothing(plant, tmp_path):
    found = measured(plant, "2026-01-12", tmp_path)
    assert [s.name for s in found.inputs] == list(CHANNELS)
    assert (found.entities, found.moved_entities, found.new_entities) == (2, 0, 0)
    assert not any(s.moved for s in found.inputs + found.latent)
    assert [s.name for s in found.latent] == ["direction 1", "direction 2", "direction 3"]
    assert all(0 < s.ks < 0.15 for s in found.latent)


def test_a_changed_gain_is_found_in_its_channel_of_its_machine(plant, tmp_path):
    found = measured(plant, "2026-01-14", tmp_path)
    flow, *others = found.inputs
    assert flow.moved
    assert flow.entities == 1
    assert flow.ks > 0.15
    assert not any(s.moved for s in others)
    assert flow.leads > 0.5
    assert (found.entities, found.moved_entities, found.new_entities) == (3, 1, 1)


def test_portions_change_nothing(plant, tmp_path):
    assert measured(plant, "2026-01-14", tmp_path / "one") == measured(
        plant, "2026-01-14", tmp_path / "other", chunk_items=7
    )


def test_a_detector_that_was_stored_measures_the_same(plant, tmp_path):
    config, detector = plant
    detectors.save(detector, tmp_path / "detector")
    again = (config, detectors.load(tmp_path / "detector"))
    assert measured(again, "2026-01-14", tmp_path / "a") == measured(plant, "2026-01-14", tmp_path / "b")


def test_a_detector_without_a_reference_measures_nothing(plant, tmp_path):
    config, detector = plant
    assert measured((config, replace(detector, drift=None)), "2026-01-14", tmp_path) is None
