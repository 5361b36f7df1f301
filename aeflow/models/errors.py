"""How far what is expected lies from what came: the training loss, and the error map of a score.

Legend: N items, C bands, H x W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from aeflow.config import ErrorKind

# Where the Huber error turns from a square to a line: in the unit of the items, half of it, as usual.
_HUBER_DELTA = 1.0
_LEAST_PROBABILITY = 1e-6


def error_map(kind: ErrorKind, expected: Tensor, x: Tensor) -> Tensor:
    """The error of each value, `(N, *item_shape)`, not negative. SSIM and its multi-scale form take images
    `(N, C, H, W)` in 0..1, cross-entropy expects what lies in 0..1."""
    if kind == "mse":
        return (expected - x).square()
    if kind == "mae":
        return (expected - x).abs()
    if kind == "huber":
        return functional.huber_loss(expected, x, reduction="none", delta=_HUBER_DELTA)
    raise NotImplementedError(kind)


def mean_error(kind: ErrorKind, expected: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean error, a scalar: over the values of `weight` (what was observed, or how much each counts);
    0 where nothing counts."""
    errors = error_map(kind, expected, x)
    if weight is None:
        return errors.mean()
    weight = weight.to(errors.dtype).expand_as(errors)
    return (errors * weight).sum() / weight.sum().clamp_min(torch.finfo(errors.dtype).tiny)
