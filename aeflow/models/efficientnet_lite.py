"""EfficientNet-Lite0 as an encoder, with the weights of ImageNet that a package brings.

Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", 2019; the Lite
variants leave out squeeze and excitation and clip activations at 6, for the sake of edge devices. Only
the stages whose features are asked for are built.

Legend: N items, C channels, H x W pixels.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple, Self

from torch import Tensor, nn
from torch.nn import functional

from aeflow.exceptions import InputError
from aeflow.models.pretrained_weights import pretrained_weights

_BANDS = 3
# Pixels 0..255 less 127 by 128, as the Lite models were trained: their stored statistics tell so. With the
# customary means and deviations of ImageNet the first layer's variance is five times the stored one.
_CENTER, _SCALE = 127 / 255, 128 / 255
_EPSILON = 1e-3
_STEM_CHANNELS = 32


class _Blocks(NamedTuple):
    """Inverted residual blocks in a row, the first of `stride`. scale: whether their output is the last of
    its size, as features are taken from."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int
    scale: bool


_STAGES = (
    _Blocks(1, 3, 1, 1, 16, scale=False),
    _Blocks(2, 3, 2, 6, 24, scale=True),
    _Blocks(2, 5, 2, 6, 40, scale=True),
    _Blocks(3, 3, 2, 6, 80, scale=False),
    _Blocks(3, 5, 1, 6, 112, scale=True),
    _Blocks(4, 5, 2, 6, 192, scale=False),
    _Blocks(1, 3, 1, 6, 320, scale=True),
)


class EfficientNetLite0(nn.Module):
    """The last features at 1/4, 1/8, 1/16 and 1/32 of the image's size, as many of them as asked for.

    Frozen: it never trains, and normalises by the statistics it came with. Its weights are drawn until
    `load_pretrained`, or a state dict, brings them.
    """

    def __init__(self, item_shape: tuple[int, ...], scales: int) -> None:
        super().__init__()
        bands, *size = item_shape
        if bands not in (1, _BANDS):
            raise InputError(f"encoder efficientnet_lite0 takes grey or RGB images, got {bands} bands")
        self.channels: list[int] = []
        self.sizes: list[tuple[int, int]] = []
        self.conv_stem = _SameConv2d(_BANDS, _STEM_CHANNELS, 3, stride=2, size=size)
        self.bn0 = nn.BatchNorm2d(_STEM_CHANNELS, eps=_EPSILON)
        size = self.conv_stem.size
        before, blocks, taken = _STEM_CHANNELS, [], []
        for stage in _STAGES:
            for number in range(stage.repeats):
                block = _Block(before, stage, stage.stride if number == 0 else 1, size)
                blocks.append(block)
                before, size = stage.channels, block.size
            if stage.scale:
                taken.append(len(blocks) - 1)
                self.channels.append(stage.channels)
                self.sizes.append((size[0], size[1]))
            if len(taken) == scales:
                break
        self.blocks = nn.ModuleList(blocks)
        self._taken = tuple(taken)
        self.requires_grad_(requires_grad=False)
        self.eval()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features `(N, C, h, w)` of each scale, the largest first, of images in 0..1, grey or RGB."""
        x = ((x - _CENTER) / _SCALE).expand(-1, _BANDS, -1, -1)
        x = functional.relu6(self.bn0(self.conv_stem(x)))
        found = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self._taken:
                found.append(x)
        return found

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 - frozen
        """Never: batch normalisation would make an item's features depend on the others."""
        return super().train(mode=False)

    def load_pretrained(self) -> None:
        """Take the weights of the installed package.

        Raises:
            InputError: the package is not installed, or holds other weights.
        """
        found = pretrained_weights()
        self.load_state_dict({name: found[name] for name in self.state_dict()})


class _SameConv2d(nn.Conv2d):
    """A convolution without bias whose output is the input's size by its stride, rounded up: it is padded
    by one pixel more at the end where the padding is odd, as TensorFlow does. size: that of the output."""

    def __init__(
        self, before: int, after: int, kernel: int, *, size: list[int], stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(before, after, kernel, stride=stride, groups=groups, bias=False)
        self.size = [ceil(side / stride) for side in size]
        padding = [
            max((new - 1) * stride + kernel - side, 0) for new, side in zip(self.size, size, strict=True)
        ]
        self._padding = [part for one in reversed(padding) for part in (one // 2, one - one // 2)]

    def forward(self, x: Tensor) -> Tensor:
        """Padded and convolved."""
        found: Tensor = super().forward(functional.pad(x, self._padding))
        return found


class _Block(nn.Module):
    """Inverted residual block: wider by pointwise convolution, depthwise convolution, narrow again."""

    def __init__(self, before: int, stage: _Blocks, stride: int, size: list[int]) -> None:
        super().__init__()
        wide = before * stage.expansion
        self._expands = stage.expansion != 1
        if self._expands:
            self.expand_conv = nn.Conv2d(before, wide, 1, bias=False)
            self.bn0 = nn.BatchNorm2d(wide, eps=_EPSILON)
        self.depthwise_conv = _SameConv2d(wide, wide, stage.kernel, stride=stride, groups=wide, size=size)
        self.bn1 = nn.BatchNorm2d(wide, eps=_EPSILON)
        self.project_conv = nn.Conv2d(wide, stage.channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(stage.channels, eps=_EPSILON)
        self.size = self.depthwise_conv.size
        self._adds = stride == 1 and before == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """Channels `(N, C, h, w)` of `(N, before, H, W)`."""
        found: Tensor = functional.relu6(self.bn0(self.expand_conv(x))) if self._expands else x
        found = functional.relu6(self.bn1(self.depthwise_conv(found)))
        found = self.bn2(self.project_conv(found))
        return x + found if self._adds else found
