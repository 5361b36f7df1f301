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

from aeflow.exceptions import InputError
from aeflow.models.autoencoder import ClosedForm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aeflow.config import Pca as PcaConfig

# Directions with less of the largest variance are rounding noise: dividing by them would make T2 jump.
_SMALLEST_VARIANCE = 1e-7


class Pca(ClosedForm):
    """The components that explain the configured share of the variance, at most `max_components`.

    Buffers are sized for the most components there may be; those that were not kept are zero and
    neither rebuild nor count anything.
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
        """Mean and covariance in one pass, in float64; missing values count as the overall center 0.

        Raises:
            InputError: fewer than two items.
        """
        size = self.mean.numel()
        count = 0
        total = torch.zeros(size, dtype=torch.float64)
        products = torch.zeros(size, size, dtype=torch.float64)
        shift: Tensor | None = None
        for x, _observed in batches:
            flat = x.detach().reshape(len(x), -1).cpu().double()
            if shift is None:  # products around a value near the mean lose no digits
                shift = flat.mean(dim=0)
            flat = flat - shift
            count += len(flat)
            total += flat.sum(dim=0)
            products.addmm_(flat.T, flat)
        if count < 2 or shift is None:
            raise InputError(f"expected at least two items to find components, got {count}")
        mean = total / count
        covariance = (products - count * torch.outer(mean, mean)) / (count - 1)
        variance, directions = torch.linalg.eigh(covariance)
        variance, directions = variance.flip(0).clamp_min(0), directions.flip(1)
        kept = self._kept(variance)
        # The sign of a component is free; fix it so that the same data give the same bytes.
        signs = torch.sign(directions.gather(0, directions.abs().argmax(dim=0, keepdim=True)))
        self.mean.copy_(mean + shift)
        self.components.zero_()[:kept] = (directions * signs).T[:kept].float()
        self.variance.zero_()[:kept] = variance[:kept].float()

    def _kept(self, variance: Tensor) -> int:
        whole = variance.sum()
        if whole <= 0:
            return 0
        explained = torch.cumsum(variance, 0) / whole
        enough = int((explained < self.explained_variance).sum()) + 1
        solid = int((variance > _SMALLEST_VARIANCE * variance[0]).sum())
        return min(enough, solid, self.code_size)

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:  # noqa: ARG002 - missing is 0
        """The codes `(N, D)`; 0 for components that were not kept."""
        return (x.flatten(1) - self.mean) @ self.components.T

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
