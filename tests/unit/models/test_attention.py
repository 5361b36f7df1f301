"""What the transformer autoencoder is made of; its promises are in tests/contract."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from aeflow.config import Attention
from aeflow.models.attention import AttentionLayer, sinusoids
from aeflow.models.catalog import build


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def randn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_a_layer_is_that_of_the_transformer_encoder_normalised_first():
    own = AttentionLayer(8, 2)
    reference = nn.TransformerEncoderLayer(
        8, 2, dim_feedforward=32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    for value in own.parameters():
        nn.init.normal_(value, std=0.3)
    norm, widen, _, narrow = own.each_point
    for theirs, ours in (
        (reference.norm1, own.before_attention),
        (reference.self_attn.out_proj, own.attended),
        (reference.norm2, norm),
        (reference.linear1, widen),
        (reference.linear2, narrow),
    ):
        theirs.load_state_dict(ours.state_dict())
    reference.self_attn.in_proj_weight.data = own.query_key_value.weight.data
    reference.self_attn.in_proj_bias.data = own.query_key_value.bias.data
    x = randn(3, 5, 8)
    torch.testing.assert_close(own(x), reference(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", [4, 5])
def test_positions_are_sines_and_cosines_by_turns(width):
    found = sinusoids(7, width).double()
    place = torch.arange(7, dtype=torch.float64)
    for number in range(width):
        angle = place / 10_000 ** ((number - number % 2) / width)
        expected = angle.cos() if number % 2 else angle.sin()
        torch.testing.assert_close(found[:, number], expected, rtol=0, atol=1e-6)


def test_the_order_of_points_shows_in_the_code_by_their_positions_alone():
    network = build(Attention(), (6, 2))
    x = randn(3, 6, 2)
    assert not torch.allclose(network.encode(x), network.encode(x.flip(1)), atol=1e-4)
    network.positions.zero_()
    torch.testing.assert_close(network.encode(x), network.encode(x.flip(1)), rtol=1e-4, atol=1e-5)


def test_positions_follow_from_the_options_and_are_not_saved():
    network = build(Attention(), (6, 2))
    assert "positions" not in network.state_dict()
    assert network.to("meta").positions.device.type == "meta"


def test_the_mask_is_an_input():
    network = build(Attention(), (6, 2))
    x = torch.zeros(1, 6, 2)
    seen = torch.ones_like(x, dtype=torch.bool)
    assert torch.equal(network.encode(x), network.encode(x, seen))
    assert not torch.equal(network.encode(x, seen), network.encode(x, ~seen))


@pytest.mark.parametrize(("width", "heads"), [(3, 1), (6, 3)])
def test_any_width_that_the_heads_share_will_do(width, heads):
    network = build(Attention(width=width, heads=heads, layers=1), (301, 2))
    assert network(randn(2, 301, 2)).items.shape == (2, 301, 2)


def test_a_width_that_the_heads_cannot_share_is_refused():
    with pytest.raises(ValidationError, match=r"width \(10\) must be a multiple of model.heads \(4\)"):
        Attention(width=10)
