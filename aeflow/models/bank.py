"""Networks of one family, each for items of its own kind: one for each entity, or for each cohort of them.

Legend: N items, M networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from aeflow.exceptions import InputError
from aeflow.models.autoencoder import Autoencoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from aeflow.models.autoencoder import ItemNetwork


class NetworkBank(Autoencoder):
    """M networks as one. What an item's network is has to be said (`at`): by itself the bank neither encodes nor
    decodes, since codes of different networks mean different things."""

    def __init__(self, members: Sequence[Autoencoder]) -> None:
        super().__init__()
        first = members[0]
        self.item_shape, self.code_size = first.item_shape, first.code_size
        self.view_kinds, self.input_limit, self.options = first.view_kinds, first.input_limit, first.options
        self.members = nn.ModuleList(members)

    def at(self, member: Tensor) -> ItemNetwork:
        """The networks `member` `(N,)`, of the items of a batch."""
        return _Routed(self, member.cpu())

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Refused.

        Raises:
            InputError: always.
        """
        self._refuse()

    def decode(self, code: Tensor) -> Tensor:  # noqa: ARG002
        """Refused.

        Raises:
            InputError: always.
        """
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise InputError(
            f"expected one network, and the detector has {len(self.members)}: their codes cannot be compared",
            where="entities.networks",
            remedy="Train a detector with entities.networks: shared.",
        )


@dataclass(frozen=True)
class _Routed:
    """See `NetworkBank.at`."""

    bank: NetworkBank
    member: Tensor

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        found = self._each(lambda network, *items: network.encode(*items), x, observed, 0)
        assert found is not None
        return found

    def views(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        found = self._each(lambda network, *items: network.views(*items), x, observed, 1)
        assert found is not None
        return found

    def latent_contributions(self, x: Tensor, observed: Tensor | None = None) -> Tensor | None:
        return self._each(lambda network, *items: network.latent_contributions(*items), x, observed, 0)

    def _each(
        self,
        compute: Callable[[Autoencoder, Tensor, Tensor | None], Tensor | None],
        x: Tensor,
        observed: Tensor | None,
        dim: int,
    ) -> Tensor | None:
        """What each network computes of its items, put together along `dim` in the order of the items."""
        numbers = torch.unique(self.member).tolist()
        if len(numbers) == 1:
            return compute(self._network(numbers[0]), x, observed)
        whole: Tensor | None = None
        for number in numbers:
            mine = torch.nonzero(self.member == number).flatten().to(x.device)
            told = None if observed is None else observed.index_select(0, mine)
            part = compute(self._network(number), x.index_select(0, mine), told)
            if part is None:
                return None
            if whole is None:
                shape = [*part.shape]
                shape[dim] = len(x)
                whole = part.new_empty(shape)
            whole.index_copy_(dim, mine, part)
        return whole

    def _network(self, number: int) -> Autoencoder:
        return cast("Autoencoder", self.bank.members[number])
