"""Auto-associative kernel regression: a window from the training windows that are like it, in closed form.

What is expected of a window is the mean of those that were kept, each weighted by how near it is (Nadaraya and
Watson's regression of the window on itself; Hines, Garvey and Seibert, "Technical review of on-line monitoring
techniques for performance assessment", NUREG/CR-6895, 2008). The weights fall off smoothly, so that rounding
never decides between two neighbours; far from all that was seen the nearest alone counts.

Legend: N items, M windows that are kept, F = T C numbers of a window.
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

    from aeflow.config import KernelRegression as KernelRegressionConfig

# Where kept windows are the same, their distance says nothing: a share of the variance of a value stands in.
_LEAST_WIDTH = 1e-4
_ROWS_AT_ONCE = 256


class KernelRegression(ClosedForm):
    """The kept windows `(M, F)`, less their mean; those of `kept` alone count, since a state dict has to fit
    before anything is known of the items. The code of a window is what is expected of it."""

    mean: Tensor
    windows: Tensor
    kept: Tensor
    width: Tensor

    def __init__(self, config: KernelRegressionConfig, item_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.item_shape = tuple(item_shape)
        self.code_size = prod(item_shape)
        self._bandwidth = config.bandwidth
        self.register_buffer("mean", torch.zeros(self.code_size))
        self.register_buffer("windows", torch.zeros(config.max_windows, self.code_size))
        self.register_buffer("kept", torch.zeros(config.max_windows, dtype=torch.bool))
        self.register_buffer("width", torch.ones(()))

    def fit_closed_form(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Keep windows evenly spread over all, and learn how far apart neighbours are: half of them are nearer to
        the next one than `bandwidth` 1.

        Raises:
            InputError: fewer than two items, or an iterator that can be gone through only once.
        """
        if iter(batches) is batches:
            raise InputError("expected batches that can be gone through more than once, got an iterator")
        items = sum(len(x) for x, _ in batches)
        if items < 2:
            raise InputError(f"expected at least two items to keep, got {items}", remedy="Give more history.")
        count = min(items, len(self.windows))
        wanted = torch.arange(count) * items // count
        chosen, begin = [], 0
        for x, _ in batches:
            mine = wanted[(wanted >= begin) & (wanted < begin + len(x))] - begin
            chosen.append(x.flatten(1)[mine.to(x.device)].double())
            begin += len(x)
        found = torch.cat(chosen)
        mean = found.mean(dim=0)
        centered = found - mean
        self.mean.copy_(mean)
        self.windows.zero_()[:count] = centered.to(self.windows)
        self.kept.zero_()[:count] = True
        least = _LEAST_WIDTH * centered.square().sum(dim=1).mean().sqrt()
        apart = _next_one(centered).median() * self._bandwidth
        self.width.copy_(torch.maximum(apart, least).clamp_min(torch.finfo(torch.float32).eps))

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """What is expected of the items, `(N, F)`. Distances are over what was observed."""
        # Where data repeat with little noise, distances are small differences of large squares: in single
        # precision their rounding, which hangs on how many items go together, would decide the weights.
        exact = torch.float32 if x.device.type == "mps" else torch.float64  # MPS has no other
        windows = self.windows.to(exact)
        centered = (x.flatten(1) - self.mean).to(exact)
        if observed is None:
            squares = windows.square().sum(dim=1)
        else:
            seen = observed.flatten(1).to(exact)
            centered = centered * seen
            squares = seen @ windows.square().T
        # The item's own square is the same for all windows, and falls out of the weights.
        far = squares - 2 * centered @ windows.T
        nearness = (-far / (2 * self.width.to(exact).square())).masked_fill(~self.kept, -torch.inf)
        return (self.mean + torch.softmax(nearness, dim=1) @ windows).to(x.dtype)

    def decode(self, code: Tensor) -> Tensor:
        """The code in the shape of an item."""
        return code.reshape(-1, *self.item_shape)


def _next_one(windows: Tensor) -> Tensor:
    """How far each of the windows `(M, F)` is from the nearest other one, `(M,)`."""
    nearest = []
    for begin in range(0, len(windows), _ROWS_AT_ONCE):
        far = torch.cdist(windows[begin : begin + _ROWS_AT_ONCE], windows)
        own = torch.arange(len(far), device=far.device)
        far[own, own + begin] = torch.inf
        nearest.append(far.min(dim=1).values)
    return torch.cat(nearest)
