from __future__ import annotations

import pytest
import torch

from aeflow.config import Dense, Pca, SparseCode, Training, VariationalCode
from aeflow.models.autoencoder import parameter_count
from aeflow.models.catalog import build
from aeflow.models.principal_components import principal_components
from aeflow.training.items import ImageItems
from aeflow.training.loop import fit_network

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def test_without_hidden_layers_the_code_is_the_one_hidden_layer():
    network = build(Dense(activation="tanh", code_size=64), (1, 4, 5))
    assert parameter_count(network) == (20 * 64 + 64) + (64 * 20 + 20)
    x = torch.rand(3, 1, 4, 5)
    first, second = network.bottleneck.linear, network.up[0]
    expected = second(torch.tanh(first(x.flatten(1)))).reshape(3, 1, 4, 5)
    assert torch.equal(network(x).items, expected)


def test_the_decoder_mirrors_the_encoder():
    network = build(Dense(hidden=(12, 7), code_size=3), (1, 4, 5))
    assert [layer.weight.shape for layer in network.down] == [(12, 20), (7, 12)]
    assert [layer.weight.shape for layer in network.up] == [(7, 3), (12, 7), (20, 12)]


def test_a_linear_network_is_linear():
    network = build(Dense(hidden=(6,), activation="linear", code_size=4), (1, 3, 3))
    a, b = torch.rand(2, 5, 1, 3, 3)
    between = network(0.3 * a + 0.7 * b).items
    torch.testing.assert_close(between, 0.3 * network(a).items + 0.7 * network(b).items)


def test_a_sigmoid_output_lies_between_0_and_1():
    x = 100 * torch.randn(20, 1, 3, 3)
    outside, inside = (build(Dense(output=output), (1, 3, 3))(x).items for output in ("linear", "sigmoid"))
    assert outside.min() < 0
    assert outside.max() > 1
    assert inside.min() >= 0
    assert inside.max() <= 1


def test_windows_are_read_with_their_mask():
    network = build(Dense(), (6, 2))
    x = torch.zeros(1, 6, 2)
    seen = torch.ones_like(x, dtype=torch.bool)
    assert torch.equal(network.encode(x), network.encode(x, seen))
    assert not torch.equal(network.encode(x, seen), network.encode(x, ~seen))


@pytest.mark.parametrize(
    "code",
    [SparseCode(penalty="kl"), VariationalCode()],
    ids=["squashed", "drawn"],
)
def test_a_code_that_is_not_linear_is_decoded_as_it_is(code):
    network = build(Dense(activation="relu", code=code, code_size=3), (1, 3, 3))
    assert not torch.equal(network.decode(-torch.ones(1, 3)), network.decode(torch.zeros(1, 3)))
    plain = build(Dense(activation="relu", code_size=3), (1, 3, 3))
    assert torch.equal(plain.decode(-torch.ones(1, 3)), plain.decode(torch.zeros(1, 3)))


@pytest.mark.parametrize("activation", ["silu", "relu", "tanh"])
def test_a_deep_network_passes_signals_on_in_their_size(activation):
    """So that gradients reach the first layer of any depth."""
    network = build(Dense(hidden=(64,) * 10, activation=activation, code_size=64), (1, 8, 8))
    x = torch.randn(200, 1, 8, 8)
    assert 0.1 < network.features(x).square().mean().sqrt() < 10
    network(x).items.square().mean().backward()
    norms = [float(layer.weight.grad.norm()) for layer in (*network.down, *network.up)]
    assert max(norms) < 100 * min(norms)


def principal_angles(directions, basis):
    """Between the rows of `directions` and the columns of `basis`, in degrees."""
    basis = torch.linalg.qr(basis.double()).Q
    cosines = torch.linalg.svdvals(directions.double() @ basis).clamp(max=1)
    return torch.rad2deg(torch.arccos(cosines))


@pytest.mark.slow
@pytest.mark.real_data
def test_the_linear_autoencoder_finds_the_principal_subspace_of_handwritten_digits(handwritten_digits):
    """The first 3000 training digits; a code of 6, since the 6th of their variances is 1.35 times the 7th:
    where two are alike no direction between them is better. Steps are large, for they have to tell these
    two apart, and fall by the cosine. At constant steps the last angle stayed above 3 degrees in 40 epochs:
    larger ones wander around the subspace, smaller ones do not get there.
    """
    items = ImageItems(handwritten_digits)
    network = build(Dense(activation="linear", code_size=6), (1, 28, 28))
    training = Training(epochs=20, batch_size=64, learning_rate=3e-2, schedule="cosine", patience_epochs=20)
    fit_network(network, items, items, training=training, seed=0, device=CPU)

    everything = items.take(torch.arange(len(items)))
    found = principal_components([everything], 7)
    assert found.variance[5] / found.variance[6] > 1.3
    assert principal_angles(found.directions[:6], network.up[0].weight.detach()).max() < 1
    baseline = build(Pca(max_components=6, explained_variance=0.999), (1, 28, 28))
    baseline.fit_closed_form([everything])
    with torch.inference_mode():
        errors = [(one(everything[0]).items - everything[0]).square().mean() for one in (network, baseline)]
    assert float(errors[0]) == pytest.approx(float(errors[1]), rel=0.01)
