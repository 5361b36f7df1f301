from __future__ import annotations

import pytest
import torch
from torch import nn

from aeflow.config import Resnet, SparseCode, VariationalCode
from aeflow.models.catalog import build
from aeflow.models.resnet import ResidualBlock


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("height", [1, 8, 13])
@pytest.mark.parametrize("levels", [1, 5])
def test_images_of_any_size_come_back_in_it(height, levels):
    network = build(Resnet(width=3, levels=levels, code_size=5), (3, height, 10))
    assert network(torch.rand(2, 3, height, 10)).items.shape == (2, 3, height, 10)


@pytest.mark.parametrize("blocks", [1, 3])
def test_the_decoder_has_the_blocks_of_the_encoder(blocks):
    network = build(Resnet(width=4, levels=3, blocks=blocks), (1, 16, 16))
    down, up = (
        sum(isinstance(module, ResidualBlock) for module in part.modules())
        for part in (network.down, network.up)
    )
    assert down == up == 3 * blocks


def test_a_block_whose_residual_is_nothing_hands_its_input_on():
    block = ResidualBlock(8, 8)
    nn.init.zeros_(block.residual[-1].weight)
    nn.init.zeros_(block.residual[-1].bias)
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(block(x), nn.functional.silu(x))


@pytest.mark.parametrize(("height", "expected"), [(8, 4), (9, 5), (1, 1)])
def test_a_block_of_stride_2_halves_and_rounds_up(height, expected):
    assert ResidualBlock(3, 6, stride=2)(torch.rand(1, 3, height, 4)).shape == (1, 6, expected, 2)


@pytest.mark.parametrize("size", [7, 8])
def test_the_shortcut_of_a_smaller_block_is_a_strided_convolution(size):
    block = ResidualBlock(9, 12, stride=2)
    convolution = next(m for m in block.shortcut if isinstance(m, nn.Conv2d))
    x = torch.rand(2, 9, size, size)
    strided = nn.functional.conv2d(x, convolution.weight, convolution.bias, stride=2)
    torch.testing.assert_close(block.shortcut[:2](x), strided)


def test_the_gradient_reaches_the_first_layer_through_many_blocks():
    network = build(Resnet(width=4, levels=2, blocks=8), (1, 12, 12))
    x = torch.rand(3, 1, 12, 12)
    (network(x).items - x).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_no_item_depends_on_the_others_while_training():
    network = build(Resnet(), (1, 9, 7)).train()
    x = torch.rand(6, 1, 9, 7)
    torch.testing.assert_close(network(x).items[:1], network(x[:1]).items)


def test_a_sigmoid_output_is_that_of_the_linear_one_squashed():
    x = torch.rand(4, 1, 9, 7)
    linear, squashed = (build(Resnet(output=output), (1, 9, 7), seed=1) for output in ("linear", "sigmoid"))
    assert torch.equal(squashed(x).items, linear(x).items.sigmoid())


@pytest.mark.parametrize("code", [SparseCode(), VariationalCode()])
def test_a_code_that_is_held_back_costs_something(code):
    assert build(Resnet(code=code), (1, 9, 7))(torch.rand(4, 1, 9, 7)).penalty > 0
