"""LSTM autoencoder for series windows.

The encoder reads values and mask; the decoder unrolls from the code alone (unconditional), by default
from the last point back to the first: what was read last is easiest to say first. Srivastava et al.,
"Unsupervised learning of video representations using LSTMs", 2015; Malhotra et al., "LSTM-based
encoder-decoder for multi-sensor anomaly detection", 2016.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aeflow.models.autoencoder import Trained
from aeflow.models.bottleneck import make_bottleneck

if TYPE_CHECKING:
    from aeflow.config import Lstm as LstmConfig


class LstmAutoencoder(Trained):
    """One LSTM to a linear code, one LSTM and a linear layer back to the window."""

    def __init__(self, config: LstmConfig, item_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.item_shape = tuple(item_shape)
        self.code_size = config.code_size
        self._reversed = config.target == "reversed"
        points, channels = item_shape
        self._points = points
        self.encoder = nn.LSTM(2 * channels, config.hidden_size, config.layers, batch_first=True)
        self.bottleneck = make_bottleneck(config.code, config.hidden_size, config.code_size, self.item_shape)
        self.decoder = nn.LSTM(config.code_size, config.hidden_size, config.layers, batch_first=True)
        self.to_window = nn.Linear(config.hidden_size, channels)

    def features(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The encoder's last hidden state `(N, F)`."""
        mask = torch.ones_like(x) if observed is None else observed.to(x.dtype)
        _, (hidden, _) = self.encoder(torch.cat([x, mask], dim=2))
        last: Tensor = hidden[-1]
        return last

    def decode(self, code: Tensor) -> Tensor:
        """The windows `(N, T, C)` that codes stand for, in the order of time."""
        steps, _ = self.decoder(code.unsqueeze(1).expand(-1, self._points, -1))
        window: Tensor = self.to_window(steps)
        return window.flip(1) if self._reversed else window
