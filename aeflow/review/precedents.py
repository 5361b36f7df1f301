"""Reviewed flags as precedents for the flags of later batches."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.report.reviewed import reviewed_flags
from aeflow.scoring.seen_again import Seen, see_picture, see_window
from aeflow.scoring.suppression import Precedent, direction_of, worst_box
from aeflow.store.verdicts import Standing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    import torch

    from aeflow.config import PipelineConfig
    from aeflow.detector import Detector
    from aeflow.report.reviewed import ReviewedFlag
    from aeflow.store.paths import Paths
    from aeflow.store.verdicts import Verdict


def precedents_in_force(
    config: PipelineConfig,
    paths: Paths,
    said: Iterable[Verdict],
    detector: Detector,
    version: int,
    *,
    now: datetime,
    device: torch.device,
) -> list[Precedent]:
    """The flags that were called true or false and still bear on others at the time `now`, as `detector`,
    which is `version` of the pipeline's, sees them.

    What another version flagged is shown to this one again. Where scores hang on more than one window, its score
    is the one that is as rare by this detector as the flag was by its own. A flag of which neither window nor picture was
    kept, or which this one cannot take, is no precedent.

    Raises:
        StorageError: a report cannot be read.
    """
    rule = config.review
    if rule.suppression == "off" or detector.code_space is None:
        return []
    detector.network.to(device)
    found = []
    for flag in reviewed_flags(paths, said):
        decided = flag.decided
        if decided is None or now >= decided[1] + timedelta(days=rule.expiry_days):
            continue
        seen = _seen(flag, detector, version, config.channels, device)
        if seen is None:
            continue
        reviewer, at = decided
        found.append(
            Precedent(
                flag_id=flag.flag_id,
                batch=flag.row["batch"],
                entity=flag.row["entity"],
                false=flag.standing is Standing.FALSE,
                reviewer=reviewer,
                at=at,
                until=at + timedelta(days=rule.expiry_days),
                score=float(np.float32(seen.score)),
                direction=seen.direction.astype(np.float32),
                box=worst_box(flag.row),
                signature=seen.signature,
            )
        )
    return found


def _seen(
    flag: ReviewedFlag, detector: Detector, version: int, channels: tuple[str, ...], device: torch.device
) -> Seen | None:
    row: dict[str, Any] = flag.row
    if {part["channel"] for part in row["channels"]} != set(channels):
        return None
    if flag.detector_version == version and row.get("signature") is not None:
        signature = np.array(row["signature"], dtype=np.float32)
        return Seen(row["score"], direction_of(row, channels), signature)
    if row["item"] is None:
        window = flag.picture("window")
        seen = None if window is None else see_window(detector, row["entity"], window, device=device)
        return seen if seen is None or detector.look_back == 0 else _as_rare(seen, row, detector)
    png = flag.picture("image_png")
    return None if png is None else see_picture(detector, png, device=device)


def _as_rare(seen: Seen, row: dict[str, Any], detector: Detector) -> Seen | None:
    """With the score to which the detector gives the p-value that the flag has in its report, or the nearest it
    can tell: scores of two detectors have no unit in common, and p-values do."""
    p_value = row.get("p_value")
    if p_value is None:
        return None
    score, _ = detector.calibration_of(row["entity"]).normal.score_at(p_value)
    return replace(seen, score=score)
