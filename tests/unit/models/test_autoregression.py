from __future__ import annotations

import pytest
import torch

from aeflow.config import Autoregression
from aeflow.exceptions import InputError
from aeflow.models.catalog import build

CPU = torch.device("cpu")


def oscillating(windows=400, points=3, seed=0):
    """Windows of a process that turns by a tenth of a circle each step, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.tensor([[0.81, -0.59], [0.59, 0.81]])
    state, path = torch.tensor([1.0, 0.0]), []
    for _ in range(windows + points):
        state = turn @ state + 0.1 * torch.randn(2, generator=generator)
        path.append(state)
    flat = torch.stack(path)
    return torch.stack([flat[i : i + points] for i in range(windows)])


def fitted(x, observed=None, **options):
    network = build(Autoregression(**options), tuple(x.shape[1:]))
    network.fit_closed_form([(x, observed)])
    return network


def test_what_follows_from_the_points_before_is_foretold():
    x = oscillating()
    error = (fitted(x, ridge=0.0)(x).items - x)[:, -1].square().mean().sqrt()
    assert error == pytest.approx(0.1, rel=0.1)  # the noise, which nobody can foretell


def test_the_points_that_are_read_are_given_back_as_they_are():
    x = oscillating()
    found = fitted(x)(x).items
    assert torch.equal(found[:, :-1], x[:, :-1])


def test_a_ridge_draws_the_coefficients_to_nothing():
    x = oscillating()
    free, held = (fitted(x, ridge=ridge).coefficients.square().sum() for ridge in (0.0, 1e6))
    assert held < 0.01 * free


def test_channels_that_never_moved_or_say_the_same_leave_finite_coefficients():
    x = oscillating()
    x = torch.cat([x, x[:, :, :1], torch.zeros(len(x), 3, 1)], dim=2)
    network = fitted(x, ridge=0.0)
    assert torch.isfinite(network.coefficients).all()
    assert (network(x).items - x)[:, -1].square().mean() < 0.05


def test_windows_that_miss_their_last_value_do_not_count():
    x = oscillating()
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[::3, -1, 0] = False
    spoilt = torch.where(observed, x, torch.zeros(()))
    expected = fitted(x[[i for i in range(len(x)) if i % 3]])
    torch.testing.assert_close(fitted(spoilt, observed).coefficients, expected.coefficients)
    observed[:, -1, 0] = False  # none is whole: what is missing is 0
    assert torch.isfinite(fitted(torch.where(observed, x, torch.zeros(())), observed).coefficients).all()


def test_too_few_points_and_items_are_refused():
    with pytest.raises(InputError, match="leave none to foretell"):
        build(Autoregression(), (1, 2))
    with pytest.raises(InputError, match="at least two items"):
        fitted(oscillating(windows=1))
    with pytest.raises(InputError, match="more than once"):
        build(Autoregression(), (3, 2)).fit_closed_form(iter([(oscillating(), None)]))
