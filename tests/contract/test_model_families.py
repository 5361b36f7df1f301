"""What every family of the catalog promises. A new catalog line is tested by itself."""

from __future__ import annotations

from functools import lru_cache
from typing import get_args

import numpy as np
import pytest
import safetensors.torch
import torch

from aeflow.config import Model, SparseCode, Training, VariationalCode
from aeflow.exceptions import InputError
from aeflow.models.autoencoder import Autoencoder, check_items, flops_per_item, parameter_count
from aeflow.models.catalog import CATALOG, build
from aeflow.training.items import ImageItems, WindowItems
from aeflow.training.loop import fit_network

SHAPES = {"images": [(1, 9, 7), (3, 8, 11), (1, 28, 28)], "series": [(7, 3), (2, 1), (16, 5)]}
# Every family, and those with a choice of codes with each of them: `<family>` or `<family>-<code>`.
MODELS: dict[str, Model] = {name: family.options() for name, family in CATALOG.items()} | {
    f"{name}-{code.kind}": family.options(code=code)
    for name, family in CATALOG.items()
    if "code" in family.options.model_fields
    for code in (SparseCode(), VariationalCode(draws=3))
}


def is_plain(name):
    return name in CATALOG


def cases(*, plain, others):
    """Names of models and shapes of items: so many shapes of each kind, for plain codes and for others."""
    return [
        pytest.param(name, shape, id=f"{name}-{'x'.join(map(str, shape))}")
        for name, model in MODELS.items()
        for kind in model.kinds
        for shape in SHAPES[kind][: plain if is_plain(name) else others]
    ]


CASES = cases(plain=3, others=1)
# One odd shape of each kind where the size makes no difference.
FIRST_CASES = cases(plain=1, others=1)
PLAIN_CASES = cases(plain=1, others=0)
TRAINING = Training(epochs=1, batch_size=8, learning_rate=3e-3)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def items_of(shape, count, seed=0):
    """Items as they come in practice, images in 0..1 and windows scaled: mixtures of a few patterns."""
    random = np.random.default_rng(seed)
    size = (4, int(np.prod(shape)))
    patterns = random.random(size) if len(shape) == 3 else 2 * random.standard_normal(size)
    flat = (random.dirichlet(np.ones(4), count) @ patterns).astype(np.float32)
    if len(shape) == 3:
        return ImageItems(flat.reshape(count, *shape))
    values = flat.reshape(count * shape[0], shape[1])
    ends = np.arange(1, count + 1) * shape[0] - 1
    return WindowItems(values, np.ones(values.shape, dtype=bool), ends, shape[0])


def everything(items):
    return items.take(torch.arange(len(items)))[0]


@lru_cache
def fitted(name, shape) -> Autoencoder:
    """A network that several tests look at; none changes it."""
    return fit(name, shape)


def fit(name, shape, *, seed=0, training=TRAINING, count=24) -> Autoencoder:
    network = build(MODELS[name], shape, seed=seed)
    fit_network(
        network,
        items_of(shape, count),
        items_of(shape, count),
        training=training,
        seed=seed,
        device=torch.device("cpu"),
    )
    return network.eval()


def masks(shape, count):
    """All of it observed, and for series a part of it."""
    if len(shape) == 3:
        return [None]
    return [None, torch.rand(count, *shape, generator=torch.Generator().manual_seed(1)) < 0.7]


def test_the_catalog_holds_every_family_of_the_config():
    union = get_args(get_args(Model)[0])
    assert {family.options for family in CATALOG.values()} == set(union)
    for name, family in CATALOG.items():
        assert family.options().family == name


