"""Networks that are trained before another, items that are spoiled, and what training minimises."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aeflow.config import (
    ChannelMasking,
    CutOut,
    Dense,
    Downsampling,
    GaussianNoise,
    Lstm,
    MaskingNoise,
    SaltAndPepper,
    Stacked,
    TimeMasking,
    Training,
    VariationalCode,
)
from aeflow.models.autoencoder import Reconstruction, Stage
from aeflow.models.catalog import build
from aeflow.models.errors import mean_error
from aeflow.training.checkpoint import discard
from aeflow.training.items import ImageItems, WindowItems
from aeflow.training.loop import fit_network, learning_rate

CPU = torch.device("cpu")
TRAINING = Training(epochs=3, batch_size=16, patience_epochs=9, learning_rate=3e-3)
# So small that float32 weights do not move.
STILL = Training(epochs=4, batch_size=16, learning_rate=1e-30, weight_decay=0.0)
STACKED = Stacked(hidden=(8, 6), code_size=3, layer_epochs=2)
VARIATIONAL = Dense(code_size=4, code=VariationalCode(warm_up_epochs=2))


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def windows(seed=0, count=60):
    random = np.random.default_rng(seed)
    values = np.sin(np.arange(count + 4)[:, None] * [0.7, 0.3] + random.random(2)).astype(np.float32)
    mask = random.random(values.shape) < 0.9
    return WindowItems(values * mask, mask, np.arange(4, count + 4), 5)


def images(seed=0, count=40):
    return ImageItems(np.random.default_rng(seed).random((count, 1, 6, 7)).astype(np.float32))


def fit(model, items=windows, network=None, **given):
    train, validation = items(), items(seed=1)
    shape = tuple(train.take(torch.arange(1))[0].shape[1:])
    network = build(model, shape) if network is None else network
    given = {"training": TRAINING, "seed": 0, "device": CPU} | given
    return network, fit_network(network, train, validation, **given)


def same(first, second):
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


class KilledError(Exception):
    pass


def killed_after(told):
    """Killed when training tells of its progress for the so-many-th time, whatever stage it is in."""
    remaining = [told]

    def tell(progress):
        remaining[0] -= 1
        if remaining[0] == 0:
            raise KilledError

    return tell


@pytest.mark.parametrize("told", range(1, 10))
def test_a_run_killed_in_any_stage_ends_in_the_same_bits_and_repeats_no_epoch(told, tmp_path):
    """Three stages of two epochs each, then three of the whole."""
    path = tmp_path / "checkpoint"
    whole, expected = fit(STACKED)
    with pytest.raises(KilledError):
        fit(STACKED, checkpoint=path, progress=killed_after(told))
    epochs = []
    resumed, found = fit(STACKED, checkpoint=path, progress=epochs.append)
    assert len(epochs) == 9 - told
    assert same(whole, resumed)
    assert [r.validation_loss for r in found.history] == [r.validation_loss for r in expected.history]
    discard(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other",
    [
        {"fingerprint": "other data"},
        {"seed": 1},
        {"model": STACKED.model_copy(update={"activation": "tanh"})},
        {"model": STACKED.model_copy(update={"layer_epochs": 3})},
        {"training": TRAINING.model_copy(update={"loss": "mae"})},
    ],
    ids=["data", "seed", "options", "epochs", "training"],
)
def test_no_stage_goes_on_from_a_checkpoint_of_anything_else(other, tmp_path):
    """Not even the later ones, whose own weights and epochs are the same."""
    path = tmp_path / "checkpoint"
    fit(STACKED, checkpoint=path)
    other = {"model": STACKED} | other
    expected, _ = fit(**other)
    found, _ = fit(**other, checkpoint=path)
    assert same(expected, found)


def test_a_damaged_checkpoint_of_a_stage_costs_that_stage_alone(tmp_path):
    path = tmp_path / "checkpoint"
    whole, _ = fit(STACKED, checkpoint=path)
    (tmp_path / "checkpoint.layer2").write_bytes(b"no checkpoint at all")
    epochs = []
    again, _ = fit(STACKED, checkpoint=path, progress=epochs.append)
    assert len(epochs) == 2
    assert same(whole, again)


def recorded(shape):
    """A network, and what it is shown in training."""
    network = build(Dense(code_size=2), shape)
    shown = []

    def keep(module, arguments):
        if module.training:
            shown.append(arguments[0].detach().clone())

    network.register_forward_pre_hook(keep)
    return network, shown


def with_stage(**changes):
    """A network with a stage before it, which sees windows as rows of numbers; and what that is shown."""
    whole, _ = recorded((5, 2))
    inner, shown = recorded((1, 1, 10))
    inner.item_shape = (10,)
    stage = Stage("inner", inner, 1, view=lambda x, _: (x.flatten(1), None), **changes)
    whole.stages = lambda: (stage,)
    return whole, shown


def test_items_of_another_shape_are_spoiled_value_by_value_alone():
    """A hidden layer has no channels or points to hide."""
    hiding = (ChannelMasking(share=1.0), TimeMasking(share=1.0), Downsampling(factor=3))
    whole, shown = with_stage()
    fit(None, network=whole, training=TRAINING.model_copy(update={"corruption": hiding}))
    clean, seen = with_stage()
    fit(None, network=clean)
    assert torch.equal(shown[0], seen[0])
    noisy, spoiled = with_stage()
    noise = (*hiding, GaussianNoise(deviation=0.5))
    fit(None, network=noisy, training=TRAINING.model_copy(update={"corruption": noise}))
    assert (spoiled[0] - seen[0]).std() == pytest.approx(0.5, rel=0.2)


def test_a_stage_may_have_a_corruption_of_its_own():
    whole, shown = with_stage(corruption=(MaskingNoise(share=1.0),))
    fit(None, network=whole)
    assert all((one == 0).all() for one in shown)


def test_a_stage_without_a_loss_of_its_own_has_that_of_the_whole():
    losses = {}
    for loss in (None, "mse"):
        for whole_loss in ("mse", "mae"):
            whole, _ = with_stage(loss=loss)
            fit(None, network=whole, training=TRAINING.model_copy(update={"loss": whole_loss}))
            (stage,) = whole.stages()
            losses[loss, whole_loss] = stage.network
    assert same(losses["mse", "mse"], losses["mse", "mae"])
    assert same(losses[None, "mse"], losses["mse", "mse"])
    assert not same(losses[None, "mae"], losses["mse", "mae"])


NOTHING = [
    (GaussianNoise(deviation=0.0), "both"),
    (SaltAndPepper(share=0.0), "both"),
    (MaskingNoise(share=0.0), "both"),
    (Downsampling(factor=1), "both"),
    (ChannelMasking(share=0.0), "series"),
    (TimeMasking(share=0.0), "series"),
    (CutOut(count=0), "images"),
]


@pytest.mark.parametrize("model", [Dense(code_size=4), VARIATIONAL], ids=["plain", "variational"])
@pytest.mark.parametrize(("corruption", "kind"), NOTHING, ids=lambda given: getattr(given, "kind", ""))
def test_no_corruption_at_all_and_one_that_spoils_nothing_end_in_the_same_bits(corruption, kind, model):
    for items in {"both": (windows, images), "series": (windows,), "images": (images,)}[kind]:
        clean, expected = fit(model, items)
        spoiled, found = fit(
            model, items, training=TRAINING.model_copy(update={"corruption": (corruption, corruption)})
        )
        assert same(clean, spoiled)
        assert [r.validation_loss for r in found.history] == [r.validation_loss for r in expected.history]


@pytest.mark.real_data
@pytest.mark.parametrize("model", [Dense(code_size=4), VARIATIONAL], ids=["plain", "variational"])
def test_no_corruption_of_handwritten_digits_and_one_that_spoils_nothing_end_in_the_same_bits(
    model, handwritten_digits
):
    def digits(seed=0):
        return ImageItems(handwritten_digits[200 * seed :][:200])

    clean, _ = fit(model, digits)
    for corruption, kind in NOTHING:
        if kind != "series":
            training = TRAINING.model_copy(update={"corruption": (corruption,)})
            assert same(clean, fit(model, digits, training=training)[0])


@pytest.mark.parametrize("model", [Dense(code_size=4), VARIATIONAL], ids=["plain", "variational"])
def test_validation_items_are_spoiled_alike_in_every_epoch(model):
    training = STILL.model_copy(update={"corruption": (GaussianNoise(deviation=0.5), MaskingNoise())})
    _, spoiled = fit(model, training=training)
    _, clean = fit(model, training=STILL)
    losses = {r.validation_loss for r in spoiled.history}
    assert len(spoiled.history) == 4
    assert len(losses) == 1
    assert losses != {r.validation_loss for r in clean.history}
    assert len({r.train_loss for r in spoiled.history}) == 4


def test_training_items_are_spoiled_anew_in_every_epoch_and_the_loss_is_against_the_clean_ones():
    network, shown = recorded((5, 2))
    training = STILL.model_copy(update={"corruption": (MaskingNoise(share=1.0),)})
    _, found = fit(None, network=network, training=training)
    assert all((one == 0).all() for one in shown)
    x, observed = windows().take(torch.arange(60))
    with torch.inference_mode():
        expected = mean_error("mse", network.eval()(torch.zeros_like(x), observed).items, x, observed)
    assert found.history[0].train_loss == pytest.approx(float(expected), rel=1e-4)
    network, shown = recorded((5, 2))
    fit(None, network=network, training=training.model_copy(update={"corruption": (MaskingNoise(),)}))
    sets = {tuple(sorted((one == 0).sum().item() for one in shown[i : i + 4])) for i in range(0, 16, 4)}
    assert len(sets) > 1


def test_what_is_told_of_an_objective_is_the_error_raised_by_the_penalty():
    network = build(Lstm(hidden_size=4, code_size=2), (5, 2))
    weight = torch.tensor([0.3, 1.2], requires_grad=True)
    error, penalty = weight[0].square(), weight[1].square()
    told = network.objective(Reconstruction(torch.empty(0), torch.empty(0), penalty), error)
    assert told.item() == pytest.approx(0.3**2 * np.exp(1.2**2), rel=1e-6)
    told.backward()
    # That of log error + penalty, times the error.
    torch.testing.assert_close(weight.grad, torch.tensor([2 * 0.3, 0.3**2 * 2 * 1.2]))


def test_without_a_penalty_the_objective_is_the_error_to_the_bit():
    network = build(Lstm(hidden_size=4, code_size=2), (5, 2))
    for error in torch.rand(100):
        told = network.objective(Reconstruction(error, error, torch.zeros(())), error)
        assert torch.equal(told, error)


def test_an_objective_with_a_huge_penalty_is_told_as_a_finite_number():
    network = build(Lstm(hidden_size=4, code_size=2), (5, 2))
    found = Reconstruction(torch.empty(0), torch.empty(0), torch.tensor(1e6))
    assert torch.isfinite(network.objective(found, torch.tensor(3.0)))


def test_patience_is_spent_from_the_end_of_the_warm_up():
    """Until then the code is free to leave the normal distribution, which the full objective resents."""
    training = STILL.model_copy(update={"epochs": 20, "patience_epochs": 2})
    patient = Dense(code_size=4, code=VariationalCode(warm_up_epochs=7))
    assert len(fit(patient, training=training)[1].history) == 9
    assert len(fit(VARIATIONAL, training=training)[1].history) == 4
    assert len(fit(Dense(code_size=4), training=training)[1].history) == 3


def test_a_constant_step_size_stays_and_a_cosine_falls_to_nothing():
    constant = Training(epochs=50, learning_rate=0.1)
    falling = Training(epochs=50, learning_rate=0.1, schedule="cosine")
    assert {learning_rate(constant, epoch) for epoch in range(1, 51)} == {0.1}
    rates = [learning_rate(falling, epoch) for epoch in range(1, 51)]
    assert rates[0] == 0.1
    assert rates[25] == pytest.approx(0.05)
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.001


@pytest.mark.parametrize("told", [1, 2])
def test_a_killed_run_goes_on_at_the_step_size_of_its_epoch(told, tmp_path):
    training = TRAINING.model_copy(update={"schedule": "cosine"})
    whole, _ = fit(VARIATIONAL, training=training)
    with pytest.raises(KilledError):
        fit(VARIATIONAL, training=training, checkpoint=tmp_path / "c", progress=killed_after(told))
    assert same(whole, fit(VARIATIONAL, training=training, checkpoint=tmp_path / "c")[0])
    assert not same(whole, fit(VARIATIONAL)[0])
