from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from aeflow.config import Padim as PadimConfig
from aeflow.config import Training
from aeflow.exceptions import InputError
from aeflow.models import pretrained_weights
from aeflow.models.catalog import build
from aeflow.models.padim import Places
from aeflow.training.items import ImageItems
from aeflow.training.loop import fit_network

needs_weights = pytest.mark.skipif(
    find_spec(pretrained_weights.PACKAGE) is None,
    reason="needs the extra `pretrained`: the weights of EfficientNet-Lite0",
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def stripes(count, side=64, seed=0):
    """Grey stripes of one direction and changing phase and brightness, and a little noise."""
    random = np.random.default_rng(seed)
    columns = np.arange(side)
    phase, bright = random.uniform(0, 6, (count, 1, 1, 1)), random.uniform(0.4, 0.6, (count, 1, 1, 1))
    images = (
        bright + 0.2 * np.sin(columns / 2 + phase) + 0.02 * random.standard_normal((count, 1, side, side))
    )
    return images.clip(0, 1).astype(np.float32)


def fit(images, **options):
    network = build(PadimConfig(**options), images.shape[1:])
    items = ImageItems(images)
    fit_network(network, items, items, training=Training(), seed=0, device=torch.device("cpu"))
    return network.eval()


def test_distances_are_those_of_mahalanobis_with_a_shrunk_covariance():
    random = np.random.default_rng(3)
    maps = (random.standard_normal((40, 5, 2, 3)) @ np.diag([1.0, 2.0, 0.1]) + 7).astype(np.float32)
    places = Places(5, (2, 3), shrinkage=0.2)
    places.begin()
    for part in np.array_split(maps, 3):
        places.add(torch.from_numpy(part))
    places.finish()
    found = places.distance(torch.from_numpy(maps[:4])).numpy()
    for row in range(2):
        for column in range(3):
            values = maps[:, :, row, column].astype(float)
            covariance = np.cov(values.T, bias=True)
            shrunk = 0.8 * covariance + 0.2 * np.trace(covariance) / 5 * np.eye(5)
            away = values[:4] - values.mean(axis=0)
            expected = np.einsum("nf,fg,ng->n", away, np.linalg.inv(shrunk), away) / 5
            np.testing.assert_allclose(found[:, row, column], expected, rtol=2e-4)


def test_features_that_never_vary_give_finite_distances():
    places = Places(3, (1, 1), shrinkage=0.1)
    places.begin()
    places.add(torch.full((6, 3, 1, 1), 2.0))
    places.finish()
    assert torch.equal(places.distance(torch.full((1, 3, 1, 1), 2.0)), torch.zeros(1, 1, 1))
    assert torch.isfinite(places.distance(torch.full((1, 3, 1, 1), 2.5))).all()


@needs_weights
def test_a_foreign_patch_is_found_where_it_is():
    network = fit(stripes(40), last_scale=3, first_scale=2)
    x = torch.from_numpy(stripes(2, seed=1))
    spoiled = x.clone()
    spoiled[:, :, 32:48, 8:24] = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    normal, foreign = (network.compare(one, None, "mse").error for one in (x, spoiled))
    assert foreign.shape == x.shape
    assert (foreign.amax(dim=(1, 2, 3)) > 1.5 * normal.amax(dim=(1, 2, 3))).all()
    for error in foreign[:, 0]:
        row, column = divmod(int(error.argmax()), 64)
        assert 28 <= row <= 52
        assert 4 <= column <= 28


@needs_weights
def test_the_expected_picture_shows_the_brightness():
    images = stripes(60)
    network = fit(images)
    x = torch.from_numpy(stripes(8, seed=5))
    expected = network(x).items.mean(dim=(1, 2, 3))
    told = np.corrcoef(expected.numpy(), x.mean(dim=(1, 2, 3)).numpy())[0, 1]
    assert told > 0.9


@needs_weights
def test_one_image_is_too_few():
    with pytest.raises(InputError, match="at least two images"):
        fit(stripes(1))


def test_without_the_weights_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(pretrained_weights, "PACKAGE", "not_installed_anywhere")
    with pytest.raises(InputError, match=r"aeflow\[pretrained\]"):
        fit(stripes(4))


def test_scales_stand_in_order():
    with pytest.raises(ValidationError, match="first_scale \\(4\\) must not be above"):
        PadimConfig(first_scale=4, last_scale=3)
