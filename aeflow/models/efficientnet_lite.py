"""EfficientNet-Lite0 as an encoder, with the weights of ImageNet that a package brings.

Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", 2019; the Lite
variants leave out squeeze and excitation and clip activations at 6, for the sake of edge devices. Only
the stages whose features are asked for are built.

Legend: N items, C channels, H x W pixels.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from aeflow.exceptions import InputError
from aeflow.models.pretrained_weights import pretrained_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    Frozen: it never trains. The batch normalisation it came with is folded into the convolutions, which with
    channels last in memory takes half the time. Its weights are drawn until `load_pretrained`, or a state
    dict, brings them. It takes images of any size; `sizes` are those of the
    features of `item_shape`.
    """

    def __init__(self, item_shape: tuple[int, ...], scales: int) -> None:
        super().__init__()
        bands, *size = item_shape
        if bands not in (1, _BANDS):
            raise InputError(f"encoder efficientnet_lite0 takes grey or RGB images, got {bands} bands")
        self.channels: list[int] = []
        self.conv_stem = _SameConv2d(_BANDS, _STEM_CHANNELS, 3, stride=2)
        before, blocks, taken = _STEM_CHANNELS, [], []
        for stage in _STAGES:
            for number in range(stage.repeats):
                blocks.append(_Block(before, stage, stage.stride if number == 0 else 1))
                before = stage.channels
            if stage.scale:
                taken.append(len(blocks) - 1)
                self.channels.append(stage.channels)
            if len(taken) == scales:
                break
        self.sizes = feature_sizes((size[0], size[1]), scales)
        self.blocks = nn.ModuleList(blocks)
        self._taken = tuple(taken)
        self.requires_grad_(requires_grad=False)
        # Else each pass would bring the weights into this order anew.
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor, scales: int | None = None) -> list[Tensor]:
        """Features `(N, C, h, w)` of each scale, the largest first, of images in 0..1, grey or RGB. scales:
        only so many; nothing beyond them is computed."""
        x = ((x - _CENTER) / _SCALE).expand(-1, _BANDS, -1, -1)
        x = _clipped(self.conv_stem(x.contiguous(memory_format=torch.channels_last)))
        found = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self._taken:
                found.append(x)
                if len(found) == scales:
                    break
        return found

    def load_pretrained(self) -> None:
        """Take the weights of the installed package.

        Raises:
            InputError: the package is not installed, or holds other weights.
        """
        found = pretrained_weights()
        folded: dict[str, Tensor] = {}
        for name in {name.rpartition(".")[0] for name in self.state_dict()}:
            folded |= _folded(found, name)
        self.load_state_dict(folded)


def _clipped(x: Tensor) -> Tensor:
    """0..6, in place: what a frozen network sees is needed nowhere else."""
    return functional.relu6(x, inplace=True)


def feature_sizes(size: tuple[int, int], scales: int) -> list[tuple[int, int]]:
    """Height and width of the features at 1/4, 1/8, ... of images of `size`, so many of them."""
    height, width = size
    return [(ceil(height / 2 ** (2 + at)), ceil(width / 2 ** (2 + at))) for at in range(scales)]


# Which batch normalisation follows a convolution.
_NORMALISED_BY = {"conv_stem": "bn0", "expand_conv": "bn0", "depthwise_conv": "bn1", "project_conv": "bn2"}


def _folded(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Weight and bias of the convolution `name` that does what it and the normalisation after it did."""
    path, _, convolution = name.rpartition(".")
    norm = ".".join(filter(None, (path, _NORMALISED_BY[convolution])))
    of = {
        part: weights[f"{norm}.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
    }
    gain = of["weight"] / (of["running_var"] + _EPSILON).sqrt()
    weight = weights[f"{name}.weight"].double() * gain.reshape(-1, 1, 1, 1)
    bias = of["bias"] - of["running_mean"] * gain
    return {f"{name}.weight": weight.float(), f"{name}.bias": bias.float()}


class _SameConv2d(nn.Conv2d):
    """A convolution whose output is the input's size by its stride, rounded up: where the padding is odd, it
    is by one pixel more at the end, as TensorFlow does."""

    def __init__(self, before: int, after: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(before, after, kernel, stride=stride, padding=padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Padded and convolved."""
        stride, kernel = self.stride[0], self.kernel_size[0]
        if stride > 1:
            padding = []
            for side in (x.shape[3], x.shape[2]):
                missing = max((ceil(side / stride) - 1) * stride + kernel - side, 0)
                padding += [missing // 2, missing - missing // 2]
            x = functional.pad(x, padding)
        found: Tensor = super().forward(x)
        return found


class _Block(nn.Module):
    """Inverted residual block: wider by pointwise convolution, depthwise convolution, narrow again."""

    def __init__(self, before: int, stage: _Blocks, stride: int) -> None:
        super().__init__()
        wide = before * stage.expansion
        self._expands = stage.expansion != 1
        if self._expands:
            self.expand_conv = nn.Conv2d(before, wide, 1)
        self.depthwise_conv = _SameConv2d(wide, wide, stage.kernel, stride=stride, groups=wide)
        self.project_conv = nn.Conv2d(wide, stage.channels, 1)
        self._adds = stride == 1 and before == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """Channels `(N, C, h, w)` of `(N, before, H, W)`."""
        found: Tensor = _clipped(self.expand_conv(x)) if self._expands else x
        found = _clipped(self.depthwise_conv(found))
        found = self.project_conv(found)
        return x + found if self._adds else found
