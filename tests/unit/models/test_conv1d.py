"""What the options of the temporal convolutional autoencoder do; its promises are in tests/contract."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from aeflow.config import Conv1d
from aeflow.models.autoencoder import flops_per_item, parameter_count
from aeflow.models.catalog import build
from aeflow.models.conv1d import DilatedBlock, convolution


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("points", [1, 2, 3, 33, 4096])
@pytest.mark.parametrize("levels", [1, 3, 10])
def test_windows_of_any_length_come_back_in_it(points, levels):
    network = build(Conv1d(width=3, levels=levels, code_size=2), (points, 2))
    items = network(torch.randn(2, points, 2)).items
    assert items.shape == (2, points, 2)
    assert items.is_contiguous()


@pytest.mark.parametrize("kernel_points", [3, 7])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (1, 4), (2, 1)])
@pytest.mark.parametrize("points", [1, 2, 9, 10])
def test_a_convolution_leaves_every_point_or_every_second_one(kernel_points, stride, dilation, points):
    layer = convolution(2, 3, kernel_points, stride=stride, dilation=dilation)
    assert layer(torch.randn(1, 2, points)).shape == (1, 3, -(-points // stride))


def test_the_dilation_doubles_from_one_convolution_of_a_level_to_the_next():
    network = build(Conv1d(blocks=2, levels=1), (16, 1))
    blocks = [block for block in network.down if isinstance(block, DilatedBlock)]
    found = [layer.dilation for block in blocks for layer in block.layers if isinstance(layer, nn.Conv1d)]
    assert found == [(1,), (2,), (4,), (8,)]


def test_a_convolution_of_greater_dilation_sees_farther_and_nothing_in_between():
    layer = convolution(1, 1, 3, dilation=4)
    x = torch.zeros(1, 1, 21)
    at_rest = layer(x)
    x[0, 0, 10] = 1
    assert (layer(x) != at_rest).nonzero()[:, 2].tolist() == [6, 10, 14]


def test_how_large_a_value_is_comes_through_the_normalisation():
    network = build(Conv1d(), (16, 1))
    x = torch.randn(4, 16, 1, generator=torch.Generator().manual_seed(0))
    code = network.encode(x)
    assert network.features(10_000 * x).norm() > 5 * network.features(1_000 * x).norm()
    assert network.decode(10_000 * code).norm() > 5 * network.decode(1_000 * code).norm()


def test_the_mask_is_an_input():
    network = build(Conv1d(), (6, 2))
    x = torch.zeros(1, 6, 2)
    seen = torch.ones_like(x, dtype=torch.bool)
    assert torch.equal(network.encode(x), network.encode(x, seen))
    assert not torch.equal(network.encode(x, seen), network.encode(x, ~seen))


def test_a_long_window_costs_as_much_more_as_it_is_longer():
    short, long = (flops_per_item(build(Conv1d(), (points, 2))) for points in (256, 4096))
    assert 15 < long / short < 17


def test_more_blocks_have_more_weights_on_both_ways():
    one, two = (build(Conv1d(blocks=blocks), (64, 1)) for blocks in (1, 2))
    assert parameter_count(two.down) > parameter_count(one.down)
    assert parameter_count(two.up) > parameter_count(one.up)


def test_an_even_kernel_has_no_middle_and_is_refused():
    with pytest.raises(ValidationError, match="kernel_points"):
        Conv1d(kernel_points=4)
