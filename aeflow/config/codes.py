"""What stands between encoder and decoder: one mechanism of every family that is trained by gradient descent."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from aeflow.config.base import Section


class PlainCode(Section):
    """The code as the encoder gives it: only its size holds it back."""

    kind: Literal["plain"] = "plain"


class SparseCode(Section):
    """A code of which only a few numbers are active at a time: it may be larger than the item."""

    kind: Literal["sparse"] = "sparse"
    penalty: Literal["l1", "kl"] = "l1"
    """l1: the mean size of the code's numbers, each in units of its own root mean square over a training
    step; kl: numbers are squashed to 0..1, and the share of items in which each is active is drawn towards
    `active_share`."""
    weight: float = Field(default=1.0, ge=0)
    """What a penalty of 1 weighs beside the reconstruction error, as a share of it."""
    active_share: float = Field(default=0.05, gt=0, lt=1)
    """With penalty: kl."""


class VariationalCode(Section):
    """A code that is a distribution, held to the standard normal one: items can be drawn from it."""

    kind: Literal["variational"] = "variational"
    beta: float = Field(default=1.0, ge=0)
    """Weight of the divergence from the normal distribution. 1: the variational autoencoder; more: the
    numbers of the code come apart, and reconstructions blur."""
    warm_up_epochs: int = Field(default=5, ge=0)
    """The weight rises from 0 to beta over so many epochs, lest the code be given up at once."""
    draws: int = Field(default=8, ge=1, le=256)
    """Codes drawn of each item when it is scored. They are the same for every item: scores repeat."""
    score: Literal["reconstruction_probability", "elbo"] = "reconstruction_probability"
    """reconstruction_probability: the error, averaged over the draws; elbo: and the divergence, as in the
    evidence lower bound."""


Code = Annotated[PlainCode | SparseCode | VariationalCode, Field(discriminator="kind")]
