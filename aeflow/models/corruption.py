"""Spoils training items; the network is to give back the clean ones. See `aeflow.config.corruptions`.

Denoising: Vincent et al., "Extracting and composing robust features with denoising autoencoders", 2008;
inpainting: Pathak et al., "Context encoders", 2016. Legend: N items, T points, C channels or bands,
H x W pixels.
"""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from aeflow.config import (
    ChannelMasking,
    CutOut,
    Downsampling,
    DrawnDefects,
    GaussianNoise,
    MaskingNoise,
    SaltAndPepper,
    TimeMasking,
)
from aeflow.models.drawn_defects import draw_defects

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aeflow.config import Corruption

Spoiled = tuple[Tensor, Tensor | None]


def corrupt(
    x: Tensor, observed: Tensor | None, corruptions: Iterable[Corruption], generator: torch.Generator
) -> Spoiled:
    """Spoiled copies of items `(N, *item_shape)`, one corruption after the other, and what the network is
    told was observed of them (bool, the same shape; None: everything).

    Args:
        x: images in 0..1 or scaled windows; not changed.
        observed: what is known of them; what is not stays 0.
        corruptions: what to do.
        generator: on the device of the items; draws anew for each item.
    """
    told = observed
    for corruption in corruptions:
        x, told = _spoil(corruption, x, told, generator)
    if observed is not None:
        x = x * observed
    return x, told


@singledispatch
def _spoil(corruption: Corruption, x: Tensor, told: Tensor | None, generator: torch.Generator) -> Spoiled:  # noqa: ARG001
    raise TypeError(f"expected one of the corruptions of the config, got {type(corruption).__name__}")


@_spoil.register
def _(corruption: GaussianNoise, x: Tensor, told: Tensor | None, generator: torch.Generator) -> Spoiled:
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x + corruption.deviation * noise, told


@_spoil.register
def _(corruption: SaltAndPepper, x: Tensor, told: Tensor | None, generator: torch.Generator) -> Spoiled:
    drawn = torch.rand(x.shape, generator=generator, device=x.device)
    whole = tuple(range(1, x.ndim))
    least, most = x.amin(whole, keepdim=True), x.amax(whole, keepdim=True)
    spoiled = torch.where(drawn < corruption.share / 2, least, x)
    return torch.where(drawn > 1 - corruption.share / 2, most, spoiled), told


@_spoil.register
def _(corruption: MaskingNoise, x: Tensor, told: Tensor | None, generator: torch.Generator) -> Spoiled:
    drawn = torch.rand(x.shape, generator=generator, device=x.device)
    return x * (drawn >= corruption.share), told


@_spoil.register
def _(corruption: CutOut, x: Tensor, told: Tensor | None, generator: torch.Generator) -> Spoiled:
    count, _, height, width = x.shape
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    rows = torch.arange(height, device=x.device)[:, None]
    columns = torch.arange(width, device=x.device)[None, :]
    high, wide = (max(1, round(corruption.side_share * side)) for side in (height, width))
    for _ in range(corruption.count):
        place = torch.rand((2, count, 1, 1, 1), generator=generator, device=x.device)
        top, left = (place[0] * (height - high + 1)).floor(), (place[1] * (width - wide + 1)).floor()
        hidden = (rows >= top) & (rows < top + high) & (columns >= left) & (columns < left + wide)
        x = torch.where(hidden, mean, x)
    return x, told


@_spoil.register
def _(corruption: DrawnDefects, x: Tensor, told: Tensor | None, generator: torch.Generator) -> Spoiled:
    return draw_defects(x, corruption.count, generator), told


@_spoil.register
def _(corruption: ChannelMasking, x: Tensor, told: Tensor | None, generator: torch.Generator) -> Spoiled:
    shape = (len(x), 1, x.shape[2])
    hidden = torch.rand(shape, generator=generator, device=x.device) < corruption.share
    return _hide(x, told, hidden)


@_spoil.register
def _(corruption: TimeMasking, x: Tensor, told: Tensor | None, generator: torch.Generator) -> Spoiled:
    points = x.shape[1]
    length = round(corruption.share * points)
    first = torch.rand((len(x), 1, 1), generator=generator, device=x.device) * (points - length + 1)
    step = torch.arange(points, device=x.device)[None, :, None]
    return _hide(x, told, (step >= first.floor()) & (step < first.floor() + length))


@_spoil.register
def _(corruption: Downsampling, x: Tensor, told: Tensor | None, generator: torch.Generator) -> Spoiled:  # noqa: ARG001
    factor = corruption.factor
    if factor == 1:
        return x, told
    # The last cell may be smaller: it is the mean of what is there.
    if x.ndim == 4:
        cells = functional.avg_pool2d(x, factor, ceil_mode=True)
        height, width = x.shape[2:]
        spread = cells.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
        return spread[:, :, :height, :width], told
    cells = functional.avg_pool1d(x.transpose(1, 2), factor, ceil_mode=True)
    return cells.repeat_interleave(factor, dim=2)[:, :, : x.shape[1]].transpose(1, 2), told


def _hide(x: Tensor, told: Tensor | None, hidden: Tensor) -> Spoiled:
    """Values as 0, and told to be unknown. Where nothing is hidden nothing is told."""
    if not hidden.any():
        return x, told
    seen = (~hidden).expand_as(x)
    return x * seen, seen if told is None else told & seen
