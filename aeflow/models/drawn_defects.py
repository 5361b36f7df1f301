"""Defects drawn into normal images, so that a network learns to undo what it has never seen.

Scratches and stains of any place, direction and size, filled with what is darker or brighter, a piece of the same
image from elsewhere, a flat grey, or noise. Li, Sohn, Yoon and Pfister, "CutPaste: self-supervised learning for
anomaly detection and localization", 2021; Zavrtanik, Kristan and Skocaj, "DRAEM - a discriminatively trained
reconstruction embedding for surface anomaly detection", 2021.

Legend: N images, C bands, H x W pixels.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor
from torch.nn import functional

# Of the shorter side: half the length and half the width of scratches, and of stains.
_SCRATCH_LENGTH, _SCRATCH_WIDTH = (0.06, 0.4), (0.004, 0.024)
_STAIN_LENGTH, _STAIN_ROUNDNESS = (0.03, 0.18), (0.35, 1.0)
_LEAST_HALF_WIDTH_PX = 0.5
_SCRATCHES = 0.5  # the share of the defects; the rest are stains
# How far a fill lies from the image, in its own deviations.
_SHIFT, _FLAT, _NOISE = (0.7, 3.7), 3.0, 2.0
_RAGGED_CELLS = 8


def draw_defects(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Copies of images `(N, C, H, W)` with `count` defects in each, drawn anew for each image; they may overlap."""
    for _ in range(count):
        covered = _shapes(x, generator)
        x = x + covered * (_fills(x, generator) - x)
    return x


def _shapes(x: Tensor, generator: torch.Generator) -> Tensor:
    """How much of each pixel a scratch or a stain covers, `(N, 1, H, W)` in 0..1."""
    count, _, height, width = x.shape
    side = min(height, width)
    drawn = _drawn(7, x, generator)
    scratch = drawn[0] < _SCRATCHES
    length = side * torch.where(
        scratch, _within(_SCRATCH_LENGTH, drawn[1]), _within(_STAIN_LENGTH, drawn[1] ** 2)
    )
    half_width = torch.where(
        scratch, side * _within(_SCRATCH_WIDTH, drawn[2] ** 2), length * _within(_STAIN_ROUNDNESS, drawn[2])
    ).clamp_min(_LEAST_HALF_WIDTH_PX)
    down = torch.arange(height, device=x.device)[:, None] + 0.5 - drawn[3] * height
    across = torch.arange(width, device=x.device)[None, :] + 0.5 - drawn[4] * width
    angle = drawn[5] * pi
    along = across * angle.cos() + down * angle.sin()
    beside = down * angle.cos() - across * angle.sin()
    # Scratches are bent, and stains ragged.
    beside = beside + torch.where(scratch, (drawn[6] - 0.5) * along.square() / length, 0.0)
    cells = torch.rand((count, 1, _RAGGED_CELLS, _RAGGED_CELLS), generator=generator, device=x.device)
    ragged = functional.interpolate(cells, size=(height, width), mode="bilinear", align_corners=False)
    away = ((along / length).square() + (beside / half_width).square()).sqrt()
    away = away * torch.where(scratch, torch.ones_like(ragged), 0.6 + 0.8 * ragged)
    return ((1 - away) * half_width + 0.5).clamp(0, 1)


def _fills(x: Tensor, generator: torch.Generator) -> Tensor:
    """What is to be seen where a defect is, `(N, C, H, W)`."""
    deviation = x.std(dim=(1, 2, 3), keepdim=True, correction=0)
    drawn = _drawn(6, x, generator)
    sign = torch.where(drawn[0] < 0.5, -1.0, 1.0)
    shifted = x + sign * _within(_SHIFT, drawn[1]) * deviation
    flat = (x.mean(dim=(1, 2, 3), keepdim=True) + (2 * drawn[2] - 1) * _FLAT * deviation).expand_as(x)
    noise = x + _NOISE * deviation * torch.randn(x.shape, generator=generator, device=x.device)
    elsewhere = _rolled(x, drawn[3].flatten(), drawn[4].flatten())
    kind = drawn[5]
    return torch.where(
        kind < 0.45, shifted, torch.where(kind < 0.7, elsewhere, torch.where(kind < 0.85, flat, noise))
    )


def _rolled(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Each image moved by shares `(N,)` of its height and width; what leaves it comes in on the other side."""
    count, bands, height, width = x.shape
    rows = (torch.arange(height, device=x.device) + (down * height).long()[:, None]) % height
    columns = (torch.arange(width, device=x.device) + (across * width).long()[:, None]) % width
    x = x.gather(2, rows[:, None, :, None].expand(count, bands, height, width))
    return x.gather(3, columns[:, None, None, :].expand(count, bands, height, width))


def _drawn(numbers: int, x: Tensor, generator: torch.Generator) -> Tensor:
    """`(numbers, N, 1, 1, 1)` in 0..1."""
    return torch.rand((numbers, len(x), 1, 1, 1), generator=generator, device=x.device)


def _within(limits: tuple[float, float], share: Tensor) -> Tensor:
    low, high = limits
    return low + (high - low) * share
