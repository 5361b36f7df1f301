from __future__ import annotations

import pytest
import torch

from aeflow.config import Conv2d, Lstm, Pca
from aeflow.models.autoencoder import flops_per_item, parameter_count
from aeflow.models.catalog import CATALOG, build


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("height", [8, 9, 13, 31])
@pytest.mark.parametrize("levels", [1, 3, 6])
def test_images_of_any_size_come_back_in_it(height, levels):
    network = build(Conv2d(width=3, levels=levels, code_size=5), (3, height, 10))
    assert network(torch.rand(2, 3, height, 10)).items.shape == (2, 3, height, 10)


def test_an_image_network_gives_contiguous_images():
    assert build(Conv2d(), (3, 9, 9))(torch.rand(2, 3, 9, 9)).items.is_contiguous()


def test_the_reversed_target_is_the_forward_one_read_backwards():
    x = torch.rand(4, 6, 2)
    backward, forward = (
        build(Lstm(target=target), (6, 2), seed=1)(x).items for target in ("reversed", "forward")
    )
    assert torch.equal(backward, forward.flip(1))


def test_the_mask_is_an_input_of_the_lstm():
    network = build(Lstm(), (6, 2))
    x = torch.zeros(1, 6, 2)
    seen = torch.ones_like(x, dtype=torch.bool)
    assert torch.equal(network.encode(x), network.encode(x, seen))
    assert not torch.equal(network.encode(x, seen), network.encode(x, ~seen))


def test_an_lstm_of_several_layers_has_the_weights_of_each():
    one, three = (parameter_count(build(Lstm(layers=n), (6, 2))) for n in (1, 3))
    assert three > 2 * one


def test_operations_are_those_of_the_products():
    # Encoding and decoding are one product each: 2 * 24 * 5.
    assert flops_per_item(build(Pca(max_components=5), (6, 4))) == 2 * 2 * 24 * 5


def test_counting_leaves_the_network_where_it_was():
    network = build(Lstm(), (6, 2)).train()
    flops_per_item(network)
    assert network.training
    assert {p.device.type for p in network.parameters()} == {"cpu"}


def test_a_network_knows_the_options_it_was_built_from():
    model = Lstm(hidden_size=7)
    assert Lstm.model_validate_json(build(model, (6, 2)).options) == model


def test_only_pca_is_fitted_without_epochs():
    assert [name for name, family in CATALOG.items() if family.closed_form] == ["pca"]
