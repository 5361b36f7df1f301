"""Fully connected autoencoder for small images and windows.

Without hidden layers the code is the one hidden layer; with a linear activation besides, the network finds
the subspace of the principal components: Bourlard and Kamp, "Auto-association by multilayer perceptrons and
singular value decomposition", 1988; Baldi and Hornik, "Neural networks and principal component analysis",
1989. Deep: Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks", 2006.

Weights start so that layers pass signals on in their size, however many there are: Glorot and Bengio,
"Understanding the difficulty of training deep feedforward neural networks", 2010; He et al., "Delving deep
into rectifiers", 2015.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING

from torch import Tensor, nn

from aeflow.models.autoencoder import Trained
from aeflow.models.bottleneck import make_bottleneck
from aeflow.models.series_input import values_and_mask

if TYPE_CHECKING:
    from aeflow.config import Dense as DenseConfig

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "linear": nn.Identity,
}
OUTPUTS: dict[str, type[nn.Module]] = {"linear": nn.Identity, "sigmoid": nn.Sigmoid}
# By how much an activation shrinks what passes; SiLU is close to ReLU.
_GAINS = {"silu": 2**0.5, "relu": 2**0.5, "tanh": 5 / 3, "linear": 1.0}


class DenseAutoencoder(Trained):
    """Layers down to the code, and their mirror image.

    down: from the item to the last hidden layer. up: from the code to the item. A code that is linear in
    what it was made of passes the activation first, as every hidden layer does; one that is squashed or
    drawn already is decoded as it is.
    """

    def __init__(self, config: DenseConfig, item_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.item_shape = tuple(item_shape)
        self.code_size = config.code_size
        self.activation = ACTIVATIONS[config.activation]()
        self.output = OUTPUTS[config.output]()
        hidden = config.hidden
        down = [input_size(self.item_shape), *hidden]
        up = [config.code_size, *reversed(hidden), prod(self.item_shape)]
        self.down = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(down))
        self.bottleneck = make_bottleneck(config.code, down[-1], config.code_size, self.item_shape)
        self.up = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(up))
        for layer in (*self.down, *self.up):
            nn.init.xavier_normal_(layer.weight, _GAINS[config.activation])
            nn.init.zeros_(layer.bias)

    def features(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The last hidden layer `(N, F)`; without one, what goes into the first."""
        return self.hidden_layer(len(self.down), x, observed)

    def hidden_layer(self, number: int, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Hidden layer 1, 2, ... of items `(N, *item_shape)`, as `(N, units)`; 0: what goes into the first."""
        found = flat_input(x, observed)
        for layer in self.down[:number]:
            found = self.activation(layer(found))
        return found

    def decode(self, code: Tensor) -> Tensor:
        """The items `(N, *item_shape)` that codes stand for."""
        found = self.activation(code) if self.bottleneck.linear_codes else code
        for layer in self.up[:-1]:
            found = self.activation(layer(found))
        items: Tensor = self.output(self.up[-1](found))
        return items.reshape(-1, *self.item_shape)


def flat_input(x: Tensor, observed: Tensor | None) -> Tensor:
    """What the first layer reads of items, `(N, input_size)`: their values, and of windows their mask."""
    return (values_and_mask(x, observed) if x.ndim == 3 else x).flatten(1)


def input_size(item_shape: tuple[int, ...]) -> int:
    """The numbers that `flat_input` makes of an item."""
    return prod(item_shape) * (2 if len(item_shape) == 2 else 1)
