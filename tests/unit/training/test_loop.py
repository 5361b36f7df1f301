from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from aeflow.config import Conv2d, Lstm, Pca, Training
from aeflow.exceptions import InputError, StorageError
from aeflow.models.catalog import build
from aeflow.models.errors import mean_error
from aeflow.training.checkpoint import discard
from aeflow.training.devices import bfloat16_ok
from aeflow.training.items import ImageItems, WindowItems
from aeflow.training.loop import fit_network

CPU = torch.device("cpu")
SMALL = Lstm(hidden_size=6, code_size=3)
TRAINING = Training(epochs=4, batch_size=16, patience_epochs=9, learning_rate=3e-3)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def windows(count, seed=0, observed=0.9):
    random = np.random.default_rng(seed)
    values = np.sin(np.arange(count + 5)[:, None] * [0.7, 0.3] + random.random(2)).astype(np.float32)
    mask = random.random(values.shape) < observed
    return WindowItems(values * mask, mask, np.arange(4, count + 4), 5)


def dropping(network):
    """The same network with noise in its code, which draws random numbers while it trains."""
    network.bottleneck.linear = nn.Sequential(network.bottleneck.linear, nn.Dropout(0.2))
    return network


def fit(network=None, **changes):
    network = network if network is not None else build(SMALL, (5, 2))
    given = {"training": TRAINING, "seed": 0, "device": CPU} | changes
    train, validation = given.pop("train", windows(60)), given.pop("validation", windows(30, seed=1))
    return network, fit_network(network, train, validation, **given)


def same(first, second):
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


class KilledError(Exception):
    pass


def killed_after(epoch):
    def tell(progress):
        if progress.epoch == epoch:
            raise KilledError

    return tell


@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "precision",
    [
        "float32",
        pytest.param(
            "bfloat16",
            marks=pytest.mark.skipif(not bfloat16_ok(CPU), reason="this CPU has no bfloat16"),
        ),
    ],
)
def test_a_run_killed_after_any_epoch_ends_in_the_same_bits(epoch, precision, tmp_path):
    training = TRAINING.model_copy(update={"precision": precision})
    path = tmp_path / "deep" / "checkpoint"
    whole, expected = fit(dropping(build(SMALL, (5, 2))), training=training)
    with pytest.raises(KilledError):
        fit(
            dropping(build(SMALL, (5, 2))),
            training=training,
            checkpoint=path,
            progress=killed_after(epoch),
        )
    resumed, found = fit(dropping(build(SMALL, (5, 2))), training=training, checkpoint=path)
    assert same(whole, resumed)
    assert [(r.epoch, r.train_loss, r.validation_loss) for r in found.history] == [
        (r.epoch, r.train_loss, r.validation_loss) for r in expected.history
    ]
    assert (found.best_epoch, found.stopped_early) == (expected.best_epoch, expected.stopped_early)


def test_an_image_network_goes_on_to_the_same_bits(tmp_path):
    images = ImageItems(np.random.default_rng(0).random((40, 3, 9, 8)).astype(np.float32))

    def run(**more):
        network = build(Conv2d(width=8, levels=2, code_size=4), (3, 9, 8))
        return fit(network, train=images, validation=images, **more)[0]

    with pytest.raises(KilledError):
        run(checkpoint=tmp_path / "c", progress=killed_after(2))
    assert same(run(), run(checkpoint=tmp_path / "c"))


def test_going_on_does_not_repeat_epochs(tmp_path):
    with pytest.raises(KilledError):
        fit(checkpoint=tmp_path / "c", progress=killed_after(3))
    seen = []
    fit(checkpoint=tmp_path / "c", progress=lambda p: seen.append((p.epoch, p.epochs)))
    assert seen == [(4, 4)]


@pytest.mark.parametrize(
    "other",
    [
        {"fingerprint": "other data"},
        {"seed": 1},
        {"training": TRAINING.model_copy(update={"learning_rate": 1e-4})},
        {"network": build(SMALL, (5, 2), seed=1)},
        {"network": build(SMALL.model_copy(update={"target": "forward"}), (5, 2))},
        {"network": build(SMALL.model_copy(update={"code_size": 4}), (5, 2))},
    ],
    ids=["data", "seed", "training", "weights", "options", "sizes"],
)
def test_a_checkpoint_of_anything_else_is_ignored(other, tmp_path):
    with pytest.raises(KilledError):
        fit(checkpoint=tmp_path / "c", progress=killed_after(2))
    seen = []
    fit(checkpoint=tmp_path / "c", progress=lambda p: seen.append(p.epoch), **other)
    assert seen[0] == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_checkpoint_is_told_and_the_run_begins_anew(damage, tmp_path, caplog):
    path = tmp_path / "c"
    with pytest.raises(KilledError):
        fit(checkpoint=path, progress=killed_after(1))
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-100], "empty": b"", "other": b"no checkpoint at all"}[damage])
    seen = []
    again, _ = fit(checkpoint=path, progress=lambda p: seen.append(p.epoch))
    assert seen[0] == 1
    assert same(again, fit()[0])
    assert "the checkpoint is damaged" in caplog.text


