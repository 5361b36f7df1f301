"""Flags that people called true or false, as another detector scores them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aeflow.data.periods import to_us
from aeflow.numerics.metrics import auroc
from aeflow.numerics.paired import Difference, auroc_differences, difference_of
from aeflow.scoring.seen_again import see_picture, see_window
from aeflow.store.verdicts import Standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from aeflow.detector import Detector
    from aeflow.report.reviewed import ReviewedFlag

_NEVER = -(2**62)
FEWEST = 5
"""With fewer true or fewer false flags nothing is told."""


def score_judged(
    detector: Detector, flags: Sequence[ReviewedFlag], *, device: torch.device
) -> NDArray[np.float32]:
    """The score of each flag `(F,)`; NaN where nothing was kept of it that this detector can take, or where its
    score hangs on more than the one window that is kept."""
    detector.network.to(device)
    return np.array([_score(detector, flag, device) for flag in flags], dtype=np.float32)


def decided(flags: Sequence[ReviewedFlag]) -> list[ReviewedFlag]:
    """Those of which people agree that they are true, or false."""
    return [flag for flag in flags if flag.standing in {Standing.TRUE, Standing.FALSE}]


def unseen_by(flags: Sequence[ReviewedFlag], detectors: Sequence[Detector]) -> list[ReviewedFlag]:
    """Those that none of the `detectors` can have learnt from: what a detector was fitted to says nothing of how
    well it agrees with people. Of a series what lies after all that it was fitted to; of images what it does not
    know. The group of a flagged image is not kept, so of a detector that was fitted to groups nothing can be told.
    """
    return [flag for flag in flags if not any(_may_know(detector, flag) for detector in detectors)]


def _may_know(detector: Detector, flag: ReviewedFlag) -> bool:
    fitted, row = detector.fitted_on, flag.row
    if detector.config.kind == "images":
        return fitted.groups.size > 0 or fitted.knows(str(row["sha256"]), None)
    return to_us(row["start"]) <= fitted.until_us.get(str(row["entity"]), _NEVER)


def verdict_auroc(flags: Sequence[ReviewedFlag], score: NDArray[np.float32]) -> float | None:
    """The chance that a flag called true scores above one called false; None with fewer than `FEWEST` of either."""
    true, seen = _truth(flags), np.isfinite(score)
    if min((true & seen).sum(), (~true & seen).sum()) < FEWEST:
        return None
    return auroc(true[seen], score[seen])


def compare_judged(
    flags: Sequence[ReviewedFlag], one: NDArray[np.float32], other: NDArray[np.float32], *, seed: int
) -> Difference | None:
    """How much better the one detector agrees with people than the other, on the flags that both could score."""
    true, seen = _truth(flags), np.isfinite(one) & np.isfinite(other)
    if min((true & seen).sum(), (~true & seen).sum()) < FEWEST:
        return None
    clean, abnormal = ~true & seen, true & seen
    return difference_of(
        auroc_differences((one[clean], other[clean]), (one[abnormal], other[abnormal]), seed=seed)
    )


def _truth(flags: Sequence[ReviewedFlag]) -> NDArray[np.bool_]:
    return np.array([flag.standing == Standing.TRUE for flag in flags], dtype=bool)


def _score(detector: Detector, flag: ReviewedFlag, device: torch.device) -> float:
    if detector.config.kind == "images":
        png = flag.picture("image_png")
        seen = None if png is None else see_picture(detector, png, device=device)
    else:
        if detector.look_back > 0:
            return float("nan")
        window = flag.picture("window")
        seen = (
            None if window is None else see_window(detector, str(flag.row["entity"]), window, device=device)
        )
    return float("nan") if seen is None else seen.score
