from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from aeflow.config import Conv2d, Dense, Lstm, PlainCode, SparseCode, Training, VariationalCode
from aeflow.models.catalog import build
from aeflow.models.errors import mean_error
from aeflow.training.items import ImageItems
from aeflow.training.loop import fit_network

CPU = torch.device("cpu")
FAMILIES = [
    pytest.param(Dense(hidden=(9,), code_size=4), (1, 6, 5), id="dense"),
    pytest.param(Conv2d(width=4, levels=2, code_size=4), (1, 6, 5), id="conv2d"),
    pytest.param(Lstm(hidden_size=6, code_size=4), (6, 5), id="lstm"),
]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def with_code(model, **options):
    return model.model_copy(update={"code": VariationalCode(**options)})


def images(count=200, seed=0):
    """Each of a few of many patterns: what a sparse code can say with few numbers."""
    random = np.random.default_rng(seed)
    patterns = np.random.default_rng(99).random((24, 64))
    share = random.random((count, 24)) * (random.random((count, 24)) < 0.1)
    return ImageItems((share @ patterns).reshape(count, 1, 8, 8).astype(np.float32))


def fit(model, items, epochs=30):
    network = build(model, (1, 8, 8))
    training = Training(
        epochs=epochs, batch_size=20, learning_rate=1e-2, schedule="cosine", patience_epochs=epochs
    )
    found = fit_network(network, items, items, training=training, seed=0, device=CPU)
    return network.eval(), found


# Variational codes


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
@pytest.mark.parametrize(("model", "shape"), FAMILIES)
def test_the_gradient_is_that_of_the_evidence_lower_bound_written_out(model, shape, beta):
    """The textbook's network: an encoder of mean and variance, one draw, a normal likelihood around what is
    decoded, of the most likely variance; with beta = 1 the variational autoencoder."""
    x = torch.rand(16, *shape, generator=torch.Generator().manual_seed(1))
    assert_gradient_is_that_of_the_bound(with_code(model, beta=beta), x)


@pytest.mark.real_data
@pytest.mark.parametrize("model", [FAMILIES[0].values[0], FAMILIES[1].values[0]], ids=["dense", "conv2d"])
def test_with_a_beta_of_1_the_gradient_on_handwritten_digits_is_that_of_the_variational_autoencoder(
    model, handwritten_digits
):
    x = torch.from_numpy(handwritten_digits[:32] / np.float32(255))
    assert_gradient_is_that_of_the_bound(with_code(model), x)


@pytest.mark.real_data
def test_with_a_beta_of_1_the_gradient_on_heartbeats_is_that_of_the_variational_autoencoder(heartbeats):
    assert_gradient_is_that_of_the_bound(
        with_code(FAMILIES[2].values[0]), torch.from_numpy(heartbeats[:32, ::4])
    )


def assert_gradient_is_that_of_the_bound(model, x):
    shape, beta = tuple(x.shape[1:]), model.code.beta
    network = build(model, shape).train()
    parameters = dict(network.named_parameters())

    torch.manual_seed(7)
    found = network(x)
    error = mean_error("mse", found.items, x)
    ours = torch.autograd.grad(network.objective(found, error), list(parameters.values()))

    torch.manual_seed(7)
    features = network.features(x)
    posterior = Normal(
        network.bottleneck.mean(features), (0.5 * network.bottleneck.log_variance(features)).exp()
    )
    decoded = network.decode(posterior.loc + posterior.scale * torch.randn(len(x), 4))
    variance = (decoded - x).square().mean()
    likelihood = Normal(decoded, variance.sqrt()).log_prob(x).flatten(1).sum(dim=1)
    divergence = kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=1)
    negative_bound = (beta * divergence - likelihood).mean()
    theirs = torch.autograd.grad(negative_bound, list(parameters.values()))

    scale = 2 * variance.item() / math.prod(shape)
    for name, one, other in zip(parameters, ours, theirs, strict=True):
        torch.testing.assert_close(
            one, scale * other, rtol=1e-3, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize(("model", "shape"), FAMILIES)
def test_an_elbo_score_is_the_negative_bound_but_for_a_constant(model, shape):
    network = build(with_code(model, score="elbo", draws=5, beta=3.0), shape).eval()
    x = torch.rand(10, *shape)
    variance, size = 0.3**2, math.prod(shape)
    with torch.inference_mode():
        # As a detector of this spread scores the whole item.
        error = network.compare(x, None, "mse").error.flatten(1).mean(dim=1) / variance
        latent = network.latent_contributions(x).flatten(1).sum(dim=1) / network.code_size
        posterior = Normal(*_posterior(network, x))
        views = network.views(x)
    log_likelihood = Normal(views, math.sqrt(variance)).log_prob(x).flatten(2).sum(dim=2).mean(dim=0)
    bound = log_likelihood - kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=1)
    constant = math.log(2 * math.pi * variance)
    torch.testing.assert_close(error + latent, -2 * bound / size - constant, rtol=1e-4, atol=1e-4)


