"""What is measured of one batch for the decision on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOVED_RATE = 0.01
"""The false-discovery rate, over all channels and entities of a batch, at which one counts as moved."""
LEAST_DISTANCE = 0.15
"""A Kolmogorov-Smirnov distance below this may be significant and is yet no change that matters: so much
moves between two shifts of one plant."""


def is_moved(p_value: NDArray[np.float64], ks: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a change is real and large enough to matter; NaN is not. p_value: adjusted for all tests."""
    return np.asarray((p_value <= MOVED_RATE) & (ks >= LEAST_DISTANCE))


@dataclass(frozen=True)
class Shift:
    """How far one quantity lies from the history; see `numerics.drift.Shifts`.

    p_value: adjusted for all channels and entities that were tested.
    entities: in how many it has moved; the figures are those of the one in which it moved most.
    leads: of the readings of that entity, the share in which this channel has the largest error; usual_leads:
        the same in the history. None where the quantity is no channel.
    """

    name: str
    ks: float
    psi: float
    wasserstein: float
    median: float
    p_value: float
    entities: int
    leads: float | None = None
    usual_leads: float | None = None

    @property
    def moved(self) -> bool:
        """Whether it has moved in any entity."""
        return self.entities > 0


@dataclass(frozen=True)
class Drift:
    """What was measured of one batch against the history of its detector.

    inputs: of each channel; of images of brightness, contrast and sharpness of each band.
    latent: of each direction of the codes.
    entities: of the batch; moved_entities: in which any input moved; new_entities: unknown to the detector.
        1, 0 or 1, and 0 for images.
    """

    inputs: tuple[Shift, ...]
    latent: tuple[Shift, ...]
    entities: int
    moved_entities: int
    new_entities: int


@dataclass(frozen=True)
class ErrorRise:
    """The bulk of the scores lies higher than the calibration's (`numerics.exchangeability`): of the calibration
    scores the share `expected` lies above a level, of the batch's the share `came`. entities: how many of them
    moved by themselves; whole: whether all items together did."""

    expected: float
    came: float
    entities: int = 0
    whole: bool = True


@dataclass(frozen=True)
class Night:
    """What is known of one published batch.

    expected_flags: by the promise; None with a false-discovery rate.
    drift: None where its detector measured none. errors: None where the scores are as the calibration's.
    grades: of the channels that are not healthy: (channel, MEDIUM or LOW, cause).
    true_flags, false_flags: of its flags, how many people found abnormal, and normal.
    severe_flags: of its flags, those of severity 90 or more, which chance does not bring; at most twenty are counted.
    most_flags: up to so many are brought by chance with 95 % probability; None with a false-discovery rate.
    """

    batch: str
    items: int
    flags: int
    flagged_items: int
    expected_flags: float | None
    drift: Drift | None = None
    errors: ErrorRise | None = None
    grades: tuple[tuple[str, str, str], ...] = ()
    true_flags: int = 0
    false_flags: int = 0
    severe_flags: int = 0
    most_flags: int | None = None

    @property
    def flagged_share(self) -> float:
        """Of the scored items."""
        return self.flagged_items / max(self.items, 1)
