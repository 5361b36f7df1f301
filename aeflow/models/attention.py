"""Transformer autoencoder for series windows.

Every point, values and mask, becomes a vector and is told its place; layers of self-attention; the mean
over all points makes the code. The decoder begins with the code at every place. Vaswani et al.,
"Attention is all you need", 2017; normalised before each step, which trains without a warm-up of the
learning rate: Xiong et al., "On layer normalization in the transformer architecture", 2020. No dropout:
the code already holds the network back.

Legend: N items, T points, C channels, D numbers of a code, W width, H heads.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from aeflow.models.autoencoder import Trained
from aeflow.models.bottleneck import make_bottleneck
from aeflow.models.series_input import values_and_mask

if TYPE_CHECKING:
    from aeflow.config import Attention as AttentionConfig

# Wavelengths of the positions run from one turn in 2 pi points to one in 2 pi times this many.
_LONGEST = 10_000.0
# The inner layer of a step's network, in widths.
_INNER = 4


class AttentionAutoencoder(Trained):
    """Self-attention to a code, and from it; each layer sees the whole window."""

    positions: Tensor

    def __init__(self, config: AttentionConfig, item_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.item_shape = tuple(item_shape)
        self.code_size = config.code_size
        points, channels = item_shape
        self.register_buffer("positions", sinusoids(points, config.width), persistent=False)
        self.embed = nn.Linear(2 * channels, config.width)
        self.encoder = _layers(config)
        self.bottleneck = make_bottleneck(config.code, config.width, config.code_size, self.item_shape)
        self.from_code = nn.Linear(config.code_size, config.width)
        self.decoder = _layers(config)
        self.to_window = nn.Linear(config.width, channels)

    def features(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The mean over all points of what the encoder makes of each, `(N, W)`."""
        points: Tensor = self.encoder(self.embed(values_and_mask(x, observed)) + self.positions)
        return points.mean(dim=1)

    def decode(self, code: Tensor) -> Tensor:
        """The windows `(N, T, C)` that codes stand for."""
        window: Tensor = self.to_window(self.decoder(self.from_code(code).unsqueeze(1) + self.positions))
        return window


class AttentionLayer(nn.Module):
    """Points `(N, T, W)`, each plus what it attends to, plus what a small network makes of it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.each_point = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, _INNER * width),
            nn.GELU(),
            nn.Linear(_INNER * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, T, W)` to the same."""
        # (N, T, 3 W) to three of (N, H, T, W / H).
        parts = self.query_key_value(self.before_attention(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.attended(found.transpose(1, 2).flatten(2))
        y: Tensor = x + self.each_point(x)
        return y


def sinusoids(points: int, width: int) -> Tensor:
    """Where each point stands, `(T, W)`: sines and cosines of wavelengths from 2 pi points up, by turns."""
    place = torch.arange(points, dtype=torch.float32).unsqueeze(1)
    turns = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-log(_LONGEST) / width))
    return torch.stack([(place * turns).sin(), (place * turns).cos()], dim=2).flatten(1)[:, :width]


def _layers(config: AttentionConfig) -> nn.Sequential:
    layers = [AttentionLayer(config.width, config.heads) for _ in range(config.layers)]
    return nn.Sequential(*layers, nn.LayerNorm(config.width))
