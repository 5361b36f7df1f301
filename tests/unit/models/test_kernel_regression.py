from __future__ import annotations

import pytest
import torch

from aeflow.config import KernelRegression
from aeflow.exceptions import InputError
from aeflow.models.catalog import build


def waves(count=40, points=30, seed=0):
    """Windows of a sine at random phases."""
    phase = torch.rand(count, 1, generator=torch.Generator().manual_seed(seed))
    return torch.sin(2 * torch.pi * (torch.arange(points) / points + phase)).unsqueeze(2)


def fitted(x, **options):
    network = build(KernelRegression(**options), tuple(x.shape[1:]))
    network.fit_closed_form([(part, None) for part in x.split(7)])
    return network


def errors(network, x, observed=None):
    return (network(x, observed).items - x).square().mean(dim=(1, 2))


def test_a_shape_that_was_never_seen_differs_more_from_what_is_expected():
    network = fitted(waves())
    odd = waves(10, seed=1)
    odd[:, 10:20] = 0
    assert errors(network, odd).min() > 5 * errors(network, waves(10, seed=1)).max()


def test_far_from_all_that_was_seen_the_nearest_window_alone_is_expected():
    x = waves()
    far = x[17:18] + 50 * x[17:18]
    torch.testing.assert_close(fitted(x)(far).items, x[_nearest(x, far)], rtol=1e-3, atol=1e-3)


def _nearest(x, item):
    return (x - item).square().sum(dim=(1, 2)).argmin().reshape(1)


def test_a_wide_bandwidth_expects_the_mean_of_all():
    x = waves()
    expected = x.mean(dim=0, keepdim=True).expand(3, -1, -1)
    torch.testing.assert_close(fitted(x, bandwidth=1e4)(x[:3]).items, expected, rtol=1e-3, atol=1e-3)


def test_kept_are_windows_spread_over_all_of_the_history():
    x = torch.arange(100.0).reshape(100, 1, 1).expand(-1, 3, 1)
    network = fitted(x, max_windows=4)
    kept = network.windows[network.kept] + network.mean
    assert kept[:, 0].tolist() == [0, 25, 50, 75]


def test_values_that_are_missing_do_not_bear_on_what_is_near():
    x = waves()
    observed = torch.ones(1, 30, 1, dtype=torch.bool)
    observed[:, 5:15] = False
    hidden = torch.where(observed, x[3:4], torch.zeros(()))
    found = fitted(x, bandwidth=0.1)(hidden, observed).items
    torch.testing.assert_close(found, x[3:4], rtol=0.05, atol=0.05)
    assert errors(fitted(x, bandwidth=0.1), hidden) > 0.05


def test_windows_that_are_all_the_same_are_expected_as_they_are():
    x = waves(1).expand(5, -1, -1)
    network = fitted(x)
    assert network.width > 0
    torch.testing.assert_close(network(x).items, x)


def test_too_few_windows_and_batches_that_run_out_are_refused():
    with pytest.raises(InputError, match="at least two items"):
        fitted(waves(1))
    with pytest.raises(InputError, match="more than once"):
        build(KernelRegression(), (30, 1)).fit_closed_form(iter([(waves(), None)]))


@pytest.mark.parametrize("masked", [False, True])
def test_of_a_cycle_with_little_noise_one_item_and_many_are_scored_alike(masked):
    """In single precision the errors differed by up to a half."""
    generator = torch.Generator().manual_seed(0)
    cycle = ((torch.arange(3_000) % 48) // 3 / 5).unfold(0, 96, 1).unsqueeze(2)
    network = fitted(cycle + 1e-3 * torch.randn(cycle.shape, generator=generator))
    x = cycle[::9] + 1e-3 * torch.randn(cycle[::9].shape, generator=generator)
    observed = torch.ones(x.shape, dtype=torch.bool)
    observed[:, 5:9] = not masked
    x = x * observed
    mask = observed if masked else None
    alone = [errors(network, x[i : i + 1], None if mask is None else mask[i : i + 1]) for i in range(len(x))]
    torch.testing.assert_close(torch.cat(alone), errors(network, x, mask), rtol=1e-5, atol=0)
