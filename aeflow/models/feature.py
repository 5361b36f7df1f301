"""Deep feature reconstruction: what a frozen encoder sees of an image at several scales is reconstructed,
in place of its pixels.

The scales are brought to one grid and standardised; an autoencoder of 1 x 1 convolutions squeezes the
features of each place by itself. Where it fails, the neighbourhood looks unlike any normal one. Yang, Shi
and Qi, "DFR: deep feature reconstruction for unsupervised anomaly segmentation", 2020.

Legend: N items, F features of a place, h x w places of the grid, D numbers of a code, C bands, H x W
pixels.
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil, prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from aeflow.config import CutOut
from aeflow.exceptions import InputError
from aeflow.models.autoencoder import Autoencoder, ClosedForm, Comparison, Reconstruction, Stage
from aeflow.models.conv2d import way_up
from aeflow.models.efficientnet_lite import EfficientNetLite0
from aeflow.models.levels import Levels, convolution, enlarged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aeflow.config import ErrorKind
    from aeflow.config import Feature as FeatureConfig

# What a self-supervised encoder learns to fill in: about a fifth of the image, in pieces that what lies
# around them can tell.
_CUT_OUTS = CutOut(count=8, side_share=0.16)
# A channel that hardly varies over normal images is measured in this share of the usual deviation: in its
# own it would drown all others.
_LEAST_DEVIATION = 1e-3
# The code of an image is its bottleneck, averaged over at most so many cells a side.
_CODE_CELLS = 4
_MOST_PIXEL_CHANNELS, _LEAST_PIXEL_CHANNELS = 64, 16


class FeatureAutoencoder(Autoencoder):
    """Frozen encoder, standardised features, and what reconstructs them; its error is that of the features.

    The images it expects are decoded from the pooled bottleneck, apart from all else: they show what was
    expected, and count for nothing.
    """

    def __init__(self, config: FeatureConfig, item_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.item_shape = tuple(item_shape)
        self._encoder_epochs = config.encoder_epochs
        self.encoder: LevelEncoder | EfficientNetLite0
        if config.encoder == "self_supervised":
            self.encoder = LevelEncoder(Levels.of(item_shape, config.width, config.levels))
            # Not a part of this network: once the encoder is trained, only that is kept.
            self._inpainting = (Inpainting(self.encoder, self.item_shape),)
        else:
            self.encoder = EfficientNetLite0(self.item_shape, config.levels)
        self._grid = self.encoder.sizes[min(1, len(self.encoder.sizes) - 1)]
        features, squeezed = sum(self.encoder.channels), config.bottleneck_channels
        if squeezed >= features:
            raise InputError(
                f"expected model.bottleneck_channels below the {features} features of a place, got {squeezed}",
                remedy="Take fewer bottleneck_channels, or more levels.",
            )
        self.standard = Standard((features, *self._grid))
        between = (features + squeezed) // 2
        self.squeeze = _pointwise(features, between, 2 * squeezed, squeezed)
        self.spread = _pointwise(squeezed, 2 * squeezed, between, features)
        self.pixels = PixelDecoder(squeezed, self.item_shape)
        self.code_size = prod(self.pixels.code_shape)

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:  # noqa: ARG002 - pixels are all there
        """The bottleneck of images, averaged over the cells of the code, `(N, D)`."""
        return self._code(self.squeeze(self._target(x)))

    def decode(self, code: Tensor) -> Tensor:
        """The images `(N, C, H, W)` in 0..1 that codes stand for, roughly."""
        images: Tensor = self.pixels(code)
        return images

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Reconstruction:
        """The images that are expected, and as the penalty the mean error of the features."""
        return self.forward_spoiled(x, observed, x)

    def forward_spoiled(self, shown: Tensor, told: Tensor | None, clean: Tensor) -> Reconstruction:  # noqa: ARG002
        """As `forward` of `shown`; its features are to become those of `clean`."""
        seen = self._target(shown)
        squeezed = self.squeeze(seen)
        code = self._code(squeezed)
        target = seen if shown is clean else self._target(clean)
        penalty = (self.spread(squeezed).float() - target).square().mean()
        # The pixels must not pull at the bottleneck: it is there for the features.
        return Reconstruction(self.decode(code.detach()), code, penalty)

    def objective(self, found: Reconstruction, error: Tensor) -> Tensor:
        """The error of the features, and that of the pixels, which trains nothing but their decoder."""
        return found.penalty + error

    def compare(self, x: Tensor, observed: Tensor | None, error: ErrorKind) -> Comparison:  # noqa: ARG002
        """The images that are expected; and how far the features at each pixel lie from what is expected of
        them, the mean square in their own deviations, shared by the bands alike. `error` is one of
        pixels: it does not count."""
        target = self._target(x)
        squeezed = self.squeeze(target)
        error_map = (self.spread(squeezed) - target).square().mean(dim=1, keepdim=True)
        bands, *size = self.item_shape
        error_map = functional.interpolate(error_map, size=size, mode="bilinear", align_corners=False)
        return Comparison(self.decode(self._code(squeezed)), (error_map / bands).expand(-1, bands, -1, -1))

    def stages(self) -> Iterable[Stage]:
        """The encoder learns to see, or takes the weights it came with; then what is usual of its features
        is measured."""
        if isinstance(self.encoder, EfficientNetLite0):
            self.encoder.load_pretrained()
        else:
            yield Stage("encoder", self._inpainting[0], self._encoder_epochs, corruption=(_CUT_OUTS,))
        yield Stage("standard", self.standard, 1, view=self._as_features)

    def _as_features(self, x: Tensor, observed: Tensor | None) -> tuple[Tensor, None]:  # noqa: ARG002
        self.encoder.to(x.device)
        return self._features(x), None

    def _features(self, x: Tensor) -> Tensor:
        """Features `(N, F, h, w)` of all scales on one grid, of the size of the second: finer ones are
        averaged into it, coarser ones interpolated."""
        with torch.no_grad():
            maps = self.encoder(x)
            return torch.cat([_on_grid(one.float(), self._grid) for one in maps], dim=1)

    def _target(self, x: Tensor) -> Tensor:
        return self.standard.standardised(self._features(x))

    def _code(self, squeezed: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d(squeezed, self.pixels.code_shape[1:]).flatten(1)


class LevelEncoder(nn.Module):
    """Convolutions of stride 2 whose every level is seen."""

    def __init__(self, levels: Levels) -> None:
        super().__init__()
        self.levels = levels
        self.sizes, self.channels = levels.sizes[1:], levels.channels
        self.blocks = nn.ModuleList()
        before = levels.bands
        for after in levels.channels:
            self.blocks.append(nn.Sequential(*convolution(before, after, stride=2)))
            before = after

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features `(N, C, h, w)` of each level, the largest first."""
        found = []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found


