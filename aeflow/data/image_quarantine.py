"""Images that are set aside: why, and how that is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from aeflow import schemas
from aeflow.config import ImagePrepare
from aeflow.data.image_files import image_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aeflow.config import PipelineConfig


@dataclass(frozen=True, slots=True)
class SetAside:
    """One image that is not fit to score."""

    item: str
    reason: str
    """A code of `schemas.REASONS`."""
    detail: str
    """What came."""


def quarantine_table(config: PipelineConfig, batch: str, aside: Sequence[SetAside]) -> pa.Table:
    """One row of `schemas.QUARANTINE` for each image, in the order given; entity "", no row, no time."""
    count = len(aside)
    columns = {
        "batch": [batch] * count,
        "entity": [""] * count,
        "file": [one.item for one in aside],
        "row": [None] * count,
        "timestamp": [None] * count,
        "reason": [one.reason for one in aside],
        "rule": [_rule(config, one.reason) for one in aside],
        "detail": [one.detail for one in aside],
    }
    return pa.table(columns, schema=schemas.QUARANTINE)


def _rule(config: PipelineConfig, reason: str) -> str:
    prepare = config.prepare
    limits = {"too_many_pixels": f" ({image_source(config).max_pixels})"}
    if isinstance(prepare, ImagePrepare):
        limits["too_small"] = f" ({prepare.width_px} x {prepare.height_px} pixels)"
    return schemas.REASONS[reason] + limits.get(reason, "")
