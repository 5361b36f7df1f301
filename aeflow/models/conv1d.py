"""Temporal convolutional autoencoder for long series windows.

Residual blocks of dilated convolutions see far with few layers (Bai, Kolter and Koltun, "An empirical
evaluation of generic convolutional and recurrent networks for sequence modeling", 2018), and between
them the window is halved, down to a code and up again (Thill, Konen, Wang and Baeck, "Temporal
convolutional autoencoder for unsupervised anomaly detection in time series", 2021). The convolutions
look both ways: the whole window is there when it is scored. Down by stride, up by repeating points and a
convolution, to the very length of each level: windows of any length need no padding.

Blocks are normalised inside, not on the way past them, so that how large a value is comes through.

Legend: N items, T points, C channels, D numbers of a code, W width.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from aeflow.models.autoencoder import Trained
from aeflow.models.bottleneck import make_bottleneck
from aeflow.models.levels import norm
from aeflow.models.series_input import values_and_mask

if TYPE_CHECKING:
    from aeflow.config import Conv1d as Conv1dConfig


class Conv1dAutoencoder(Trained):
    """Encoder of `levels` halvings, a code, and its mirror image."""

    def __init__(self, config: Conv1dConfig, item_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.item_shape = tuple(item_shape)
        self.code_size = config.code_size
        points, channels = item_shape
        lengths = [points]
        for _ in range(config.levels):
            lengths.append(ceil(lengths[-1] / 2))
        self._lengths = lengths
        self._bottom = (config.width, lengths[-1])
        width, kernel = config.width, config.kernel_points

        down: list[nn.Module] = [convolution(2 * channels, width, kernel)]
        for _ in range(config.levels):
            down += [*_blocks(config), convolution(width, width, kernel, stride=2)]
        self.down = nn.Sequential(*down)
        features = width * lengths[-1]
        self.bottleneck = make_bottleneck(config.code, features, config.code_size, self.item_shape)
        self.from_code = nn.Linear(config.code_size, features)
        self.up = nn.ModuleList(
            nn.Sequential(convolution(width, width, kernel), *_blocks(config)) for _ in range(config.levels)
        )
        self.to_window = convolution(width, channels, kernel)

    def features(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The last level's channels, `(N, F)`."""
        found: Tensor = self.down(values_and_mask(x, observed).transpose(1, 2)).flatten(1)
        return found

    def decode(self, code: Tensor) -> Tensor:
        """The windows `(N, T, C)` that codes stand for."""
        x: Tensor = self.from_code(code).unflatten(1, self._bottom)
        for block, length in zip(self.up, reversed(self._lengths[:-1]), strict=True):
            x = block(functional.interpolate(x, size=length, mode="nearest"))
        window: Tensor = self.to_window(x).transpose(1, 2)
        return window.contiguous()


class DilatedBlock(nn.Module):
    """`(N, W, T)` plus what two convolutions make of it, the second twice as far apart as the first.
    He et al., "Identity mappings in deep residual networks", 2016."""

    def __init__(self, width: int, kernel_points: int, dilation: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for apart in (dilation, 2 * dilation):
            layers += [norm(width), nn.SiLU(), convolution(width, width, kernel_points, dilation=apart)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, W, T)` to the same."""
        y: Tensor = x + self.layers(x)
        return y


def convolution(
    before: int, after: int, kernel_points: int, *, stride: int = 1, dilation: int = 1
) -> nn.Conv1d:
    """Of an odd kernel: it leaves T / stride points, rounded up."""
    padding = dilation * (kernel_points // 2)
    return nn.Conv1d(before, after, kernel_points, stride=stride, padding=padding, dilation=dilation)


def _blocks(config: Conv1dConfig) -> list[nn.Module]:
    return [DilatedBlock(config.width, config.kernel_points, 4**number) for number in range(config.blocks)]
