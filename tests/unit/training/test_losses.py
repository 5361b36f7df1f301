"""The losses that a run reports: means over what was observed, taken as the detector will score."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aeflow.config import Lstm, Training
from aeflow.models.catalog import build
from aeflow.models.errors import mean_error
from aeflow.training import loop
from aeflow.training.items import WindowItems
from aeflow.training.loop import fit_network

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def windows(share, seed=0):
    """70 windows of 5 points, observed in part: much in the first half, little in the second."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(74, 2)).astype(np.float32)
    often = np.where(np.arange(74) < 37, 0.95, share)[:, None]
    mask = random.random(values.shape) < often
    return WindowItems(values * mask, mask, np.arange(4, 74), 5)


def fit(items, **changes):
    network = build(Lstm(hidden_size=4, code_size=2), (5, 2))
    training = Training(epochs=1, batch_size=16, **changes)
    return network, fit_network(network, items, items, training=training, seed=0, device=CPU)


@pytest.mark.parametrize("portion", [1, 7, 70])
def test_the_validation_loss_is_the_mean_over_all_observed_values_whatever_the_portions(portion, monkeypatch):
    monkeypatch.setattr(loop, "_ORDERED_BATCH", portion)
    items = windows(0.1)
    network, found = fit(items)
    x, observed = items.take(torch.arange(len(items)))
    with torch.inference_mode():
        expected = float(mean_error("mse", network(x, observed).items, x, observed))
    assert found.history[-1].validation_loss == pytest.approx(expected, rel=1e-5)


def test_values_that_were_not_observed_change_nothing():
    """The network is told of them by the mask alone; what stands in their place is always 0."""
    expected, x = torch.randn(2, 6, 5, 2)
    observed = torch.rand(6, 5, 2) < 0.5
    other = torch.where(observed, expected, torch.tensor(1e6))
    assert torch.equal(mean_error("mse", expected, x, observed), mean_error("mse", other, x, observed))


def test_a_set_of_which_nothing_was_observed_has_the_loss_0():
    mask = np.zeros((9, 2), dtype=bool)
    _, found = fit(WindowItems(mask.astype(np.float32), mask, np.arange(4, 9), 5))
    assert found.history[-1].validation_loss == 0


def test_a_trained_network_is_ready_to_score():
    network, _ = fit(windows(0.9))
    assert not any(module.training for module in network.modules())
