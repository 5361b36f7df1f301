"""Items that nobody saw: draws from the prior of a variational code, ways from one item to another, and what
each number of a code stands for.

Legend: N items, D numbers of a code, S steps, K numbers that are varied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from aeflow.exceptions import DetectorError
from aeflow.models.autoencoder import Trained
from aeflow.models.bottleneck import VariationalBottleneck

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from torch import Tensor

    from aeflow.models.autoencoder import Autoencoder

_AT_ONCE = 256
# Nearly all of the standard normal distribution, to which the codes are held.
_FARTHEST = 2.5


def variational_bottleneck(network: Autoencoder, *, where: str) -> tuple[Trained, VariationalBottleneck]:
    """The network and its bottleneck, which makes distributions.

    Raises:
        DetectorError: its codes are no distributions: nothing says which of them items may have.
    """
    if isinstance(network, Trained) and isinstance(network.bottleneck, VariationalBottleneck):
        return network, network.bottleneck
    raise DetectorError(
        "expected a variational code, whose distribution is known; the detector has none",
        where=where,
        remedy="Set model.code to {kind: variational} in a family that has it, and train: aeflow train.",
    )


def prior_codes(count: int, code_size: int, *, seed: int) -> NDArray[np.float32]:
    """Codes `(N, D)` drawn from the standard normal distribution; the same seed draws the same."""
    return np.random.default_rng(seed).standard_normal((count, code_size)).astype(np.float32)


def codes_between(one: NDArray[np.float32], other: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Codes `(S, D)` in even steps from one `(D,)` to the other, both included."""
    share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    return ((1 - share) * one + share * other).astype(np.float32)


def codes_along(
    numbers: NDArray[np.int64], code_size: int, steps: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Codes `(K, S, D)` in which one of the numbers `(K,)` goes from -2.5 to 2.5 and all others are 0, the
    mean of the prior; and the values `(S,)` it takes."""
    values = np.linspace(-_FARTHEST, _FARTHEST, steps, dtype=np.float32)
    codes = np.zeros((numbers.size, steps, code_size), dtype=np.float32)
    codes[np.arange(numbers.size), :, numbers] = values
    return codes, values


def mean_divergence(
    network: Trained,
    bottleneck: VariationalBottleneck,
    items: Iterable[tuple[Tensor, Tensor | None]],
) -> NDArray[np.float64]:
    """The KL divergence in nats `(D,)` of each number of the code from the prior, the mean over batches of
    items and their masks; zeros of no items."""
    total, count = np.zeros(network.code_size), 0
    with torch.inference_mode():
        for x, observed in items:
            mean, log_variance = bottleneck.distribution(network.features(x, observed))
            parts = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
            total += parts.double().sum(dim=0).cpu().numpy()
            count += len(x)
    return total / max(count, 1)


def decode_codes(
    network: Autoencoder, codes: NDArray[np.float32], *, device: torch.device
) -> NDArray[np.float32]:
    """The items `(..., *item_shape)` that codes `(..., D)` stand for."""
    flat = torch.from_numpy(codes.reshape(-1, codes.shape[-1]))
    with torch.inference_mode():
        parts = [network.decode(some.to(device)).float().cpu() for some in torch.split(flat, _AT_ONCE)]
    return torch.cat(parts).numpy().reshape(*codes.shape[:-1], *network.item_shape)
