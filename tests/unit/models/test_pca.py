from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from aeflow.config import Pca as PcaConfig
from aeflow.exceptions import InputError
from aeflow.models import principal_components as module
from aeflow.models.pca import Pca
from aeflow.models.principal_components import principal_components


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def items(count, size, rank=6, noise=0.01, seed=0):
    """Items of a few strong directions, far from 0."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(size, rank, generator=random)).Q
    codes = torch.randn(count, rank, generator=random) * torch.linspace(3, 1, rank)
    return codes @ directions.T + noise * torch.randn(count, size, generator=random) + 5


def exact(x, count):
    centered = x.double() - x.double().mean(dim=0)
    _, lengths, directions = torch.linalg.svd(centered, full_matrices=False)
    return lengths[:count] ** 2 / (len(x) - 1), directions[:count]


def angles(a, b):
    return torch.arccos(torch.linalg.svdvals(a @ b.T).clamp(-1, 1))


def assert_alike(found, x, count):
    variance, directions = exact(x, count)
    torch.testing.assert_close(found.mean, x.double().mean(dim=0))
    torch.testing.assert_close(found.variance, variance, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(found.total_variance, x.double().var(dim=0).sum())
    assert angles(found.directions, directions).max() < 1e-5


@pytest.mark.parametrize("portion", [1, 7, 200])
def test_the_covariance_gives_the_components_of_the_singular_values(portion):
    x = items(200, 30)
    assert_alike(principal_components([(part, None) for part in x.split(portion)], 5), x, 5)


def test_fewer_items_than_values_give_the_same_components():
    x = items(20, 90)
    assert_alike(principal_components([(part, None) for part in x.split(6)], 5), x, 5)


def test_what_is_too_large_for_a_matrix_gives_the_same_components(monkeypatch):
    monkeypatch.setattr(module, "_LARGEST_MATRIX", 50)
    x = items(150, 120)
    found = principal_components([(part, None) for part in x.split(40)], 5)
    assert_alike(found, x, 5)
    again = principal_components([(part, None) for part in x.split(40)], 5)
    assert torch.equal(found.directions, again.directions)


def test_missing_values_count_as_the_mean_of_those_observed():
    x = items(100, 12)
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.8
    mean = (x.double() * observed).sum(dim=0) / observed.sum(dim=0)
    filled = torch.where(observed, x.double(), mean)
    batches = list(zip((x * observed).split(30), observed.split(30), strict=True))
    found = principal_components(batches, 4)
    variance, directions = exact(filled, 4)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.variance, variance)
    assert angles(found.directions, directions).max() < 1e-5


def test_a_value_that_was_never_observed_harms_nothing():
    x = items(40, 6)
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[:, 2] = False
    found = principal_components([(x * observed, observed)], 3)
    assert found.mean[2] == 0
    assert torch.isfinite(found.directions).all()


@pytest.mark.parametrize("shape", [(10, 4), (4, 10)])
def test_items_that_are_all_the_same_have_no_component(shape):
    network = Pca(PcaConfig(), (2, shape[1] // 2))
    network.fit_closed_form([(torch.full((shape[0], 2, shape[1] // 2), 3.0), None)])
    x = torch.full((2, 2, shape[1] // 2), 4.0)
    assert torch.equal(network(x).items, torch.full_like(x, 3.0))
    assert torch.equal(network.latent_contributions(x), torch.zeros_like(x))


def test_an_iterator_and_a_single_item_are_refused():
    x = items(5, 3, rank=2)
    with pytest.raises(InputError, match="more than once"):
        principal_components(iter([(x, None)]), 2)
    with pytest.raises(InputError, match="at least two items"):
        principal_components([(x[:1], None)], 2)


def fitted(x, **options):
    network = Pca(PcaConfig(**options), x.shape[1:])
    network.fit_closed_form([(x, None)])
    return network


def test_the_fewest_components_that_explain_the_share_are_kept():
    x = items(500, 20).reshape(500, 5, 4)
    variance, _ = exact(x.flatten(1), 20)
    explained = torch.cumsum(variance, 0) / variance.sum()
    for share in (0.3, 0.8, 0.99):
        kept = int((fitted(x, explained_variance=share).variance > 0).sum())
        assert explained[kept - 1] >= share
        assert kept == 1 or explained[kept - 2] < share


def test_at_most_max_components_are_kept():
    x = items(100, 20).reshape(100, 5, 4)
    network = fitted(x, explained_variance=0.999, max_components=2)
    assert network.code_size == 2
    assert (network.variance > 0).all()


def test_the_latent_contributions_sum_to_hotellings_t2():
    x = items(300, 20).reshape(300, 5, 4)
    network = fitted(x, explained_variance=0.9)
    kept = network.variance > 0
    code = network.encode(x)[:, kept]
    inverse = torch.linalg.inv(torch.from_numpy(np.cov(code.double().numpy().T)))
    t2 = torch.einsum("ni,ij,nj->n", code.double(), inverse, code.double())
    parts = network.latent_contributions(x).double().sum(dim=(1, 2)) * kept.sum() / network.code_size
    torch.testing.assert_close(parts, t2, rtol=1e-3, atol=1e-3)
    assert t2.mean() == pytest.approx(int(kept.sum()), rel=0.02)


def test_directions_of_rounding_noise_do_not_count():
    x = items(300, 8, rank=2, noise=0.0).reshape(300, 4, 2)
    network = fitted(x, explained_variance=0.9999999999, max_components=8)
    assert int((network.variance > 0).sum()) == 2
    assert network.latent_contributions(x).sum(dim=(1, 2)).max() < 100 * network.code_size


def test_a_missing_value_enters_as_the_mean_when_scoring():
    x = items(100, 12).reshape(100, 4, 3)
    network = fitted(x)
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[:, 1, 2] = False
    filled = x.clone()
    filled[:, 1, 2] = network.mean[5]
    found = network(x * observed, observed).items
    torch.testing.assert_close(found, network(filled).items, rtol=1e-4, atol=1e-4)


def test_fitting_does_not_write_into_the_items():
    x = items(30, 12).reshape(30, 4, 3)
    observed = torch.ones_like(x, dtype=torch.bool)
    before = x.clone()
    network = Pca(PcaConfig(), (4, 3))
    network.fit_closed_form([(x, observed)])
    network.latent_contributions(x, observed)
    assert torch.equal(x, before)


@pytest.mark.parametrize(("count", "shape"), [(150, (7, 3)), (20, (3, 9, 5))])
def test_the_components_are_those_of_scikit_learn(count, shape):
    x = items(count, int(np.prod(shape))).reshape(count, *shape)
    network = fitted(x, explained_variance=0.9)
    kept = int((network.variance > 0).sum())
    other = PCA(n_components=kept, svd_solver="full").fit(x.flatten(1).double().numpy())
    between = angles(network.components[:kept].double(), torch.from_numpy(other.components_))
    assert torch.rad2deg(between).max() < 1
    torch.testing.assert_close(
        network.variance[:kept].double(), torch.from_numpy(other.explained_variance_), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("value", [0.1, 0.7, 123.456, -3e5])
@pytest.mark.parametrize(("count", "shape"), [(3, (7, 3)), (7, (7, 3)), (1000, (4, 2))])
def test_the_rounding_of_a_constant_is_no_variance(value, count, shape):
    network = Pca(PcaConfig(), shape)
    network.fit_closed_form([(part, None) for part in torch.full((count, *shape), value).split(7)])
    assert (network.variance == 0).all()
    parts = network.latent_contributions(torch.full((2, *shape), value + 1))
    assert torch.equal(parts, torch.zeros_like(parts))
