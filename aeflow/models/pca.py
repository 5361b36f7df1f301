"""Principal components: the linear baseline that every autoencoder must beat.

What the components cannot rebuild is the residual statistic Q; how far the code lies from its center,
in its own spread, is Hotelling's T2. Jackson and Mudholkar, "Control procedures for residuals
associated with principal component analysis", Technometrics 1979.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeflow.models.autoencoder import ClosedForm
from aeflow.models.principal_components import principal_components

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aeflow.config import Pca as PcaConfig
    from aeflow.models.principal_components import PrincipalComponents

# Directions with less of the largest variance are rounding noise: dividing by them would make T2 jump.
_SMALLEST_VARIANCE = 1e-7


class Pca(ClosedForm):
    """The components that explain the configured share of the variance, at most `max_components`.

    Buffers have the size of the most components there may be, so that a state dict fits before
    anything is known of the items; those that were not kept are zero and neither rebuild nor count.
    Missing values enter as the mean.
    """

    mean: Tensor
    components: Tensor
    variance: Tensor

    def __init__(self, config: PcaConfig, item_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.item_shape = tuple(item_shape)
        size = prod(item_shape)
        self.code_size = min(config.max_components, size)
        self.explained_variance = config.explained_variance
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("components", torch.zeros(self.code_size, size))
        self.register_buffer("variance", torch.zeros(self.code_size))

    def fit_closed_form(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Find mean and components in float64.

        Raises:
            InputError: fewer than two items, or an iterator that can be gone through only once.
        """
        found = principal_components(batches, self.code_size)
        kept = self._kept(found)
        self.mean.copy_(found.mean)
        self.components.zero_()[:kept] = found.directions[:kept].to(self.components)
        self.variance.zero_()[:kept] = found.variance[:kept].to(self.variance)

    def _kept(self, found: PrincipalComponents) -> int:
        if found.total_variance <= 0:
            return 0
        explained = torch.cumsum(found.variance, 0) / found.total_variance
        enough = int((explained < self.explained_variance).sum()) + 1
        solid = int((found.variance > _SMALLEST_VARIANCE * found.variance[0]).sum())
        return min(enough, solid)

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The codes `(N, D)`; 0 for components that were not kept."""
        centered = x.flatten(1) - self.mean
        if observed is not None:
            centered = centered * observed.flatten(1)
        return centered @ self.components.T

    def decode(self, code: Tensor) -> Tensor:
        """The items that codes stand for."""
        return (self.mean + code @ self.components).reshape(-1, *self.item_shape)

    def latent_contributions(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The complete decomposition of T2, scaled so that it is D on average: the squares of
        `P diag(1 / sd) P' (x - mean)`, which are not negative and sum to T2 since P is orthonormal.
        Alcala and Qin, "Reconstruction-based contribution for process monitoring", Automatica 2009."""
        kept = self.variance > 0
        spread = torch.where(kept, self.variance, torch.ones_like(self.variance)).rsqrt() * kept
        parts = ((self.encode(x, observed) * spread) @ self.components) ** 2
        scale = self.code_size / kept.sum().clamp_min(1)
        return (parts * scale).reshape(-1, *self.item_shape)
