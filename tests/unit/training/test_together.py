"""Networks that are trained side by side come out as each of them alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aeflow.config import Training
from aeflow.config.models import Conv1d, Dense
from aeflow.exceptions import InputError
from aeflow.models.catalog import build
from aeflow.training.items import WindowItems
from aeflow.training.loop import fit_network
from aeflow.training.together import can_train_together, fit_together

CPU = torch.device("cpu")
WINDOW, CHANNELS, SEED = 8, 3, 4
MODEL = Dense(hidden=(16,), code_size=3)
# Of one length, of another, of less than a batch; the second stops long before the others.
LENGTHS = (300, 90, 300, 45, 233)


def series(number, *, gaps):
    generator = np.random.default_rng(number)
    length = LENGTHS[number]
    wave = np.sin(np.arange(length)[:, np.newaxis] / (3 + number) + np.arange(CHANNELS))
    noise = 3.0 if number == 1 else 0.1
    values = (wave + generator.normal(0, noise, wave.shape)).astype(np.float32)
    observed = np.ones(values.shape, dtype=bool)
    if gaps:
        observed[10 + number :: 17] = False
    values[~observed] = 0
    ends = np.arange(WINDOW - 1, length)
    cut = int(0.8 * len(ends))
    return tuple(WindowItems(values, observed, part, WINDOW) for part in (ends[:cut], ends[cut:]))


def networks():
    return [build(MODEL, (WINDOW, CHANNELS), seed=SEED) for _ in LENGTHS]


def alone_and_together(training, *, gaps=()):
    parts = [series(number, gaps=number in gaps) for number in range(len(LENGTHS))]
    alone, together = networks(), networks()
    one = [
        fit_network(network, train, validation, training=training, seed=SEED, device=CPU)
        for network, (train, validation) in zip(alone, parts, strict=True)
    ]
    assert can_train_together(together, training, CPU)
    other = fit_together(together, *zip(*parts, strict=True), training=training, seed=SEED)
    return (alone, one), (together, other)


@pytest.mark.parametrize("gaps", [(), (0, 3), tuple(range(len(LENGTHS)))], ids=["none", "some", "all"])
@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_each_network_ends_as_it_would_alone(gaps, loss):
    training = Training(
        epochs=12, batch_size=32, learning_rate=0.01, patience_epochs=2, schedule="cosine", loss=loss
    )
    (alone, one), (together, other) = alone_and_together(training, gaps=gaps)
    for mine, theirs in zip(together, alone, strict=True):
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[name], value, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(other, one, strict=True):
        assert (mine.best_epoch, mine.stopped_early) == (theirs.best_epoch, theirs.stopped_early)
        for this, that in zip(mine.history, theirs.history, strict=True):
            assert this.train_loss == pytest.approx(that.train_loss, rel=1e-5)
            assert this.validation_loss == pytest.approx(that.validation_loss, rel=1e-5)
    assert len({len(result.history) for result in other}) > 1


def test_at_most_so_many_windows_are_drawn_in_an_epoch():
    training = Training(epochs=3, batch_size=32, max_train_windows=50)
    (alone, _), (together, _) = alone_and_together(training)
    for mine, theirs in zip(together, alone, strict=True):
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[name], value, rtol=1e-5, atol=1e-5)


def test_what_rounds_or_draws_otherwise_side_by_side_is_trained_one_by_one():
    training = Training()
    two = networks()[:2]
    assert can_train_together(two, training, CPU)
    assert not can_train_together(two[:1], training, CPU)
    assert not can_train_together(two, training, torch.device("meta"))
    spoiled = Training(corruption=({"kind": "masking_noise", "share": 0.2},))
    assert not can_train_together(two, spoiled, CPU)
    for model in (Conv1d(), Dense(code={"kind": "variational"})):
        assert not can_train_together([build(model, (WINDOW, CHANNELS), seed=0)] * 2, training, CPU)


def test_a_loss_that_is_no_number_is_refused_as_of_one_network():
    parts = [series(number, gaps=False) for number in range(len(LENGTHS))]
    training = Training(epochs=5, learning_rate=1e30)
    with pytest.raises(InputError, match="no longer finite in epoch"):
        fit_together(networks(), *zip(*parts, strict=True), training=training, seed=SEED)
