"""What the networks of series windows read. Legend: N items, T points, C channels."""

from __future__ import annotations

import torch
from torch import Tensor


def values_and_mask(x: Tensor, observed: Tensor | None) -> Tensor:
    """The values `(N, T, C)` and, beside them, 1 where they were observed, `(N, T, 2 C)`: a 0 that was
    measured is told from one that stands for nothing."""
    mask = torch.ones_like(x) if observed is None else observed.to(x.dtype)
    return torch.cat([x, mask], dim=2)