def test_a_checkpoint_that_cannot_be_written_is_told_with_its_place(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="checkpoint cannot be written"):
        fit(checkpoint=tmp_path / "file" / "c")


def test_a_discarded_checkpoint_leaves_nothing(tmp_path):
    path = tmp_path / "c"
    fit(checkpoint=path)
    assert path.is_file()
    discard(path)
    assert list(tmp_path.iterdir()) == []
    discard(path)


def test_one_seed_repeats_and_another_does_not():
    assert same(fit()[0], fit()[0])
    assert not same(fit()[0], fit(seed=1)[0])


def test_the_random_numbers_of_the_caller_are_not_touched():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(dropping(build(SMALL, (5, 2))))
    assert torch.equal(torch.rand(3), expected)


def test_training_stops_when_patience_is_spent_and_keeps_the_best_weights():
    training = Training(epochs=40, batch_size=16, patience_epochs=2, learning_rate=0.3)
    network, found = fit(training=training)
    losses = [r.validation_loss for r in found.history]
    assert found.stopped_early
    assert len(losses) == found.best_epoch + 2
    assert found.best_epoch == int(np.argmin(losses)) + 1
    again = validation_loss(network, windows(30, seed=1))
    assert again == pytest.approx(min(losses), rel=1e-5)


def validation_loss(network, items):
    x, observed = items.take(torch.arange(len(items)))
    with torch.inference_mode():
        return float(mean_error("mse", network.eval()(x, observed).items, x, observed))


def test_the_loss_falls_and_the_result_says_how_it_went():
    _, found = fit()
    assert found.history[-1].train_loss < found.history[0].train_loss
    assert [r.epoch for r in found.history] == [1, 2, 3, 4]
    assert found.samples_per_second > 0
    assert (found.device, found.precision) == ("cpu", "float32")


def test_at_most_max_train_windows_are_drawn_in_an_epoch():
    class Counted(WindowItems):
        drawn = 0

        def take(self, numbers):
            Counted.drawn += len(numbers)
            return super().take(numbers)

    mask = np.ones((70, 2), dtype=bool)
    items = Counted(mask.astype(np.float32), mask, np.arange(4, 70), 5)
    training = TRAINING.model_copy(update={"max_train_windows": 20})
    fit(train=items, training=training)
    assert Counted.drawn == 1 + 4 * 20


def test_what_was_not_observed_does_not_count():
    error = torch.tensor([[1.0, 100.0], [3.0, 100.0]])
    seen = torch.tensor([[True, False], [True, False]])
    zero = torch.zeros_like(error)
    assert mean_error("mse", error, zero, seen) == pytest.approx(5.0)
    assert mean_error("mse", error, zero, ~seen & False) == 0
    assert mean_error("mse", error, zero) == pytest.approx((1 + 9 + 20000) / 4)


def test_a_loss_that_is_no_longer_finite_is_told_with_its_epoch():
    class Diverging(nn.Module):
        def forward(self, code):
            return code * torch.inf

    network = build(SMALL, (5, 2))
    network.bottleneck.linear = nn.Sequential(network.bottleneck.linear, Diverging())
    with pytest.raises(InputError, match=r"no longer finite in epoch 1.*\n.*smaller training.learning_rate"):
        fit(network)


def test_nan_items_are_named_rather_than_the_learning_rate():
    broken = windows(60)
    broken._values[30] = torch.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        fit(train=broken)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_part_without_items_is_refused(part):
    with pytest.raises(InputError, match=f"the {part} part holds no items"):
        fit(**{part: windows(0)})


def test_a_closed_form_has_no_epochs():
    network, found = fit(build(Pca(), (5, 2)), checkpoint=None)
    assert (found.history, found.best_epoch, found.stopped_early) == ((), 0, False)
    assert network.variance[0] > 0
    assert replace(found, precision="x").precision == "x"
