"""What is measured of one batch for the decision on it."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_DISTANCE = 0.15
"""A Kolmogorov-Smirnov distance below this may be significant and is yet no change that matters: so much
moves between two shifts of one plant."""


@dataclass(frozen=True)
class Shift:
    """How far one quantity lies from the history; see `numerics.drift.Shifts`.

    p_value: adjusted for all channels and entities that were tested.
    entities: how many have moved; the figures are those of the one that moved most.
    leads: of the readings of that entity, the share in which this channel has the largest error; None where
        the quantity is no channel.
    """

    name: str
    ks: float
    psi: float
    wasserstein: float
    median: float
    p_value: float
    entities: int = 1
    leads: float | None = None

    def moved(self, rate: float) -> bool:
        """Whether the change is real at this false-discovery rate, and large enough to matter."""
        return self.p_value <= rate and self.ks >= LEAST_DISTANCE


@dataclass(frozen=True)
class Drift:
    """What was measured of one batch against the history of its detector.

    inputs: of each channel (images: brightness, contrast and sharpness of each band).
    latent: of each direction of the codes; errors: of the scores that are not beyond the cut.
    beyond: share of the scored items beyond the cut of single items; expected_beyond: what was promised.
    entities: of the batch; moved_entities: with a channel or an error that moved; new_entities: unknown to
        the detector. 1, 0 or 1, and 0 for images.
    """

    inputs: tuple[Shift, ...]
    latent: tuple[Shift, ...]
    errors: Shift | None
    beyond: float
    expected_beyond: float
    entities: int
    moved_entities: int
    new_entities: int


@dataclass(frozen=True)
class Night:
    """What is known of one published batch. drift: None where its detector measured none.

    expected_flags: by the promise; None with a false-discovery rate.
    grades: of the channels that are not healthy: (channel, MEDIUM or LOW, cause).
    true_flags, false_flags: of its flags, how many people found abnormal, and normal.
    """

    batch: str
    items: int
    flags: int
    flagged_items: int
    expected_flags: float | None
    drift: Drift | None = None
    grades: tuple[tuple[str, str, str], ...] = ()
    true_flags: int = 0
    false_flags: int = 0

    @property
    def flagged_share(self) -> float:
        """Of the scored items."""
        return self.flagged_items / max(self.items, 1)