@pytest.mark.parametrize(("name", "shape"), FIRST_CASES)
def test_no_convolution_of_one_point_has_a_stride(name, shape):
    """oneDNN 3.12 writes the gradient of such a one past the end of its memory (its issue 6035): training
    would die of it, or learn from wrong numbers."""
    layers = [m for m in fitted(name, shape).modules() if isinstance(m, torch.nn.modules.conv._ConvNd)]
    assert not [layer for layer in layers if max(layer.kernel_size) == 1 and max(layer.stride) > 1]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_the_output_has_the_shape_of_the_input_and_is_finite(name, shape):
    network = fitted(name, shape)
    x = everything(items_of(shape, 5))
    for mask in masks(shape, 5):
        found = network(x if mask is None else x * mask, mask)
        assert found.items.shape == x.shape
        assert found.items.dtype == torch.float32
        assert found.code.shape == (5, network.code_size)
        assert found.penalty.shape == ()
        assert all(torch.isfinite(part).all() for part in found)
        assert torch.equal(network.decode(network.encode(x)), network(x).items)


@pytest.mark.parametrize(("name", "shape"), FIRST_CASES)
def test_scoring_twice_gives_the_same_bits(name, shape):
    network = fitted(name, shape)
    x = everything(items_of(shape, 5))
    for once, again in zip(*(seen(network, x, None, [slice(None)]) for _ in range(2)), strict=True):
        assert torch.equal(once, again)


@pytest.mark.parametrize(("name", "shape"), FIRST_CASES)
def test_training_with_one_seed_repeats_to_the_bit(name, shape):
    torch.manual_seed(1)
    first = fit(name, shape).state_dict()
    torch.manual_seed(2)
    second = fit(name, shape).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("name", "shape"), [c for c in FIRST_CASES if not CATALOG[MODELS[c.values[0]].family].closed_form]
)
def test_another_seed_gives_other_weights(name, shape):
    first, second = (fit(name, shape, seed=seed).state_dict() for seed in (0, 1))
    assert any(not torch.equal(first[key], second[key]) for key in first)


# Of other codes the penalty is there to forbid it.
@pytest.mark.parametrize(("name", "shape"), PLAIN_CASES)
def test_eight_items_are_learnt_to_a_quarter_of_their_variance(name, shape):
    training = Training(epochs=400, batch_size=8, learning_rate=3e-3, patience_epochs=400)
    network = fit(name, shape, training=training, count=8)
    x = everything(items_of(shape, 8))
    error = (network(x).items - x).square().mean()
    assert error < 0.25 * (x - x.mean(dim=0)).square().mean()


@pytest.mark.parametrize(("name", "shape"), FIRST_CASES)
def test_saved_and_loaded_weights_give_the_same_items_and_scores_to_the_bit(name, shape):
    network = fitted(name, shape)
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    again = build(MODELS[name], shape, seed=5)
    again.load_state_dict(safetensors.torch.load(safetensors.torch.save(state)))
    x = everything(items_of(shape, 5))
    for found, expected in zip(
        *(seen(one.eval(), x, None, [slice(None)]) for one in (again, network)), strict=True
    ):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(("name", "shape"), FIRST_CASES)
def test_wrong_items_are_refused_with_what_came(name, shape):
    network = build(MODELS[name], shape)
    x = everything(items_of(shape, 3))
    broken = x.clone()
    broken[1, 0] = torch.nan
    for wrong, message in (
        (broken, "NaN or infinite"),
        (x / 0, "NaN or infinite"),
        (x[:, :, :-1], "expected items of shape"),
        (x[0], "expected items of shape"),
        (x.double(), "expected float32 items, got torch.float64"),
    ):
        with pytest.raises(InputError, match=message):
            check_items(wrong, network.item_shape)
    check_items(x, network.item_shape)


@pytest.mark.parametrize(("name", "shape"), FIRST_CASES)
def test_training_refuses_items_of_another_shape_and_nan(name, shape):
    wider = (*shape[:-1], shape[-1] + 1)
    with pytest.raises(InputError, match="expected items of shape"):
        fit_network(
            build(MODELS[name], shape),
            items_of(wider, 3),
            items_of(wider, 3),
            training=TRAINING,
            seed=0,
            device=torch.device("cpu"),
        )
    images = np.zeros((4, *shape), dtype=np.float32)
    images[2, 0, 0] = np.nan
    broken = (
        ImageItems(images)
        if len(shape) == 3
        else WindowItems(
            images.reshape(-1, shape[1]),
            np.ones((4 * shape[0], shape[1]), dtype=bool),
            np.arange(1, 5) * shape[0] - 1,
            shape[0],
        )
    )
    with pytest.raises(InputError, match="NaN or infinite"):
        fit_network(
            build(MODELS[name], shape),
            broken,
            items_of(shape, 3),
            training=TRAINING,
            seed=0,
            device=torch.device("cpu"),
        )


