"""What the options of the LSTM autoencoder do; what every family promises is in tests/contract."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from aeflow.config import Lstm, SparseCode, Training, VariationalCode
from aeflow.exceptions import InputError
from aeflow.models.autoencoder import flops_per_item, parameter_count
from aeflow.models.catalog import build
from aeflow.training.items import WindowItems
from aeflow.training.loop import fit_network

CPU = torch.device("cpu")
CODES = {"plain": {}, "sparse": {"code": SparseCode()}, "variational": {"code": VariationalCode(draws=3)}}
SMALL = {"hidden_size": 6, "code_size": 4}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def windows(count, points, channels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, points, channels, generator=generator)


def as_items(x):
    count, points, channels = x.shape
    flat = x.reshape(-1, channels).numpy().astype(np.float32)
    return WindowItems(flat, np.ones(flat.shape, dtype=bool), np.arange(1, count + 1) * points - 1, points)


def trained(network, x, epochs=3):
    fit_network(
        network,
        as_items(x),
        as_items(x[:5]),
        training=Training(epochs=epochs, batch_size=8, learning_rate=1e-2),
        seed=0,
        device=CPU,
    )
    return network.eval()


def test_without_options_it_is_an_lstm_to_a_code_and_one_back_drawn_in_that_order():
    network = build(Lstm(), (6, 2), seed=4)
    torch.manual_seed(4)
    encoder = nn.LSTM(4, 64, batch_first=True)
    code, decoder, to_window = nn.Linear(64, 16), nn.LSTM(16, 64, batch_first=True), nn.Linear(64, 2)
    x = windows(5, 6, 2)
    _, (hidden, _) = encoder(torch.cat([x, torch.ones_like(x)], dim=2))
    steps, _ = decoder(code(hidden[-1])[:, None].expand(-1, 6, -1))
    assert torch.equal(network(x).items, to_window(steps).flip(1))


def test_the_reversed_target_is_the_forward_one_read_backwards():
    x = windows(4, 6, 2)
    backward, forward = (
        build(Lstm(target=target), (6, 2), seed=1)(x).items for target in ("reversed", "forward")
    )
    assert torch.equal(backward, forward.flip(1))


def test_the_mask_is_an_input():
    network = build(Lstm(), (6, 2))
    x = torch.zeros(1, 6, 2)
    seen = torch.ones_like(x, dtype=torch.bool)
    assert torch.equal(network.encode(x), network.encode(x, seen))
    assert not torch.equal(network.encode(x, seen), network.encode(x, ~seen))


def test_several_layers_have_the_weights_of_each():
    one, three = (parameter_count(build(Lstm(layers=n), (6, 2))) for n in (1, 3))
    assert three > 2 * one


def test_a_bidirectional_encoder_reads_the_window_backwards_too():
    network = build(Lstm(bidirectional=True), (6, 2))
    x = windows(1, 6, 2)
    forward, backward = network.features(x).chunk(2, dim=1)
    assert forward.shape == backward.shape == (1, 64)
    # The state of the way back ends at the first point, and by the same weights is that of the way there.
    for name, value in list(network.encoder.named_parameters()):
        if name.endswith("_reverse"):
            value.data = network.encoder.get_parameter(name.removesuffix("_reverse")).data
    torch.testing.assert_close(network.features(x.flip(1))[:, 64:], forward)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_conditional_decoder_is_fed_what_it_wrote_in_the_step_before(layers):
    network = build(Lstm(decoder="conditional", layers=layers, target="forward", **SMALL), (5, 2))
    code = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    cells = []
    for weights in network.decoder.all_weights:
        cells.append(nn.LSTMCell(weights[0].shape[1], 6))
        for own, value in zip(cells[-1].parameters(), weights, strict=True):
            own.data = value.data
    states = [(torch.zeros(3, 6), torch.zeros(3, 6)) for _ in cells]
    # Before the first step stands what the empty state says.
    written, expected = network.to_window(torch.zeros(3, 6)), []
    for _ in range(5):
        seen = torch.cat([code, written], dim=1)
        for layer, cell in enumerate(cells):
            states[layer] = cell(seen, states[layer])
            seen = states[layer][0]
        written = network.to_window(seen)
        expected.append(written)
    torch.testing.assert_close(network.decode(code), torch.stack(expected, dim=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layers", [1, 2])
def test_every_weight_of_a_conditional_decoder_is_trained(layers):
    network = build(Lstm(decoder="conditional", layers=layers, **SMALL), (5, 2))
    network(windows(4, 5, 2)).items.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_a_prediction_sees_nothing_of_what_it_foretells():
    network = build(Lstm(task="prediction", predict_points=2, **SMALL), (7, 3))
    x = windows(4, 7, 3)
    other = x.clone()
    other[:, -2:] += 1
    assert torch.equal(network.views(x)[0, :, -2:], network.views(other)[0, :, -2:])
    other[:, -3] += 1
    assert not torch.equal(network.views(x)[0, :, -2:], network.views(other)[0, :, -2:])


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_a_prediction_gives_back_what_it_read_and_no_error_there(code):
    network = build(Lstm(task="prediction", predict_points=2, **SMALL, **code), (7, 3)).eval()
    x = windows(4, 7, 3)
    views = network.views(x)
    assert torch.equal(views[:, :, :-2], x[:, :-2].expand(len(views), -1, -1, -1))
    found = network.compare(x, None, "mse").error
    assert (found[:, :-2] == 0).all()
    assert (found[:, -2:] > 0).all()
    assert (network(x).items[:, :-2] == 0).all()


def test_only_foretold_points_count_in_the_training_of_a_prediction():
    network = build(Lstm(task="prediction", predict_points=2), (7, 3))
    assert network.loss_weight.flatten().tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert "loss_weight" not in network.state_dict()
    assert network.to("meta").loss_weight.device.type == "meta"


def test_a_prediction_learns_to_foretell():
    phases = 2 * torch.pi * torch.rand(64, 1, 1, generator=torch.Generator().manual_seed(0))
    x = (phases + torch.arange(12.0)[None, :, None] / 2).sin()
    network = trained(build(Lstm(task="prediction", predict_points=3, code_size=4), (12, 1)), x, epochs=30)
    error = network.compare(x, None, "mse").error[:, -3:]
    assert error.mean() < 0.1 * x[:, -3:].var()


def test_the_predicted_points_of_a_composite_weigh_what_is_asked():
    network = build(Lstm(task="composite", predict_points=3, prediction_weight=0.5), (7, 2))
    assert network.loss_weight.flatten().tolist() == [1, 1, 1, 1, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
@pytest.mark.parametrize("ahead", [2, 5])
def test_the_views_of_a_composite_end_in_a_prediction_and_in_a_reconstruction(code, ahead):
    network = build(Lstm(task="composite", predict_points=ahead, **SMALL, **code), (7, 3)).eval()
    x = windows(4, 7, 3)
    foretold, given_back = network.views(x).chunk(2)
    draws = len(network.bottleneck.draws(network.features(x)))
    assert foretold.shape == given_back.shape == (draws, 4, 7, 3)
    other = x.clone()
    other[:, -1] += 1
    again = network.views(other).chunk(2)
    assert torch.equal(foretold, again[0])
    assert not torch.equal(given_back[:, :, -1], again[1][:, :, -1])
    # What is given back of the last points is what would be given back of them as the first ones.
    moved = torch.cat([x[:, ahead:], windows(4, ahead, 3, seed=5)], dim=1)
    torch.testing.assert_close(
        given_back[:, :, ahead:], network.views(moved)[: len(given_back), :, : 7 - ahead]
    )
    assert torch.equal(given_back[:, :, :ahead], foretold[:, :, :ahead])


def test_the_error_of_a_composite_is_the_mean_of_both_errors():
    network = build(Lstm(task="composite", predict_points=2, **SMALL), (7, 1)).eval()
    x = windows(3, 7, 1)
    foretold, given_back = network.views(x)
    error = network.compare(x, None, "mse").error
    torch.testing.assert_close(error, ((foretold - x) ** 2 + (given_back - x) ** 2) / 2)


def test_the_divergence_of_a_composite_is_the_mean_of_both_codes():
    code = VariationalCode(score="elbo")
    composite = build(Lstm(task="composite", predict_points=2, code=code, **SMALL), (7, 2)).eval()
    x = windows(4, 7, 2)
    parts = composite.latent_contributions(x)
    bottleneck = composite.bottleneck
    both = [bottleneck.divergence(composite.features(part)) for part in (x[:, :-2], x[:, 2:])]
    torch.testing.assert_close(parts.flatten(1).sum(dim=1), (both[0] + both[1]) / 2)


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
@pytest.mark.parametrize(
    "options", [{}, {"target": "forward"}, {"decoder": "conditional", "bidirectional": True}, {"layers": 2}]
)
def test_a_composite_whose_predictions_weigh_nothing_learns_the_reconstruction(code, options):
    # The mean over what counts is summed in another order. The gradient of an L1 penalty is a sign, which
    # the last bit decides where a number of the code is about 0: how the memory lies changes it from run to run.
    tolerance = 1e-2 if code == CODES["sparse"] else 1e-6
    assert_composite_learns_the_reconstruction({**options, **code}, windows(40, 9, 2), tolerance)


@pytest.mark.real_data
def test_a_composite_whose_predictions_weigh_nothing_learns_the_reconstruction_of_heartbeats(heartbeats):
    # Each beat by every seventh of its values.
    assert_composite_learns_the_reconstruction({}, torch.from_numpy(heartbeats[:120, ::7]), tolerance=1e-5)


def assert_composite_learns_the_reconstruction(options, x, tolerance, ahead=3):
    read, channels = x.shape[1] - ahead, x.shape[2]
    whole = build(
        Lstm(task="composite", predict_points=ahead, prediction_weight=0, **SMALL, **options),
        (read + ahead, channels),
        seed=3,
    )
    alone = build(Lstm(**SMALL, **options), (read, channels), seed=3)
    trained(whole, x)
    trained(alone, x[:, :read])
    views = alone.views(x[:, :read])
    near = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(whole.views(x)[: len(views), :, :read], views, **near)
    weights = whole.state_dict()
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(weights[name], value, **near)


@pytest.mark.parametrize("task", ["prediction", "composite"])
def test_windows_too_short_for_what_is_to_be_foretold_are_refused(task):
    with pytest.raises(
        InputError, match=f"windows of 4 points leave none to read before the last 4, .*{task}"
    ):
        build(Lstm(task=task, predict_points=4), (4, 1))
    assert build(Lstm(task=task, predict_points=3), (4, 1))(windows(2, 4, 1)).items.shape == (2, 4, 1)
    assert build(Lstm(predict_points=4), (4, 1))(windows(2, 4, 1)).items.shape == (2, 4, 1)


@pytest.mark.parametrize(
    ("task", "decoder", "layers"),
    [
        ("reconstruction", "conditional", 2),
        ("prediction", "conditional", 1),
        ("composite", "unconditional", 1),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tasks_and_decoders_export_scale_and_are_counted(task, decoder, layers):
    model = Lstm(task=task, decoder=decoder, layers=layers, bidirectional=layers == 2, **SMALL)
    network = build(model, (5, 2)).eval()
    x, mask = windows(40, 5, 2), windows(40, 5, 2, seed=1) > 0
    items = torch.export.Dim("items", min=1)
    program = torch.export.export(network, (x, mask), dynamic_shapes=({0: items}, {0: items})).module()
    for count in (1, 9):
        some = x[:count], mask[:count]
        torch.testing.assert_close(program(*some).items, network(*some).items, rtol=1e-5, atol=1e-6)
    views = network.views(x, mask)
    alone = torch.cat([network.views(x[i : i + 1], mask[i : i + 1]) for i in range(40)], dim=1)
    torch.testing.assert_close(alone, views, rtol=1e-5, atol=1e-6)
    assert flops_per_item(network) > 0
