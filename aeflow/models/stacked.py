"""Dense autoencoder that is trained layer by layer, from the item up, and then as a whole.

Each layer is first the code of an autoencoder of what the layers below it make of the items: Bengio et al.,
"Greedy layer-wise training of deep networks", 2007. Where training spoils its items, each layer learns to
undo it in its own: Vincent et al., "Stacked denoising autoencoders", 2010.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aeflow.config import Dense
from aeflow.models.autoencoder import Autoencoder, Stage
from aeflow.models.dense import DenseAutoencoder, flat_input

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from aeflow.config import Stacked as StackedConfig


class StackedAutoencoder(DenseAutoencoder):
    """The dense autoencoder, its layers trained in stages first."""

    def __init__(self, config: StackedConfig, item_shape: tuple[int, ...]) -> None:
        super().__init__(
            Dense(
                hidden=config.hidden,
                activation=config.activation,
                code_size=config.code_size,
                output=config.output,
            ),
            item_shape,
        )
        self._units = (*config.hidden, config.code_size)
        self._layer_epochs = config.layer_epochs

    def stages(self) -> Iterator[Stage]:
        """One for each layer, which is trained in place: the next one sees the items through it."""
        encoders = [*self.down, self.bottleneck.linear]
        for number, (down, up) in enumerate(zip(encoders, reversed(self.up), strict=True)):
            name, units = f"layer{number + 1}", self._units[number]
            if number == 0:
                yield Stage(
                    name, _Layer(self, down, up, self.item_shape, units, self.output), self._layer_epochs
                )
                continue
            # Hidden units are no image or window, and have no range: their squared errors count.
            layer = _Layer(self, down, up, (self._units[number - 1],), units, self.activation)
            yield Stage(name, layer, self._layer_epochs, partial(self._seen_below, number), loss="mse")

    def _seen_below(self, number: int, x: Tensor, observed: Tensor | None) -> tuple[Tensor, None]:
        return self.hidden_layer(number, x, observed), None


class _Layer(Autoencoder):
    """One layer of a stack as an autoencoder by itself, of items or of the hidden layer below."""

    def __init__(
        self,
        whole: StackedAutoencoder,
        down: nn.Module,
        up: nn.Module,
        item_shape: tuple[int, ...],
        code_size: int,
        output: nn.Module,
    ) -> None:
        super().__init__()
        self.item_shape, self.code_size = item_shape, code_size
        self.down, self.up = down, up
        self.activation, self.output = whole.activation, output

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """What the layer makes of items, before its activation."""
        code: Tensor = self.down(flat_input(x, observed))
        return code

    def decode(self, code: Tensor) -> Tensor:
        """What codes stand for, as the layer below gave it."""
        items: Tensor = self.output(self.up(self.activation(code)))
        return items.reshape(-1, *self.item_shape)
