"""Several networks of the same items, each with a code of its own, whose scores are fused.

What makes one score of theirs is `detector.fusing`: only there is known how rare an error of each is. By itself the
whole is the mean of its members: what they expect, and their errors.

Legend: N items, M members, D numbers of a code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from aeflow.models.autoencoder import Autoencoder, Comparison
from aeflow.models.bank import NetworkBank

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aeflow.config import ErrorKind
    from aeflow.numerics.fusion import FusionRule


class FusedNetwork(Autoencoder):
    """M networks as one: the code is theirs side by side. They are trained each by itself (`training.loop`)."""

    def __init__(self, fused: Sequence[Autoencoder], rule: FusionRule) -> None:
        super().__init__()
        self.rule = rule
        self.item_shape = fused[0].item_shape
        self.code_size = sum(one.code_size for one in fused)
        self.input_limit = max(one.input_limit for one in fused)
        self.fused = nn.ModuleList(fused)

    def networks(self) -> tuple[Autoencoder, ...]:
        """The members."""
        return cast("tuple[Autoencoder, ...]", tuple(self.fused))

    def seen_by(self, member: Autoencoder) -> Callable[[Tensor], Tensor]:
        """Items of the whole as a member takes them: within its own limit."""
        limit = member.input_limit
        if limit >= self.input_limit:
            return lambda x: x
        return lambda x: x.clamp(-limit, limit)

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The codes of the members `(N, D)`, side by side."""
        return torch.cat([one.encode(self.seen_by(one)(x), observed) for one in self.networks()], dim=1)

    def decode(self, code: Tensor) -> Tensor:
        """The mean of what the members make of their parts of the codes."""
        parts = torch.split(code, [one.code_size for one in self.networks()], dim=1)
        items = [one.decode(part) for one, part in zip(self.networks(), parts, strict=True)]
        return torch.stack(items).mean(dim=0)

    def views(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """What each member expects, `(M, N, *item_shape)`: the mean of its own views."""
        return torch.stack([one.views(self.seen_by(one)(x), observed).mean(dim=0) for one in self.networks()])

    def compare(self, x: Tensor, observed: Tensor | None, error: ErrorKind) -> Comparison:
        """The mean of what the members expect and of their errors."""
        found = [one.compare(self.seen_by(one)(x), observed, error) for one in self.networks()]
        return Comparison(*(torch.stack(part).mean(dim=0) for part in zip(*found, strict=True)))


def fused_networks(network: Autoencoder) -> tuple[Autoencoder, ...]:
    """The M networks whose scores make the score of `network`, which is itself where nothing is fused. Of a bank of
    fused networks M banks, each of one member of all of them."""
    if isinstance(network, FusedNetwork):
        return network.networks()
    if isinstance(network, NetworkBank):
        of_each = [fused_networks(cast("Autoencoder", one)) for one in network.members]
        if len(of_each[0]) > 1:
            return tuple(NetworkBank(column).eval() for column in zip(*of_each, strict=True))
    return (network,)


def fusion_rule(network: Autoencoder) -> FusionRule | None:
    """By what rule the networks of `network` are fused; None where there is nothing to fuse."""
    one = network.members[0] if isinstance(network, NetworkBank) else network
    return one.rule if isinstance(one, FusedNetwork) else None
