"""The contract of every model family.

An item is an image `(C, H, W)` in 0..1 or a scaled window `(T, C)`. Networks take a batch of items
`(N, *item_shape)` float32 and, for what was observed, a bool tensor of the same shape (None: all of
it); unobserved values are 0. They give back what they expect, of the same shape.

Legend: N items, D numbers of a code, T points, C channels, H x W pixels.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from aeflow.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Reconstruction(NamedTuple):
    """items: `(N, *item_shape)`, what was expected. code: `(N, D)`. penalty: scalar, what the family
    adds to the training loss; 0 for most."""

    items: Tensor
    code: Tensor
    penalty: Tensor


class Autoencoder(nn.Module, ABC):
    """A network that reconstructs items through a code.

    `item_shape` and `code_size` (D) are set by every family. `options` are those it was built from, as
    JSON: a checkpoint of other options is not its own.
    """

    item_shape: tuple[int, ...]
    code_size: int
    options: str = ""

    @abstractmethod
    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The codes `(N, D)` of items `(N, *item_shape)`."""

    @abstractmethod
    def decode(self, code: Tensor) -> Tensor:
        """The items `(N, *item_shape)` that codes `(N, D)` stand for."""

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Reconstruction:
        """Encode and decode."""
        code = self.encode(x, observed)
        return Reconstruction(self.decode(code), code, x.new_zeros(()))

    def latent_contributions(self, x: Tensor, observed: Tensor | None = None) -> Tensor | None:  # noqa: ARG002
        """Non-negative parts `(N, *item_shape)` that sum per item to a statistic of the code which is D
        on average over normal items; None where the family has no such statistic."""
        return None


class ClosedForm(Autoencoder):
    """A family that is fitted in one go instead of by gradient descent."""

    @abstractmethod
    def fit_closed_form(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Fit to batches of (items, observed), which may be gone through several times.

        Raises:
            InputError: too few items.
        """


def check_items(x: Tensor, item_shape: tuple[int, ...]) -> None:
    """Refuse what no network should see. For the doors by which items come in: `forward` itself does
    not call it, since what depends on values cannot be exported.

    Raises:
        InputError: another shape or type, or a value that is not finite.
    """
    if x.ndim != len(item_shape) + 1 or tuple(x.shape[1:]) != item_shape:
        expected = " x ".join(map(str, item_shape))
        raise InputError(
            f"expected items of shape (N, {expected}), got {tuple(x.shape)}",
            remedy="Prepare them with the detector's own config.",
        )
    if x.dtype != torch.float32:
        raise InputError(f"expected float32 items, got {x.dtype}", remedy="Convert them with .float().")
    if not torch.isfinite(x).all():
        broken = int((~torch.isfinite(x)).sum())
        raise InputError(
            f"expected finite items, got {broken} NaN or infinite values",
            remedy="Set missing values to 0 and mark them in `observed`.",
        )


def parameter_count(network: nn.Module) -> int:
    """The number of trained values; for closed-form families the fitted ones."""
    trained = sum(p.numel() for p in network.parameters())
    return trained or sum(b.numel() for b in network.buffers())


def flops_per_item(network: Autoencoder) -> int:
    """Floating point operations of the matrix products and convolutions for one item; all else is
    small beside them. Nothing is computed: the network is run on shapes alone."""
    shapes = copy.deepcopy(network).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes(torch.empty(1, *network.item_shape, device="meta"))
    return int(counter.get_total_flops())
