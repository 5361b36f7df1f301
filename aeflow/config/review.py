"""What verdicts change."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aeflow.config.base import Section


class Review(Section):
    """What verdicts of people change in later nights."""

    suppression: Literal["off", "downgrade", "suppress"] = "suppress"
    """What becomes of a flag like one that was called false: suppress: it is listed apart and counts as no
    flag; downgrade: it counts, with the severity of the cut; off: nothing."""
    expiry_days: float = Field(default=90, gt=0)
    """So long after it was given a verdict bears on flags like the one it was given on."""
    reach: float = Field(default=1.0, gt=0)
    """How far apart two codes may lie to be alike, in units of the distance within which 95 % of the pairs of
    normal items lie, which the detector has learnt."""
    least_agreement: float = Field(default=0.8, ge=0, le=1)
    """Series: the least cosine between what the channels contributed, up or down, for them to be the same
    channels. Images: for the bands."""
    least_overlap: float = Field(default=0.5, ge=0, le=1)
    """Images: the least share of the smaller worst box that lies in the other."""
    most_severe: float = Field(default=2.0, ge=1)
    """Never suppressed is a flag whose score is more than so many times that of the false one."""
    cut: Literal["fixed", "rise", "rise_and_fall"] = "fixed"
    """Whether verdicts move the cut between two trainings, so that the calibration and the reviewed nights
    together keep the promise: rise: where more flags were called false than promised; rise_and_fall: also down,
    where it was fewer. Not with a false-discovery rate."""
    most_shift: float = Field(default=4.0, ge=1)
    """The p-value of the cut becomes at most so many times lower or higher by verdicts."""
