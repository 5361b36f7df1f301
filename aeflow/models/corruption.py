"""Spoils training items. See `aeflow.config.corruptions`. Legend: N items, T points, C channels or bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import Tensor

    from aeflow.config import Corruption


def corrupt(
    x: Tensor, observed: Tensor | None, corruptions: Iterable[Corruption], generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Spoiled copies of items `(N, *item_shape)`, and what the network is told was observed of them (bool,
    the same shape; None: everything). `generator`, on the device of the items, decides how. Values that
    were not observed stay 0."""
    for corruption in corruptions:
        raise NotImplementedError(corruption.kind)
    return x, observed
