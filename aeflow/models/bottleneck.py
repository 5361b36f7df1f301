"""From features to the code: plain, sparse or a distribution. See `aeflow.config.codes`.

Legend: N items, F features, D numbers of a code, K draws.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aeflow.config import PlainCode, SparseCode

if TYPE_CHECKING:
    from aeflow.config import Code, VariationalCode

# Beyond these a standard deviation is 0 or infinite in float32 gradients for all that matters.
_LEAST_LOG_VARIANCE, _MOST_LOG_VARIANCE = -20.0, 10.0

# A number of the code that is always 0 has no scale.
_LEAST_SQUARE = 1e-12


class Bottleneck(nn.Module, ABC):
    """Makes codes of features.

    linear_codes: whether they are linear in the features, neither squashed nor drawn. warm_up_epochs: how
    long training takes to reach its full objective. divergence_counts: whether `divergence` is a part of
    the score.
    """

    linear_codes: bool = True
    warm_up_epochs: int = 0
    divergence_counts: bool = False

    def begin_epoch(self, epoch: int) -> None:
        """Training begins epoch 1, 2, ...: for what is warmed up."""

    @abstractmethod
    def code(self, features: Tensor) -> Tensor:
        """The codes `(N, D)` of features `(N, F)`, the same each time."""

    @abstractmethod
    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The codes to decode `(N, D)`, drawn while training where they are distributions; and a scalar
        penalty, as a share of the reconstruction error."""

    def draws(self, features: Tensor) -> Tensor:
        """Codes `(K, N, D)` by which items are scored; K is 1 where a code is one point."""
        return self.code(features).unsqueeze(0)

    def divergence(self, features: Tensor) -> Tensor | None:  # noqa: ARG002
        """How far each code lies from what is normal, `(N,)`; None where it does not count in the score. See
        `Autoencoder.latent_contributions`."""
        return None


class PlainBottleneck(Bottleneck):
    """One linear layer."""

    def __init__(self, features: int, code_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, code_size)

    def code(self, features: Tensor) -> Tensor:
        """The codes `(N, D)`."""
        found: Tensor = self.linear(features)
        return found

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The codes, and no penalty."""
        return self.code(features), features.new_zeros(())


class SparseBottleneck(Bottleneck):
    """One linear layer under an L1 penalty, or squashed under the divergence of its mean activity from
    the wanted one. Ng, "Sparse autoencoder", CS294A lecture notes, 2011.

    L1 in units of each number's root mean square: Hoyer, "Non-negative matrix factorization with sparseness
    constraints", 2004. A plain L1 norm is made small by shrinking the code and enlarging the decoder, which
    leaves it as dense as it was.
    """

    def __init__(self, features: int, code_size: int, config: SparseCode) -> None:
        super().__init__()
        self.linear = nn.Linear(features, code_size)
        self.linear_codes = config.penalty == "l1"
        self._config = config

    def code(self, features: Tensor) -> Tensor:
        """The codes `(N, D)`; in 0..1 with the KL penalty."""
        found: Tensor = self.linear(features)
        return found.sigmoid() if self._config.penalty == "kl" else found

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The codes, and their penalty."""
        code = self.code(features).float()
        if self._config.penalty == "l1":
            typical = (code.square().mean(dim=0) + _LEAST_SQUARE).sqrt()
            return code, self._config.weight * (code.abs().mean(dim=0) / typical).mean()
        wanted = self._config.active_share
        active = code.mean(dim=0).clamp(1e-6, 1 - 1e-6)
        divergence = wanted * (wanted / active).log() + (1 - wanted) * ((1 - wanted) / (1 - active)).log()
        return code, self._config.weight * divergence.mean()


class VariationalBottleneck(Bottleneck):
    """Mean and log-variance heads, and reparametrised draws.

    Kingma and Welling, "Auto-encoding variational Bayes", 2014; beta: Higgins et al., "beta-VAE", 2017.
    The variance of the decoder's noise is the mean squared error itself, the most likely one: Rybkin,
    Daniilidis and Levine, "Simple and effective VAE training with calibrated decoders", 2021. In units of
    the error the divergence then weighs 2 KL / n, n the numbers of an item.
    """

    linear_codes = False
    noise: Tensor

    def __init__(
        self, features: int, code_size: int, item_shape: tuple[int, ...], config: VariationalCode
    ) -> None:
        super().__init__()
        self.mean = nn.Linear(features, code_size)
        self.log_variance = nn.Linear(features, code_size)
        self._config = config
        self.warm_up_epochs = config.warm_up_epochs
        self.divergence_counts = config.score == "elbo"
        self._numbers = prod(item_shape)
        self._weight = config.beta
        # Drawn once and kept with the weights, so that a score does not change from run to run.
        self.register_buffer("noise", torch.randn(config.draws, 1, code_size))

    def begin_epoch(self, epoch: int) -> None:
        """The weight of the divergence rises to beta."""
        steps = self._config.warm_up_epochs
        self._weight = self._config.beta * min(1.0, (epoch - 1) / steps if steps else 1.0)

    def code(self, features: Tensor) -> Tensor:
        """The mean codes `(N, D)`."""
        found: Tensor = self.mean(features)
        return found

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """A code drawn for each item while training, else the mean; and the divergence of all."""
        mean, log_variance = self.distribution(features)
        weight = self._weight if self.training else self._config.beta
        penalty = weight * 2 * kl_divergence(mean, log_variance).mean() / self._numbers
        if self.training:
            mean = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return mean, penalty

    def distribution(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the codes, `(N, D)` each, in float32 whatever the layers multiply in: the
        divergence is a small difference of large numbers."""
        log_variance = self.log_variance(features).float()
        return self.mean(features).float(), log_variance.clamp(_LEAST_LOG_VARIANCE, _MOST_LOG_VARIANCE)

    def draws(self, features: Tensor) -> Tensor:
        """Codes `(K, N, D)`, by the same noise for every item."""
        mean, log_variance = self.distribution(features)
        return mean + self.noise * (0.5 * log_variance).exp()

    def divergence(self, features: Tensor) -> Tensor | None:
        """For the evidence lower bound. Of the mean error in units of the noise's variance and of this over
        D, n / 2 times the sum is the negative bound, but for a constant."""
        if self._config.score != "elbo":
            return None
        return 2 * kl_divergence(*self.distribution(features)) * self.mean.out_features / self._numbers


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence `(N,)` in nats of normal distributions `(N, D)` from the standard one."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)


def make_bottleneck(code: Code, features: int, code_size: int, item_shape: tuple[int, ...]) -> Bottleneck:
    """The bottleneck that `code` asks for, of `features` numbers in and `code_size` out."""
    if isinstance(code, PlainCode):
        return PlainBottleneck(features, code_size)
    if isinstance(code, SparseCode):
        return SparseBottleneck(features, code_size, code)
    return VariationalBottleneck(features, code_size, item_shape, code)
