from __future__ import annotations

from itertools import product

import pytest
import torch

from aeflow.config import Conv2d, SparseCode, VariationalCode
from aeflow.models.catalog import build
from aeflow.models.levels import Levels

WAYS = list(product(("stride", "max_pool"), ("nearest", "transposed")))


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize(("down", "up"), WAYS)
@pytest.mark.parametrize("height", [1, 8, 13])
@pytest.mark.parametrize("levels", [1, 5])
def test_images_of_any_size_come_back_in_it(down, up, height, levels):
    network = build(Conv2d(width=3, levels=levels, code_size=5, down=down, up=up), (3, height, 10))
    found = network(torch.rand(2, 3, height, 10)).items
    assert found.shape == (2, 3, height, 10)
    assert found.is_contiguous()


@pytest.mark.parametrize(("down", "up"), WAYS)
def test_each_step_ends_at_the_very_size_of_its_level(down, up):
    network = build(Conv2d(width=2, levels=3, down=down, up=up), (1, 27, 14))
    sizes = Levels.of((1, 27, 14), 2, 3).sizes
    assert sizes == ((27, 14), (14, 7), (7, 4), (4, 2))
    seen = []
    for block in network.up:
        block.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape[2:])))
    assert network.down(torch.rand(1, 1, 27, 14)).shape[2:] == sizes[-1]
    network(torch.rand(1, 1, 27, 14))
    assert seen == [sizes[2], sizes[1], sizes[0]]


@pytest.mark.parametrize(("down", "up"), WAYS)
def test_every_weight_learns(down, up):
    network = build(Conv2d(width=4, levels=2, down=down, up=up), (1, 9, 7))
    x = torch.rand(3, 1, 9, 7)
    (network(x).items - x).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_only_the_largest_of_four_neighbours_goes_on():
    network = build(Conv2d(width=4, levels=1, down="max_pool"), (1, 6, 6))
    x = torch.rand(2, 1, 6, 6)
    whole = network.down[:3](x)
    expected = whole.reshape(2, 4, 3, 2, 3, 2).amax(dim=(3, 5))
    assert torch.equal(network.down(x), expected)


def test_the_names_of_the_default_weights_are_those_of_saved_detectors():
    names = [name for name in build(Conv2d(levels=2), (1, 9, 7)).state_dict() if name.endswith("weight")]
    assert names == [
        "down.0.weight",
        "down.1.weight",
        "down.3.weight",
        "down.4.weight",
        "bottleneck.linear.weight",
        "from_code.weight",
        "up.0.0.weight",
        "up.0.1.weight",
        "up.1.weight",
    ]


def test_a_sigmoid_output_is_that_of_the_linear_one_squashed():
    x = torch.rand(4, 1, 9, 7)
    linear, squashed = (build(Conv2d(output=output), (1, 9, 7), seed=1) for output in ("linear", "sigmoid"))
    assert torch.equal(squashed(x).items, linear(x).items.sigmoid())
    code = 100 * torch.ones(1, 64)
    assert (squashed.decode(code) >= 0).all()
    assert (squashed.decode(code) <= 1).all()
    assert linear.decode(code).abs().max() > 1


@pytest.mark.parametrize("code", [SparseCode(), VariationalCode()])
def test_a_code_that_is_held_back_costs_something(code):
    network = build(Conv2d(code=code, up="transposed", down="max_pool"), (1, 9, 7))
    assert network(torch.rand(4, 1, 9, 7)).penalty > 0
