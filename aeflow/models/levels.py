"""What convolutional autoencoders share: images go down level by level, each of half the height and width
of the one before, through a code, and up again to the very size of each level: odd sizes need no cropping.

Group normalisation: unlike batch normalisation it makes no item's output depend on the others. Weights
lie channels last, the layout that GPUs want; on a CPU without AMX it made training on 28 x 28 about 15 %
faster.

Legend: N items, F features, D numbers of a code, C bands, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from aeflow.models.autoencoder import Trained
from aeflow.models.bottleneck import make_bottleneck

if TYPE_CHECKING:
    from collections.abc import Callable

    from aeflow.config import Conv2d, Resnet

_MAX_CHANNELS = 256
_GROUP_CHANNELS = 8


@dataclass(frozen=True)
class Levels:
    """sizes: height and width of the image, and of each level below it. channels: of each level."""

    bands: int
    sizes: tuple[tuple[int, int], ...]
    channels: tuple[int, ...]

    @classmethod
    def of(cls, item_shape: tuple[int, ...], width: int, count: int) -> Levels:
        """`count` levels of an image `(C, H, W)`: halved, rounded up; of `width` channels, doubled each
        time."""
        bands, height, width_px = item_shape
        sizes = [(height, width_px)]
        for _ in range(count):
            sizes.append((ceil(sizes[-1][0] / 2), ceil(sizes[-1][1] / 2)))
        return cls(bands, tuple(sizes), tuple(min(width * 2**n, _MAX_CHANNELS) for n in range(count)))

    @property
    def bottom(self) -> tuple[int, int, int]:
        """Height, width and channels of the last level."""
        return (*self.sizes[-1], self.channels[-1])


class LevelledAutoencoder(Trained):
    """Down to the last level, a linear code of it, and up again.

    `way_up` makes one block a size on the way up; the last leaves the bands of the image at its full size.
    """

    def __init__(
        self,
        options: Conv2d | Resnet,
        item_shape: tuple[int, ...],
        way_down: Callable[[Levels], nn.Sequential],
        way_up: Callable[[Levels], nn.ModuleList],
    ) -> None:
        super().__init__()
        self.item_shape = tuple(item_shape)
        self.code_size = options.code_size
        levels = Levels.of(item_shape, options.width, options.levels)
        self._bottom = levels.bottom
        self._squashed = options.output == "sigmoid"
        self.down = way_down(levels)
        self.bottleneck = make_bottleneck(options.code, prod(self._bottom), self.code_size, self.item_shape)
        self.from_code = nn.Linear(self.code_size, prod(self._bottom))
        self.up = way_up(levels)
        self._sizes_up = levels.sizes[len(self.up) - 1 :: -1]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, x: Tensor, observed: Tensor | None = None) -> Tensor:  # noqa: ARG002 - pixels are all there
        """The last level's channels, place by place, `(N, F)`."""
        found: Tensor = self.down(x).permute(0, 2, 3, 1).flatten(1)
        return found

    def decode(self, code: Tensor) -> Tensor:
        """The images `(N, C, H, W)` that codes stand for."""
        x: Tensor = functional.silu(self.from_code(code)).reshape(-1, *self._bottom).permute(0, 3, 1, 2)
        for block, size in zip(self.up, self._sizes_up, strict=True):
            x = block(self.enlarge(x, size))
        return (x.sigmoid() if self._squashed else x).contiguous()

    def enlarge(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Channels `(N, C, h, w)` at `size`, before the block there: each pixel is repeated."""
        return enlarged(x, size)


def enlarged(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Channels `(N, C, h, w)` at `size`: each pixel is repeated. Convolutions after it leave none of the
    checkerboards of transposed ones, which look like defects (Odena, Dumoulin and Olah, "Deconvolution
    and checkerboard artifacts", Distill 2016)."""
    return functional.interpolate(x, size=size, mode="nearest")


def convolution(before: int, after: int, *, stride: int = 1) -> list[nn.Module]:
    """3 x 3, normalised, SiLU."""
    return [nn.Conv2d(before, after, 3, stride=stride, padding=1), norm(after), nn.SiLU()]


def norm(channels: int) -> nn.Module:
    """Over groups of neighbouring channels."""
    groups = max(1, channels // _GROUP_CHANNELS)
    return nn.GroupNorm(groups if channels % groups == 0 else 1, channels)
