"""Wavelet scattering as an encoder that needs no weights: how strong edges and lines of each direction and
width are around a place, and how that varies there.

An image is convolved with wavelets of several directions; the moduli, halved in size octave after octave, are
convolved with the wider wavelets once more; all of it is averaged over the cells of a grid. Bruna and Mallat,
"Invariant scattering convolution networks", 2013; here as a cascade of small filters, whose image is halved
from octave to octave, and with logarithms, so that light is a summand.

Legend: N items, C bands or channels, L directions, H x W pixels, h x w cells.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional

from aeflow.models.efficientnet_lite import feature_sizes

_DIRECTIONS = 4
_SIDE = 7
# Morlet wavelets of one octave, as those papers have them: deviation in pixels, radians a pixel, and how much
# longer than wide.
_DEVIATION, _FREQUENCY, _SLANT = 0.8, 3 * pi / 4, 0.5
# A modulus of a grey step of 1 / 255 is about so much: less is noise.
_LEAST_MODULUS = 1e-5
_LEAST_SQUARE = 1e-12


class Scattering(nn.Module):
    """Features at 1/4, 1/8, 1/16 and 1/32 of the image's size, as many of them as asked for; those of a scale
    know its octaves and all finer ones. There is nothing to be learnt in it."""

    wavelets: Tensor
    lowpass: Tensor

    def __init__(self, item_shape: tuple[int, ...], scales: int) -> None:
        super().__init__()
        bands, *size = item_shape
        self._octaves = [2 + at for at in range(scales)]
        self.channels = [bands * (1 + _moduli(octaves)) for octaves in self._octaves]
        self.sizes = feature_sizes((size[0], size[1]), scales)
        self.register_buffer("wavelets", _morlets(), persistent=False)
        self.register_buffer("lowpass", _gaussian(), persistent=False)

    def forward(self, x: Tensor, scales: int | None = None) -> list[Tensor]:
        """Features `(N, C, h, w)` of each scale, the largest first, of images in 0..1. scales: only so many;
        nothing beyond them is computed."""
        octaves = self._octaves[:scales]
        size = (x.shape[2], x.shape[3])
        moduli: list[tuple[int, Tensor]] = []  # the widest octave that one knows of, and itself
        smooth = [x]
        for first in range(octaves[-1]):
            one = self._modulus(smooth[-1])
            moduli.append((first, one))
            for second in range(first + 1, octaves[-1]):
                one = self._halved(one)
                moduli.append((second, self._modulus(one)))
            smooth.append(self._halved(smooth[-1]))
        found = []
        for number, grid in zip(octaves, feature_sizes(size, len(octaves)), strict=True):
            cells = [functional.adaptive_avg_pool2d(one, grid) for octave, one in moduli if octave < number]
            brightness = functional.adaptive_avg_pool2d(smooth[number], grid)
            found.append(torch.cat([*((one + _LEAST_MODULUS).log() for one in cells), brightness], dim=1))
        return found

    def _modulus(self, x: Tensor) -> Tensor:
        """`(N, C L, h, w)` of `(N, C, h, w)`."""
        real, imaginary = _filtered(x, self.wavelets).chunk(2, dim=2)
        # A root has no gradient at 0.
        return (real.square() + imaginary.square() + _LEAST_SQUARE).sqrt().flatten(1, 2)

    def _halved(self, x: Tensor) -> Tensor:
        return _filtered(x, self.lowpass)[:, :, 0, ::2, ::2]


def _moduli(octaves: int) -> int:
    """How many an image of one band has of so many octaves: each by itself, and each with the wider ones."""
    return octaves * _DIRECTIONS + octaves * (octaves - 1) // 2 * _DIRECTIONS**2


def _filtered(x: Tensor, filters: Tensor) -> Tensor:
    """`(N, C, F, h, w)` of `(N, C, h, w)` and F filters; at the border images go on as in a mirror, very small
    ones as their last pixels."""
    _, channels, height, width = x.shape
    border = _SIDE // 2
    mode = "reflect" if min(height, width) > border else "replicate"
    wide = functional.pad(x.reshape(-1, 1, height, width), (border,) * 4, mode=mode)
    return functional.conv2d(wide, filters).reshape(-1, channels, len(filters), height, width)


def _morlets() -> Tensor:
    """`(2 L, 1, 7, 7)`: real parts of all directions, then imaginary ones; each sums to 0, so that a grey
    surface has none, and its absolute values to 1."""
    place = torch.arange(_SIDE, dtype=torch.float64) - _SIDE // 2
    down, across = torch.meshgrid(place, place, indexing="ij")
    angle = torch.arange(_DIRECTIONS, dtype=torch.float64)[:, None, None] * pi / _DIRECTIONS
    along = across * angle.cos() + down * angle.sin()
    beside = down * angle.cos() - across * angle.sin()
    envelope = (-(along.square() + (_SLANT * beside).square()) / (2 * _DEVIATION**2)).exp()
    wave = torch.polar(envelope, _FREQUENCY * along)
    offset = wave.sum(dim=(1, 2), keepdim=True) / envelope.sum(dim=(1, 2), keepdim=True)
    wave = wave - offset * envelope
    wave = wave / wave.abs().sum(dim=(1, 2), keepdim=True)
    return torch.cat([wave.real, wave.imag])[:, None].float()


def _gaussian() -> Tensor:
    """`(1, 1, 7, 7)`, of sum 1: what is left of an image when it is halved."""
    place = torch.arange(_SIDE, dtype=torch.float64) - _SIDE // 2
    bell = (-place.square() / (2 * _DEVIATION**2)).exp()
    square = bell[:, None] * bell[None, :]
    return (square / square.sum())[None, None].float()
