from __future__ import annotations

import numpy as np
import pytest
import torch

from aeflow.config import CutOut, Dense, GaussianNoise, Stacked, Training
from aeflow.models.catalog import build
from aeflow.models.errors import mean_error
from aeflow.training.items import ImageItems, WindowItems
from aeflow.training.loop import fit_network

CPU = torch.device("cpu")
MODEL = Stacked(hidden=(12, 8), code_size=3, activation="tanh", layer_epochs=3)
SHAPE = (1, 6, 7)
TRAINING = Training(epochs=2, batch_size=20, learning_rate=1e-2)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def images(count=100):
    random = np.random.default_rng(0)
    flat = random.dirichlet(np.ones(3), count) @ random.random((3, 42))
    return ImageItems(flat.reshape(count, *SHAPE).astype(np.float32))


def windows(count=60):
    random = np.random.default_rng(0)
    mask = random.random((count + 4, 2)) < 0.5
    return WindowItems(random.random(mask.shape).astype(np.float32) * mask, mask, np.arange(4, count + 4), 5)


def train_stage(stage, items, epochs=None):
    seen = items.seen_as(stage.view)
    training = TRAINING.model_copy(update={"epochs": epochs or stage.epochs})
    fit_network(stage.network, seen, seen, training=training, seed=0, device=CPU)


def changed(network, before):
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


def copied(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_it_has_the_weights_of_the_dense_network_of_the_same_layers():
    stacked = build(MODEL, SHAPE)
    dense = build(Dense(hidden=(12, 8), code_size=3, activation="tanh"), SHAPE)
    assert stacked.state_dict().keys() == dense.state_dict().keys()
    assert all(torch.equal(stacked.state_dict()[key], value) for key, value in dense.state_dict().items())
    x = torch.rand(4, *SHAPE)
    assert torch.equal(stacked(x).items, dense(x).items)


def test_there_is_a_stage_for_each_layer_which_changes_that_layer_alone():
    network, items = build(MODEL, SHAPE), images()
    layers = [("down.0", "up.2"), ("down.1", "up.1"), ("bottleneck.linear", "up.0")]
    names = []
    for stage, (down, up) in zip(network.stages(), layers, strict=True):
        before = copied(network)
        train_stage(stage, items)
        assert changed(network, before) == {
            f"{layer}.{kind}" for layer in (down, up) for kind in ("weight", "bias")
        }
        assert stage.epochs == 3
        names.append(stage.name)
    assert len(set(names)) == 3


def test_each_stage_sees_the_codes_of_those_below():
    network, items = build(MODEL, SHAPE), images(9)
    everything = torch.arange(9)
    seen = [items.seen_as(stage.view).take(everything) for stage in network.stages()]
    x = items.take(everything)[0]
    first = torch.tanh(network.down[0](x.flatten(1)))
    expected = [x, first, torch.tanh(network.down[1](first))]
    for stage, (found, observed), wanted in zip(network.stages(), seen, expected, strict=True):
        assert torch.equal(found, wanted)
        assert observed is None
        assert stage.network.item_shape == wanted.shape[1:]
        assert stage.network(found).items.shape == wanted.shape
        assert stage.network(found).code.shape == (9, stage.network.code_size)


def test_the_stages_one_in_the_other_are_the_whole():
    network = build(MODEL, SHAPE)
    x = torch.rand(5, *SHAPE)
    first, second, last = (stage.network for stage in network.stages())
    lower = torch.tanh(first.encode(x))
    middle = torch.tanh(second.encode(lower))
    assert torch.equal(last.encode(middle), network.encode(x))
    expected = torch.tanh(second.up(last(middle).items))
    torch.testing.assert_close(first.up(expected).reshape(x.shape), network(x).items)


def test_only_the_first_stage_knows_what_of_a_window_was_observed():
    network, items = build(Stacked(hidden=(6,), code_size=2), (5, 2)), windows()
    first, second = network.stages()
    x, observed = items.take(torch.arange(9))
    seen, told = items.seen_as(first.view).take(torch.arange(9))
    assert torch.equal(seen, x)
    assert torch.equal(told, observed)
    assert not torch.equal(first.network(x, observed).items, first.network(x, None).items)
    assert items.seen_as(second.view).take(torch.arange(9))[1] is None


def test_layers_trained_one_by_one_already_rebuild_items_together():
    network, items = build(MODEL.model_copy(update={"activation": "silu"}), SHAPE), images()
    x = items.take(torch.arange(100))[0]
    for stage in network.stages():
        train_stage(stage, items, epochs=40)
    with torch.inference_mode():
        error = float(mean_error("mse", network(x).items, x))
    assert error < 0.4 * float((x - x.mean(dim=0)).square().mean())


def test_training_runs_the_stages_and_then_the_whole():
    network, items = build(MODEL, SHAPE), images()
    told = []
    found = fit_network(network, items, items, training=TRAINING, seed=0, device=CPU, progress=told.append)
    expected = [(stage, epoch, 3) for stage in ("layer1", "layer2", "layer3") for epoch in (1, 2, 3)]
    assert [(p.stage, p.epoch, p.epochs) for p in told] == [*expected, ("", 1, 2), ("", 2, 2)]
    assert [r.epoch for r in found.history] == [1, 2]
    assert changed(network, copied(build(MODEL, SHAPE))) == set(network.state_dict())


def test_a_loss_and_a_corruption_for_images_alone_do_not_reach_hidden_layers():
    network, items = build(MODEL.model_copy(update={"output": "sigmoid"}), SHAPE), images()
    spoiled = (CutOut(), GaussianNoise(deviation=0.1))
    for loss in ("ssim", "bce"):
        training = TRAINING.model_copy(update={"loss": loss, "corruption": spoiled})
        found = fit_network(network, items, items, training=training, seed=0, device=CPU)
        assert np.isfinite(found.history[-1].validation_loss)


def test_without_hidden_layers_there_is_one_stage_the_whole_itself():
    network = build(Stacked(hidden=(), code_size=3), SHAPE)
    (stage,) = network.stages()
    x = torch.rand(4, *SHAPE)
    assert torch.equal(stage.network(x).items, network(x).items)
