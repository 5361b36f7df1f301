"""Networks that are fused are trained each as it would be alone."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from aeflow.config import Autoregression, Dense, Fusion, Pca
from aeflow.models.catalog import build, has_closed_form
from aeflow.models.fused import fused_networks, fusion_rule
from aeflow.training.checkpoint import discard
from aeflow.training.items import WindowItems
from tests.unit.training.test_stages import STACKED, KilledError, fit, killed_after, same, windows

FUSION = Fusion(rule="harmonic", members=(Autoregression(), Dense(code_size=4), STACKED))


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def far_windows(seed=0):
    """With a value beyond what most families are shown."""
    near = windows(seed)
    values, mask = near._values.numpy().copy(), near._observed.numpy()
    values[7] = 30.0
    return WindowItems(values * mask, mask, near._first.numpy() + 4, 5)


def within(limit, seed=0):
    return far_windows(seed).seen_as(lambda x, observed: (x.clamp(-limit, limit), observed))


def test_each_member_has_the_weights_it_would_have_alone():
    network, _ = fit(FUSION, far_windows)
    for member, model in zip(fused_networks(network), FUSION.members, strict=True):
        # What a pipeline does before it trains a family by itself.
        alone, _ = fit(model, partial(within, member.input_limit))
        assert same(member, alone)
    assert fusion_rule(network) == "harmonic"
    assert fusion_rule(build(Pca(), (5, 2))) is None


def test_a_training_killed_in_any_member_ends_in_the_same_weights(tmp_path):
    stages = []
    whole, result = fit(FUSION, progress=lambda p: stages.append((p.stage, p.epoch)))
    assert stages[:4] == [("member 2", 1), ("member 2", 2), ("member 2", 3), ("member 3, layer1", 1)]
    assert len(result.history) == 3
    checkpoint = tmp_path / "checkpoint"
    for told in (2, 4, len(stages) - 1):
        with pytest.raises(KilledError):
            fit(FUSION, checkpoint=checkpoint, progress=killed_after(told))
        gone_on = []
        network, _ = fit(FUSION, checkpoint=checkpoint, progress=lambda p: gone_on.append(p.stage))  # noqa: B023
        assert len(gone_on) == len(stages) - told
        assert same(network, whole)
        discard(checkpoint)
        assert not list(tmp_path.iterdir())


def test_what_is_fitted_in_one_go_are_members_that_all_are():
    assert has_closed_form(Fusion(members=(Pca(), Autoregression())))
    assert not has_closed_form(FUSION)
    _, result = fit(Fusion(members=(Pca(), Autoregression())))
    assert result.history == ()
    assert result.samples_per_second > 0
