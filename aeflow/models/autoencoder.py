"""The contract of every model family.

An item is an image `(C, H, W)` in 0..1 or a scaled window `(T, C)`. Networks take a batch of items
`(N, *item_shape)` float32 and, for what was observed, a bool tensor of the same shape (None: all of
it); unobserved values are 0. They give back what they expect, of the same shape.

Legend: N items, D numbers of a code, T points, C channels, H x W pixels.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from aeflow.exceptions import InputError
from aeflow.models.errors import error_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aeflow.config import Corruption, ErrorKind
    from aeflow.models.bottleneck import Bottleneck

# Of what is told of an objective: its exponential is finite.
_LARGEST_PENALTY = 50.0


class Reconstruction(NamedTuple):
    """items: `(N, *item_shape)`, what was expected. code: `(N, D)`. penalty: scalar, what the code costs
    in training; see `Autoencoder.objective`."""

    items: Tensor
    code: Tensor
    penalty: Tensor


class Comparison(NamedTuple):
    """expected, error: `(N, *item_shape)` each; errors are not negative."""

    expected: Tensor
    error: Tensor


class ItemNetwork(Protocol):
    """What looks at the items of a batch; see `Autoencoder`."""

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The codes `(N, D)`."""

    def views(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """What is expected of each item, `(V, N, *item_shape)`."""

    def latent_contributions(self, x: Tensor, observed: Tensor | None = None) -> Tensor | None:
        """Parts of a statistic of the code, `(N, *item_shape)`."""


class Autoencoder(nn.Module, ABC):
    """A network that reconstructs items through a code.

    `item_shape` and `code_size` (D) are set by every family. `options` are those it was built from, as
    JSON: a checkpoint of other options is not its own. `loss_weight`, of the item's shape or one that
    broadcasts to it, says what counts in training; None: everything alike. The
    `views` are of `view_kinds` kinds, equally many of each, one kind after the other; errors against one
    kind may be far larger than against another.
    """

    item_shape: tuple[int, ...]
    code_size: int
    options: str = ""
    view_kinds: int = 1
    input_limit: float = 8.0
    loss_weight: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        # A buffer: it lies where the network lies.
        self.register_buffer("loss_weight", None, persistent=False)

    def at(self, member: Tensor) -> ItemNetwork:  # noqa: ARG002
        """What looks at items of which `member` `(N,)` says which network is theirs: this one, where there is
        no other."""
        return self

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

    def forward_spoiled(self, shown: Tensor, told: Tensor | None, clean: Tensor) -> Reconstruction:  # noqa: ARG002
        """`forward` of what training shows of items, beside the `clean` ones (the same tensor where nothing
        is spoiled): for a penalty that compares with those."""
        found: Reconstruction = self(shown, told)
        return found

    def stages(self) -> Iterable[Stage]:
        """What is trained before the network itself, one after the other; each may use the one before."""
        return ()

    def begin_epoch(self, epoch: int) -> None:
        """Training begins epoch 1, 2, ...: for what is warmed up."""

    def warm_up_epochs(self) -> int:
        """So many epochs pass before training may stop for want of progress."""
        return 0

    def objective(self, found: Reconstruction, error: Tensor) -> Tensor:
        """What training minimises, of the mean reconstruction error of a batch: log error + penalty, so that
        the penalty weighs as much for items of any scale. Told as error x exp(penalty), in the unit of the
        error; the gradient is that of the logarithm times the error, lest a large penalty make it huge."""
        minimised = error + error.detach() * found.penalty
        told = error * found.penalty.clamp_max(_LARGEST_PENALTY).exp()
        return minimised + (told - minimised).detach()

    def views(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """What is expected of each item, in one way or several, `(V, N, *item_shape)`: an item's error is
        the mean of its errors against them."""
        items: Tensor = self(x, observed).items
        return items.unsqueeze(0)

    def compare(self, x: Tensor, observed: Tensor | None, error: ErrorKind) -> Comparison:
        """Items beside what is expected of them, and where they differ."""
        views = self.views(x, observed)
        if len(views) == 1:
            return Comparison(views[0], error_map(error, views[0], x))
        errors = torch.stack([error_map(error, view, x) for view in views])
        return Comparison(views.mean(dim=0), errors.mean(dim=0))

    def latent_contributions(self, x: Tensor, observed: Tensor | None = None) -> Tensor | None:  # noqa: ARG002
        """Non-negative parts `(N, *item_shape)` that sum per item to a statistic of the code, of which a D-th
        is added to the mean error in units of its spread; None where the family has no such statistic."""
        return None


@dataclass(frozen=True)
class Stage:
    """A network that is trained before another, on what `view` makes of the items and their mask.

    name: of the stage, for its checkpoint. epochs: at most so many passes. corruption: how its items are
    spoiled; None: as those of the network itself, of which items of another shape take those that spoil
    value by value. loss: None: that of the network itself.
    """

    name: str
    network: Autoencoder
    epochs: int
    view: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]] = lambda x, observed: (x, observed)
    corruption: tuple[Corruption, ...] | None = None
    loss: ErrorKind | None = None


class Trained(Autoencoder):
    """A family that is trained by gradient descent, its code made by a bottleneck."""

    bottleneck: Bottleneck

    @abstractmethod
    def features(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """What the bottleneck makes the codes of, `(N, F)`."""

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The codes `(N, D)` of items; their means where codes are distributions."""
        return self.bottleneck.code(self.features(x, observed))

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Reconstruction:
        """Encode and decode; codes are drawn while training where they are distributions."""
        code, penalty = self.bottleneck(self.features(x, observed))
        return Reconstruction(self.decode(code), code, penalty)

    def begin_epoch(self, epoch: int) -> None:
        """Warm up what the bottleneck warms up."""
        self.bottleneck.begin_epoch(epoch)

    def warm_up_epochs(self) -> int:
        """Those of the bottleneck."""
        return self.bottleneck.warm_up_epochs

    def views(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The decoded draws of each item's code, `(V, N, *item_shape)`."""
        draws = self.bottleneck.draws(self.features(x, observed))
        return self.decode(draws.flatten(0, 1)).reshape(len(draws), *x.shape)

    def latent_contributions(self, x: Tensor, observed: Tensor | None = None) -> Tensor | None:
        """The divergence of the code, the same part for every value; None where it does not count."""
        if not self.bottleneck.divergence_counts:
            return None  # the encoder is not run again for nothing
        found = self.bottleneck.divergence(self.features(x, observed))
        assert found is not None
        share = found / prod(self.item_shape)
        return share.reshape(-1, *[1] * len(self.item_shape)).expand(-1, *self.item_shape)


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
