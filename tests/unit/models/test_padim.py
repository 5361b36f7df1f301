from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from aeflow.config import Padim as PadimConfig
from aeflow.config import PatchMap, Training
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
    maps = (PatchMap(scale=2), PatchMap(scale=3, relative=True), PatchMap(zoom=2, scale=3, pooled=0.5))
    network = fit(stripes(40), maps=maps, neighbourhood=3)
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


def test_at_least_one_map_is_needed():
    with pytest.raises(ValidationError, match="at least 1 item"):
        PadimConfig(maps=())


def test_a_pooled_covariance_is_that_of_all_places():
    maps = torch.randn(30, 4, 3, 2, generator=torch.Generator().manual_seed(2)) * torch.arange(
        1.0, 7
    ).reshape(3, 2)
    places = Places(4, (3, 2), shrinkage=0.1, pooled=1.0)
    places.begin()
    places.add(maps)
    places.finish()
    assert torch.allclose(places.whitening, places.whitening[:1].expand(6, -1, -1), rtol=1e-5)
    values = maps - maps.mean(dim=0)
    together = sum(values[:, :, y, x].T @ values[:, :, y, x] / 30 for y in range(3) for x in range(2)) / 6
    expected = 0.9 * together + 0.1 * together.trace() / 4 * torch.eye(4)
    precision = places.whitening[0].T @ places.whitening[0]
    torch.testing.assert_close(precision @ expected, torch.eye(4), rtol=1e-3, atol=1e-4)


@needs_weights
def test_a_relative_map_does_not_see_the_light():
    images = stripes(40)
    x = torch.from_numpy(stripes(4, seed=1))
    dimmed = (0.6 * x + 0.1).clamp(0, 1)
    risen = []
    for relative in (False, True):
        network = fit(images, maps=(PatchMap(scale=2, relative=relative),))
        normal, other = (network.compare(one, None, "mse").error.mean() for one in (x, dimmed))
        risen.append(other / normal)
    assert risen[1] < 0.7 * risen[0]


def test_without_any_weights_scattering_finds_a_foreign_patch_where_it_is():
    maps = (PatchMap(scale=1), PatchMap(scale=1, relative=True))
    network = fit(stripes(40), encoder="scattering", maps=maps, neighbourhood=3)
    x = torch.from_numpy(stripes(2, seed=1))
    spoiled = x.clone()
    spoiled[:, :, 32:48, 8:24] = x[:, :, 32:48, 8:24].mean(dim=3, keepdim=True)
    normal, foreign = (network.compare(one, None, "mse").error for one in (x, spoiled))
    assert (foreign.amax(dim=(1, 2, 3)) > 1.5 * normal.amax(dim=(1, 2, 3))).all()
    for error in foreign[:, 0]:
        row, column = divmod(int(error.argmax()), 64)
        assert 28 <= row <= 52
        assert 4 <= column <= 28


def test_scattering_is_built_again_with_nothing_but_what_was_measured():
    options = {"encoder": "scattering", "maps": (PatchMap(scale=2),)}
    network = fit(stripes(12), **options)
    assert not [name for name in network.state_dict() if name.startswith("encoder.")]
    again = build(PadimConfig(**options), (1, 64, 64))
    again.load_state_dict(network.state_dict())
    x = torch.from_numpy(stripes(3, seed=2))
    assert torch.equal(again.eval().compare(x, None, "mse").error, network.compare(x, None, "mse").error)


def test_with_scattering_colours_and_small_images_are_seen_alike_alone_and_together():
    images = np.random.default_rng(0).random((30, 3, 11, 8)).astype(np.float32)
    network = fit(
        images, encoder="scattering", maps=(PatchMap(zoom=2, scale=1), PatchMap(scale=1, relative=True))
    )
    x = torch.from_numpy(images[:4])
    together = network.compare(x, None, "mse").error
    assert together.shape == x.shape
    torch.testing.assert_close(
        network.compare(x[[2]], None, "mse").error, together[[2]], rtol=1e-5, atol=1e-6
    )
    assert torch.equal(network.decode(network.encode(x)), network(x).items)