def _posterior(network, x):
    mean, log_variance = network.bottleneck.distribution(network.features(x))
    return mean, (0.5 * log_variance).exp()


@pytest.mark.parametrize(("model", "shape"), FAMILIES)
def test_the_divergence_counts_in_the_score_only_where_it_is_asked_for(model, shape):
    x = torch.rand(4, *shape)
    assert build(model, shape).latent_contributions(x) is None
    assert build(with_code(model), shape).latent_contributions(x) is None
    parts = build(with_code(model, score="elbo"), shape).latent_contributions(x)
    assert parts.shape == x.shape
    assert (parts >= 0).all()
    assert (parts.flatten(1).sum(dim=1) > 0).all()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_the_divergence_is_never_negative_nor_infinite(scale):
    network = build(Dense(code_size=4, code=VariationalCode(score="elbo")), (6, 5))
    parts = network.latent_contributions(scale * torch.randn(200, 6, 5))
    assert (parts >= 0).all()
    assert torch.isfinite(parts).all()


@pytest.mark.parametrize("score", ["reconstruction_probability", "elbo"])
@pytest.mark.parametrize(("model", "shape"), FAMILIES)
def test_variational_scores_repeat_and_depend_on_no_other_item(model, shape, score):
    network = build(with_code(model, draws=4, score=score), shape).eval()
    x = torch.rand(37, *shape)
    with torch.inference_mode():
        whole = network.compare(x, None, "mse")
        torch.manual_seed(1)
        again = network.compare(x, None, "mse")
        parts = [network.compare(part, None, "mse") for part in x.split(5)]
        backwards = network.compare(x.flip(0), None, "mse")
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))
    for number in range(2):
        joined = torch.cat([part[number] for part in parts])
        torch.testing.assert_close(joined, whole[number], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(backwards[number].flip(0), whole[number], rtol=1e-5, atol=1e-7)


def test_an_error_is_the_mean_over_the_draws():
    network = build(Dense(code_size=4, code=VariationalCode(draws=6)), (6, 5)).eval()
    x = torch.rand(3, 6, 5)
    with torch.inference_mode():
        views = network.views(x)
        found = network.compare(x, None, "mae")
    assert views.shape == (6, 3, 6, 5)
    assert not torch.equal(views[0], views[1])
    torch.testing.assert_close(found.error, (views - x).abs().mean(dim=0))
    torch.testing.assert_close(found.expected, views.mean(dim=0))


def test_draws_are_those_of_the_codes_distribution():
    network = build(Dense(code_size=4, code=VariationalCode(draws=256)), (6, 5))
    features = torch.randn(3, 60)
    draws = network.bottleneck.draws(features)
    mean, log_variance = network.bottleneck.distribution(features)
    deviation = (0.5 * log_variance).exp()
    torch.testing.assert_close(draws.mean(dim=0), mean, atol=0.3 * deviation.max().item(), rtol=0)
    torch.testing.assert_close(draws.std(dim=0), deviation, rtol=0.3, atol=0)


def test_codes_are_drawn_while_training_and_means_otherwise():
    network = build(Dense(code_size=4, code=VariationalCode()), (6, 5))
    x = torch.rand(3, 6, 5)
    assert not torch.equal(network.train()(x).code, network(x).code)
    assert torch.equal(network.eval()(x).code, network.encode(x))


def test_the_weight_of_the_divergence_rises_to_beta():
    network = build(Dense(code_size=4, code=VariationalCode(beta=3.0, warm_up_epochs=4)), (6, 5)).train()
    x = torch.rand(8, 6, 5)
    penalties = []
    for epoch in range(1, 8):
        network.begin_epoch(epoch)
        penalties.append(float(network(x).penalty.detach()))
    assert [p / penalties[-1] for p in penalties] == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1, 1])
    # Validation counts it in full from the first epoch, so that epochs can be compared.
    network.begin_epoch(1)
    assert float(network.eval()(x).penalty.detach()) == pytest.approx(penalties[-1])


def test_without_a_warm_up_the_weight_is_beta_at_once():
    network = build(Dense(code_size=4, code=VariationalCode(beta=3.0, warm_up_epochs=0)), (6, 5)).train()
    x = torch.rand(8, 6, 5)
    network.begin_epoch(1)
    trained = float(network(x).penalty.detach())
    assert trained == pytest.approx(float(network.eval()(x).penalty.detach()))
    assert trained > 0


