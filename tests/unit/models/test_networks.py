from __future__ import annotations

import pytest
import torch

from aeflow.config import Conv2d, Lstm, Pca
from aeflow.models.autoencoder import flops_per_item
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


def test_what_has_a_closed_form_is_fitted_without_epochs():
    assert [name for name, family in CATALOG.items() if family.closed_form] == [
        "padim",
        "autoregression",
        "kernel_regression",
        "pca",
    ]