class Inpainting(Autoencoder):
    """Fills in what is cut out of images: what a self-supervised encoder learns by. Its code is the whole
    last level. Pathak et al., "Context encoders: feature learning by inpainting", 2016."""

    def __init__(self, encoder: LevelEncoder, item_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.item_shape = item_shape
        self.encoder = encoder
        self._bottom = (encoder.channels[-1], *encoder.sizes[-1])
        self.code_size = prod(self._bottom)
        self._sizes_up = encoder.levels.sizes[-2::-1]
        self.up = way_up(encoder.levels)

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:  # noqa: ARG002 - pixels are all there
        """The last level `(N, D)`."""
        found: Tensor = self.encoder(x)[-1]
        return found.flatten(1)

    def decode(self, code: Tensor) -> Tensor:
        """Whole images `(N, C, H, W)` in 0..1."""
        x = code.reshape(-1, *self._bottom)
        for block, size in zip(self.up, self._sizes_up, strict=True):
            x = block(enlarged(x, size))
        return x.sigmoid()


class Standard(ClosedForm):
    """Brings each channel of maps `(F, h, w)` to mean 0 and deviation 1 over normal images."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, item_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.item_shape = item_shape
        self.code_size = prod(item_shape)
        self.register_buffer("mean", torch.zeros(item_shape[0], 1, 1))
        self.register_buffer("deviation", torch.ones(item_shape[0], 1, 1))

    def standardised(self, maps: Tensor) -> Tensor:
        """Maps `(N, F, h, w)` in units of what is usual."""
        return (maps - self.mean) / self.deviation

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:  # noqa: ARG002 - maps are all there
        """The standardised maps `(N, D)`."""
        return self.standardised(x).flatten(1)

    def decode(self, code: Tensor) -> Tensor:
        """The maps that `encode` standardised."""
        return code.reshape(-1, *self.item_shape) * self.deviation + self.mean

    def fit_closed_form(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Measure mean and deviation of each channel, in float64."""
        count, sums, squares = 0, self.mean.double() * 0, self.mean.double() * 0
        shift: Tensor | None = None
        for maps, _ in batches:
            exact = maps.double()
            # About a value of their own, lest a small spread be lost beside a large mean.
            shift = exact[0].mean(dim=(1, 2), keepdim=True) if shift is None else shift
            count += exact.numel() // exact.shape[1]
            sums += (exact - shift).sum(dim=(0, 2, 3)).reshape(-1, 1, 1)
            squares += (exact - shift).square().sum(dim=(0, 2, 3)).reshape(-1, 1, 1)
        if shift is None:
            raise InputError("expected at least one image to measure features of, got none")
        mean = sums / count
        variance = (squares / count - mean.square()).clamp_min(0)
        deviation = variance.sqrt()
        varying = deviation[deviation > 0]
        floor = _LEAST_DEVIATION * float(varying.median()) if varying.numel() else 1.0
        self.mean.copy_(mean + shift)
        self.deviation.copy_(deviation.clamp_min(floor))


class PixelDecoder(nn.Module):
    """From codes of at most 4 x 4 cells to images: rough, small, and doubled in size level by level, the last
    time by a convolution that gives four pixels for one (Shi et al., "Real-time single image and video
    super-resolution using an efficient sub-pixel convolutional neural network", 2016)."""

    def __init__(self, channels: int, item_shape: tuple[int, ...]) -> None:
        super().__init__()
        bands, *self._size = item_shape
        halvings = 1
        while ceil(max(self._size) / 2**halvings) > _CODE_CELLS:
            halvings += 1
        sizes = Levels.of(item_shape, 1, halvings).sizes
        self.code_shape = (channels, *sizes[-1])
        self._sizes_up = sizes[-2:0:-1]
        self.blocks = nn.ModuleList()
        before, after = channels, _MOST_PIXEL_CHANNELS
        for _ in self._sizes_up:
            self.blocks.append(nn.Sequential(*convolution(before, after)))
            before, after = after, max(after // 2, _LEAST_PIXEL_CHANNELS)
        self.last = nn.Conv2d(before, 4 * bands, 3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        """Images `(N, C, H, W)` in 0..1 of codes `(N, D)`."""
        x = code.reshape(-1, *self.code_shape)
        for block, size in zip(self.blocks, self._sizes_up, strict=True):
            x = block(enlarged(x, size))
        height, width = self._size
        return functional.pixel_shuffle(self.last(x), 2)[:, :, :height, :width].sigmoid()


def _pointwise(*channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.Conv2d(before, after, 1), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


def _on_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    height, width = maps.shape[2:]
    if (height, width) == grid:
        return maps
    if height >= grid[0] and width >= grid[1]:
        return functional.adaptive_avg_pool2d(maps, grid)
    return functional.interpolate(maps, size=grid, mode="bilinear", align_corners=False)
