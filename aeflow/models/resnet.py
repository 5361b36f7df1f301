"""Residual convolutional autoencoder for images of any size, grey or colour.

Each block adds to what it is given, so that the gradient reaches every level unhindered. He, Zhang, Ren
and Sun, "Deep residual learning for image recognition", 2016; here with group normalisation and SiLU.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from aeflow.models.levels import LevelledAutoencoder, Levels, convolution, norm

if TYPE_CHECKING:
    from aeflow.config import Resnet


class ResnetAutoencoder(LevelledAutoencoder):
    """Encoder of `levels` halvings, a code, and its mirror image, `blocks` residual blocks a level."""

    def __init__(self, config: Resnet, item_shape: tuple[int, ...]) -> None:
        super().__init__(
            config,
            item_shape,
            partial(_way_down, blocks=config.blocks),
            partial(_way_up, blocks=config.blocks),
        )


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, which is the input itself where the shape stays."""

    def __init__(self, before: int, after: int, *, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *convolution(before, after, stride=stride),
            nn.Conv2d(after, after, 3, padding=1),
            norm(after),
        )
        thinned = [_Thinned(stride)] if stride != 1 else []
        matched = [nn.Conv2d(before, after, 1), norm(after)] if stride != 1 or before != after else []
        self.shortcut = nn.Sequential(*thinned, *matched)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, after, h, w)` of `(N, before, H, W)`, halved by a stride of 2 and rounded up."""
        found: Tensor = functional.silu(self.shortcut(x) + self.residual(x))
        return found


class _Thinned(nn.Module):
    """Every `stride`-th pixel: with the 1 x 1 convolution after it what a strided one gives, whose gradient
    over fewer than 8 channels oneDNN 3.12 writes past the end of its memory (its issue 6035)."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self._stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, h, w)` of `(N, C, H, W)`, rounded up."""
        return x[:, :, :: self._stride, :: self._stride]


def _way_down(levels: Levels, *, blocks: int) -> nn.Sequential:
    """The first block of each level halves."""
    down: list[nn.Module] = []
    for before, after in pairwise((levels.bands, *levels.channels)):
        down.append(ResidualBlock(before, after, stride=2))
        down += [ResidualBlock(after, after) for _ in range(blocks - 1)]
    return nn.Sequential(*down)


def _way_up(levels: Levels, *, blocks: int) -> nn.ModuleList:
    """Blocks at the size of each level, from the last one on; at the full size one convolution, since a
    block there would cost as much as all the others."""
    channels = levels.channels[::-1]
    up: list[nn.Module] = []
    for before, after in pairwise((channels[0], *channels)):
        up.append(
            nn.Sequential(
                ResidualBlock(before, after), *[ResidualBlock(after, after) for _ in range(blocks - 1)]
            )
        )
    return nn.ModuleList([*up, nn.Conv2d(channels[-1], levels.bands, 3, padding=1)])
