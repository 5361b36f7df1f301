"""LSTM autoencoder for series windows: it gives them back, foretells their end, or both.

The encoder reads values and mask. A decoder writes from the code alone (unconditional), or is also fed
what it wrote in the step before (conditional); in training too, so that it is trained as it scores. The
window is given back, by default, from the last point to the first: what was read last is easiest to say
first. What is foretold is written forward.

Srivastava, Mansimov and Salakhutdinov, "Unsupervised learning of video representations using LSTMs",
2015 (conditional and composite); Malhotra et al., "Long short term memory networks for anomaly detection
in time series", 2015 (prediction), and "LSTM-based encoder-decoder for multi-sensor anomaly detection",
2016 (reconstruction).

Legend: N items, T points, P of them foretold, C channels, D numbers of a code, K draws, G layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aeflow.exceptions import InputError
from aeflow.models.autoencoder import Trained
from aeflow.models.bottleneck import make_bottleneck
from aeflow.models.series_input import values_and_mask

if TYPE_CHECKING:
    from aeflow.config import Lstm as LstmConfig


class LstmAutoencoder(Trained):
    """An LSTM to a code, and LSTMs with a linear layer from there.

    Where the end is foretold, the encoder reads the first T - P points. Before the last P, `decode` gives
    for task composite what it gives back of them; for task prediction 0: nothing is written there, and
    nothing counts in training. `views` holds there what was read.
    """

    def __init__(self, config: LstmConfig, item_shape: tuple[int, ...]) -> None:
        """Of windows `(T, C)`.

        Raises:
            InputError: no point is left to read before those to foretell.
        """
        super().__init__()
        self.item_shape = tuple(item_shape)
        self.code_size = config.code_size
        points, channels = item_shape
        self._gives_back = config.task != "prediction"
        self._ahead = config.points_ahead
        self._read = points - self._ahead
        if self._read < 1:
            raise InputError(
                f"windows of {points} points leave none to read before the last {self._ahead}, which "
                f"model.task {config.task} foretells",
                remedy="Give a larger prepare.window_points or a smaller model.predict_points.",
            )
        self._reversed = config.target == "reversed"
        if config.task == "composite":
            self.view_kinds = 2
        weight = torch.ones(points, 1)
        if self._ahead:
            weight[: self._read] = float(self._gives_back)
            weight[self._read :] = config.prediction_weight if self._gives_back else 1.0
            self.register_buffer("loss_weight", weight, persistent=False)
        counted = max(1, round(weight.sum().item()))
        directions = 2 if config.bidirectional else 1
        fed = channels if config.decoder == "conditional" else 0

        def decoder() -> tuple[nn.LSTM, nn.Linear]:
            lstm = nn.LSTM(config.code_size + fed, config.hidden_size, config.layers, batch_first=True)
            return lstm, nn.Linear(config.hidden_size, channels)

        self._directions = directions
        # In this order: the first three draw the weights of a reconstruction alone, whatever follows.
        self.encoder = nn.LSTM(
            2 * channels,
            config.hidden_size,
            config.layers,
            batch_first=True,
            bidirectional=config.bidirectional,
        )
        self.bottleneck = make_bottleneck(
            config.code, directions * config.hidden_size, config.code_size, (counted, channels)
        )
        if self._gives_back:
            self.decoder, self.to_window = decoder()
        if self._ahead:
            self.predictor, self.to_prediction = decoder()

    def features(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The encoder's last hidden state `(N, F)` after the points that are read; of both directions."""
        seen = values_and_mask(x, observed)[:, : self._read]
        _, (hidden, _) = self.encoder(seen)
        last: Tensor = hidden[-self._directions :].transpose(0, 1).flatten(1)
        return last

    def decode(self, code: Tensor) -> Tensor:
        """The windows `(N, T, C)` that codes stand for, in the order of time."""
        if not self._ahead:
            return self._given_back(code)
        foretold = _write(self.predictor, self.to_prediction, code, self._ahead)
        before = (
            self._given_back(code)
            if self._gives_back
            else foretold.new_zeros(code.shape[0], self._read, self.item_shape[1])
        )
        return torch.cat([before, foretold], dim=1)

    def views(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """What is expected of each window, `(V, N, T, C)`; V is K, the draws of a code (1 where it is one
        point). Task prediction: the window as it was read, then what is foretold. Task composite: V is
        2 K, of two kinds, so that both errors count at the last points. First what is decoded of the first
        T - P points, which ends in what is foretold; then the same with its last T - P points replaced by
        what is given back of them.
        """
        views = super().views(x, observed)
        if not self._ahead:
            return views
        if not self._gives_back:
            read = x[:, : self._read].expand(len(views), -1, -1, -1)
            return torch.cat([read, views[:, :, self._read :]], dim=2)
        draws = self.bottleneck.draws(self.features(*self._latest(x, observed)))
        given_back = self._given_back(draws.flatten(0, 1)).reshape(*draws.shape[:2], self._read, -1)
        return torch.cat([views, torch.cat([views[:, :, : self._ahead], given_back], dim=2)])

    def latent_contributions(self, x: Tensor, observed: Tensor | None = None) -> Tensor | None:
        """As of every code; task composite: the mean of both codes by which it is scored."""
        found = super().latent_contributions(x, observed)
        if found is None or not (self._ahead and self._gives_back):
            return found
        latest = super().latent_contributions(*self._latest(x, observed))
        assert latest is not None
        return (found + latest) / 2

    def _latest(self, x: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The last T - P points, at the place of those that are read."""
        return x[:, self._ahead :], None if observed is None else observed[:, self._ahead :]

    def _given_back(self, code: Tensor) -> Tensor:
        """The points that were read, `(N, T - P, C)`."""
        written = _write(self.decoder, self.to_window, code, self._read)
        return written.flip(1) if self._reversed else written


def _write(lstm: nn.LSTM, to_values: nn.Linear, code: Tensor, points: int) -> Tensor:
    """What a decoder writes of codes `(N, D)`, `(N, points, C)`. If its input is larger than a code, it is
    conditional."""
    if lstm.input_size == code.shape[1]:
        steps, _ = lstm(code.unsqueeze(1).expand(-1, points, -1))
    elif lstm.num_layers == 1:
        steps = _one_layer_fed_its_output(lstm, to_values, code, points)
    else:
        steps = _fed_its_output(lstm, to_values, code, points)
    written: Tensor = to_values(steps)
    return written


def _one_layer_fed_its_output(lstm: nn.LSTM, to_values: nn.Linear, code: Tensor, points: int) -> Tensor:
    """The hidden states `(N, points, H)` of `_fed_its_output`, in one call: what is written is linear in
    the hidden state h, so that with W of what is fed, V and b of `to_values`, feeding it is to recur with
    U + W V in place of U, and to add W b to the bias."""
    of_input, of_state, bias, state_bias = lstm.all_weights[0]
    of_code, of_written = of_input[:, : code.shape[1]], of_input[:, code.shape[1] :]
    weights = [
        of_code,
        of_state + of_written @ to_values.weight,
        bias + of_written @ to_values.bias,
        state_bias,
    ]
    begin = code.new_zeros(1, code.shape[0], lstm.hidden_size)
    inputs = code.unsqueeze(1).expand(-1, points, -1)
    steps, _, _ = torch.lstm(
        inputs,
        (begin, begin),
        weights,
        has_biases=True,
        num_layers=1,
        dropout=0.0,
        train=lstm.training,
        bidirectional=False,
        batch_first=True,
    )
    return steps


def _fed_its_output(lstm: nn.LSTM, to_values: nn.Linear, code: Tensor, points: int) -> Tensor:
    """The last layer's hidden states `(N, points, H)`, step by step: each is fed, beside the code, what
    the state before stands for; the first, what no state stands for."""
    hidden = [code.new_zeros(code.shape[0], lstm.hidden_size)] * lstm.num_layers
    cell = list(hidden)
    steps = []
    for _ in range(points):
        seen = torch.cat([code, to_values(hidden[-1])], dim=1)
        for layer, weights in enumerate(lstm.all_weights):
            hidden[layer], cell[layer] = torch.lstm_cell(seen, (hidden[layer], cell[layer]), *weights)
            seen = hidden[layer]
        steps.append(seen)
    return torch.stack(steps, dim=1)