@pytest.mark.parametrize("name", CATALOG)
def test_a_shape_of_the_wrong_kind_is_refused(name):
    kinds = CATALOG[name].options.kinds
    wrong = [(4,), (1, 2, 3, 4), (0, 3), (1, 0, 3)]
    wrong += [(7, 3)] * ("series" not in kinds) + [(1, 9, 7)] * ("images" not in kinds)
    for shape in wrong:
        with pytest.raises(InputError, match=f"family {name} takes"):
            build(MODELS[name], shape)


@pytest.mark.parametrize(("name", "shape"), FIRST_CASES)
@pytest.mark.filterwarnings("ignore")
def test_an_exported_program_takes_any_number_of_items(name, shape):
    network = fitted(name, shape)
    items = torch.export.Dim("items", min=1)
    for mask in masks(shape, 4) if is_plain(name) else masks(shape, 4)[-1:]:
        arguments = (everything(items_of(shape, 4)),) + ((mask,) if mask is not None else ())
        shapes = tuple({0: items} for _ in arguments)
        program = torch.export.export(network, arguments, dynamic_shapes=shapes).module()
        for count in (1, 9):
            more = tuple(a[:1].expand(count, *shape).contiguous() for a in arguments)
            torch.testing.assert_close(program(*more).items, network(*more).items, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_one_item_and_a_thousand_are_reconstructed_and_scored_alike(name, shape):
    network = fitted(name, shape)
    x = everything(items_of(shape, 1000, seed=3))
    for mask in masks(shape, 1000):
        shown = x if mask is None else x * mask
        together, scores = seen(network, shown, mask, [slice(None)])
        alone = [slice(i, i + 1) for i in range(0, 1000, 250)]
        few = [slice(i, i + 37) for i in (0, 37, 74)]
        for portions, picked in ((alone, slice(None, None, 250)), (few, slice(111))):
            found, apart = seen(network, shown, mask, portions)
            assert (found - together[picked]).abs().max() <= 1e-5 * together.abs().max()
            torch.testing.assert_close(apart, scores[picked], rtol=1e-5, atol=0)


def seen(network, x, mask, portions):
    """Of the portions of `x`, one after the other: the reconstructions, and what scores are made of, `(N,)`:
    the mean error of what was observed, and the latent statistic."""
    items, scores = [], []
    with torch.inference_mode():
        for portion in portions:
            some, observed = x[portion], None if mask is None else mask[portion]
            items.append(network(some, observed).items)
            error = network.compare(some, observed, "mse").error
            latent = network.latent_contributions(some, observed)
            scores.append((error if observed is None else error * observed).flatten(1).mean(dim=1))
            if latent is not None:
                scores[-1] = scores[-1] + latent.flatten(1).mean(dim=1)
    return torch.cat(items), torch.cat(scores)


@pytest.mark.parametrize(("name", "shape"), FIRST_CASES)
def test_latent_contributions_are_parts_of_a_whole(name, shape):
    network = fitted(name, shape)
    x = everything(items_of(shape, 24))
    parts = network.latent_contributions(x)
    if parts is None:
        return
    assert parts.shape == x.shape
    assert (parts >= 0).all()
    mean = parts.flatten(1).sum(dim=1).mean()
    assert 0.5 * network.code_size < mean < 2 * network.code_size


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_parameters_and_operations_are_counted(name, shape):
    network = build(MODELS[name], shape)
    assert parameter_count(network) > 0
    assert flops_per_item(network) > 0


@pytest.mark.parametrize(("name", "shape"), FIRST_CASES)
def test_building_leaves_the_random_numbers_of_the_caller_alone(name, shape):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    fit(name, shape)
    assert torch.equal(torch.rand(2), expected)