def test_a_larger_beta_holds_the_codes_nearer_to_the_normal_distribution():
    items = images()
    x = items.take(torch.arange(200))[0]
    divergences = []
    for beta in (0.1, 1.0, 10.0):
        network, _ = fit(Dense(code_size=8, code=VariationalCode(beta=beta)), items, epochs=20)
        with torch.inference_mode():
            posterior = Normal(*_posterior(network, x))
            divergences.append(float(kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=1).mean()))
    assert divergences[0] > 1.5 * divergences[1] > 1.5**2 * divergences[2]


# Sparse codes


def activity(network, items):
    """The share of items in which a number of the code is active: beyond a quarter of its root mean square."""
    with torch.inference_mode():
        code = network.encode(items.take(torch.arange(len(items)))[0])
    return float((code.abs() > 0.25 * code.square().mean(dim=0).sqrt()).float().mean()), code


def test_an_l1_penalty_makes_codes_sparser():
    items = images()
    plain, weak, strong = (
        activity(fit(Dense(code_size=32, code=code), items)[0], items)[0]
        for code in (PlainCode(), SparseCode(weight=0.3), SparseCode(weight=3.0))
    )
    assert strong < weak < plain
    assert strong < 0.8 * plain


def test_a_code_does_not_become_sparse_by_shrinking():
    bottleneck = build(Dense(code_size=6, code=SparseCode()), (6, 5)).bottleneck
    features = torch.randn(50, 60)
    before = bottleneck(features)[1]
    with torch.no_grad():
        bottleneck.linear.weight *= 1e-3
        bottleneck.linear.bias *= 1e-3
    torch.testing.assert_close(bottleneck(features)[1], before, rtol=1e-3, atol=0)


def test_an_l1_penalty_lies_between_none_active_and_all_alike():
    bottleneck = build(Dense(code_size=1, code=SparseCode(weight=2.0)), (6, 5)).bottleneck
    bottleneck.linear = torch.nn.Identity()
    once = torch.zeros(100, 1)
    once[3] = 5.0
    assert bottleneck(torch.ones(100, 1))[1].item() == pytest.approx(2.0)
    assert bottleneck(once)[1].item() == pytest.approx(2.0 / 10)
    assert bottleneck(torch.zeros(100, 1))[1].item() == 0


def test_a_number_that_is_always_0_has_a_finite_gradient():
    bottleneck = build(Dense(code_size=1, code=SparseCode()), (6, 5)).bottleneck
    bottleneck.linear = torch.nn.Identity()
    features = torch.zeros(9, 1, requires_grad=True)
    bottleneck(features)[1].backward()
    assert torch.isfinite(features.grad).all()


def test_a_kl_penalty_draws_the_activity_towards_the_wanted_share():
    items = images()
    means = []
    for weight in (0.0, 3.0, 10.0):
        code = SparseCode(penalty="kl", weight=weight, active_share=0.1)
        _, found = activity(fit(Dense(code_size=32, code=code), items)[0], items)
        assert found.min() >= 0
        assert found.max() <= 1
        means.append(float(found.mean()))
    assert means[0] > 1.5 * means[1]
    assert means[1] > 1.1 * means[2]
    assert means[2] == pytest.approx(0.1, abs=0.08)


def test_a_kl_penalty_is_the_divergence_of_two_coins():
    bottleneck = build(Dense(code_size=2, code=SparseCode(penalty="kl", active_share=0.2)), (6, 5)).bottleneck
    bottleneck.linear = torch.nn.Identity()
    activity = torch.tensor([[0.2, 0.5], [0.2, 0.7]])
    expected = torch.distributions.kl_divergence(
        torch.distributions.Bernoulli(torch.tensor([0.2, 0.2])),
        torch.distributions.Bernoulli(torch.tensor([0.2, 0.6])),
    )
    assert bottleneck(activity.logit())[1].item() == pytest.approx(float(expected.mean()), rel=1e-5)


@pytest.mark.parametrize("penalty", ["l1", "kl"])
def test_a_sparse_code_of_weight_0_is_trained_as_if_nothing_were_asked_of_it(penalty):
    items = images(60)
    code = SparseCode(penalty=penalty, weight=0.0)
    _, found = fit(Dense(code_size=8, code=code), items, epochs=2)
    network, _ = fit(Dense(code_size=8, code=code), items, epochs=2)
    x = items.take(torch.arange(60))[0]
    with torch.inference_mode():
        error = float(mean_error("mse", network(x).items, x))
    assert min(r.validation_loss for r in found.history) == pytest.approx(error, rel=1e-6)
