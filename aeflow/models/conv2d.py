"""Convolutional autoencoder for images of any size, grey or colour.

Down by strided convolution or by max-pooling; up by nearest upsampling and convolution or by transposed
convolution. The output is not squashed unless asked for: what lies outside 0..1 is an error. Masci et
al., "Stacked convolutional auto-encoders for hierarchical feature extraction", 2011.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import Tensor, nn

from aeflow.models.levels import LevelledAutoencoder, Levels, convolution, norm

if TYPE_CHECKING:
    from aeflow.config import Conv2d as Conv2dConfig


class Conv2dAutoencoder(LevelledAutoencoder):
    """Encoder of `levels` halvings, a code, and its mirror image."""

    def __init__(self, config: Conv2dConfig, item_shape: tuple[int, ...]) -> None:
        transposed = config.up == "transposed"
        super().__init__(
            config,
            item_shape,
            partial(way_down, pooled=config.down == "max_pool"),
            _transposed_way_up if transposed else way_up,
        )
        self._transposed = transposed

    def enlarge(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """A transposed convolution enlarges by itself."""
        return x if self._transposed else super().enlarge(x, size)


def way_down(levels: Levels, *, pooled: bool = False) -> nn.Sequential:
    """A convolution a level, of stride 2 or with the largest of 2 x 2 after it."""
    down: list[nn.Module] = []
    for before, after in pairwise((levels.bands, *levels.channels)):
        down += convolution(before, after, stride=1 if pooled else 2)
        if pooled:
            down.append(nn.MaxPool2d(2, ceil_mode=True))
    return nn.Sequential(*down)


def way_up(levels: Levels) -> nn.ModuleList:
    """A convolution a level. At the full size it stands alone: a whole block there would cost half of
    the time."""
    channels = levels.channels[::-1]
    blocks = [nn.Sequential(*convolution(before, after)) for before, after in pairwise(channels)]
    return nn.ModuleList([*blocks, nn.Conv2d(channels[-1], levels.bands, 3, padding=1)])


def _transposed_way_up(levels: Levels) -> nn.ModuleList:
    """As `way_up`, of transposed convolutions."""
    channels = levels.channels[::-1]
    up: list[nn.Module] = []
    for (before, after), size in zip(pairwise((*channels, levels.bands)), levels.sizes[-2::-1], strict=True):
        block = [_transposed(before, after, size)]
        up.append(nn.Sequential(*block, norm(after), nn.SiLU()) if len(up) < len(channels) - 1 else block[0])
    return nn.ModuleList(up)


def _transposed(before: int, after: int, size: tuple[int, int]) -> nn.Module:
    """4 x 4 of stride 2, whose windows overlap evenly, to `size`: even sides are twice those of the level
    below, odd ones one pixel less."""
    odd = (size[0] % 2, size[1] % 2)
    return nn.ConvTranspose2d(
        before,
        after,
        4,
        stride=2,
        padding=(1 + odd[0], 1 + odd[1]),
        output_padding=odd,
    )
