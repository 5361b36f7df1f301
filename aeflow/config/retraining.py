"""When a new detector is trained without being asked for, and what it learns from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aeflow.config.base import Section


class Retraining(Section):
    """When a detector is trained anew by itself, and what it then learns from. Changes no score."""

    on_drift: bool = True
    """A lasting change of the data is a reason."""
    on_verdicts: int | None = Field(default=None, ge=1)
    """So many verdicts since the champion was trained are a reason. None: verdicts alone are none."""
    on_age_days: float | None = Field(default=None, gt=0)
    """A champion older than this is a reason. None: age alone is none."""
    lasting_batches: int = Field(default=3, ge=1)
    """A change is lasting once it is seen in so many batches in a row."""
    cool_down_days: float = Field(default=7, ge=0)
    """No second retraining within this time, unless it is forced."""
    veto_hours: float = Field(default=0, ge=0)
    """So long after it was first asked for, a retraining waits for somebody to say no (`aeflow retrain
    CONFIG --veto`); it begins with the first nightly run after."""
    approval: Literal["none", "person"] = "none"
    """person: nothing that changes what is flagged begins by itself: a retraining is only asked for, and begins
    when somebody says so (`aeflow retrain CONFIG --force`), and so is a recalibration (`--recalibrate`)."""
    history_batches: int | None = Field(default=None, ge=1)
    """A retraining learns from the last so many batches that were published, or made the history. None: as
    many as `history` chooses."""
    max_cut_share: float = Field(default=0.9, gt=0, le=1)
    """Where more than this share of the batches since a change is flagged, people have to say by verdicts
    which of it is normal before anything is learnt from it."""
