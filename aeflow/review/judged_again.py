"""Flags that people called true or false, as another detector scores them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aeflow.numerics.metrics import auroc
from aeflow.numerics.paired import Difference, auroc_differences, difference_of
from aeflow.scoring.seen_again import see_picture, see_window
from aeflow.store.verdicts import Standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from aeflow.detector import Detector
    from aeflow.review.reviewed import ReviewedFlag

FEWEST = 5
"""With fewer true or fewer false flags nothing is told."""


def score_judged(
    detector: Detector, flags: Sequence[ReviewedFlag], *, device: torch.device
) -> NDArray[np.float32]:
    """The score of each flag `(F,)`; NaN where nothing was kept of it that this detector can take."""
    detector.network.to(device)
    return np.array([_score(detector, flag, device) for flag in flags], dtype=np.float32)


def decided(flags: Sequence[ReviewedFlag]) -> list[ReviewedFlag]:
    """Those of which people agree that they are true, or false."""
    return [flag for flag in flags if flag.standing in {Standing.TRUE, Standing.FALSE}]


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
        window = flag.picture("window")
        seen = (
            None if window is None else see_window(detector, str(flag.row["entity"]), window, device=device)
        )
    return float("nan") if seen is None else seen.score
