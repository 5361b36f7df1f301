"""Score a staged batch, of either kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aeflow.scoring.images import score_image_batch
from aeflow.scoring.series import score_series_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch

    from aeflow.config import PipelineConfig
    from aeflow.data.intake import Intake
    from aeflow.detector import Detector
    from aeflow.scoring.judged import BatchScores, ScoringProgress
    from aeflow.scoring.suppression import Precedent


def score_batch(
    detector: Detector,
    config: PipelineConfig,
    intake: Intake,
    folder: Path,
    *,
    device: torch.device,
    progress: Callable[[ScoringProgress], None] | None = None,
    precedents: Sequence[Precedent] = (),
) -> BatchScores:
    """Write `scores.parquet` (every item), `flags.parquet` (one row a flag) and `precedents.parquet` (those
    of `precedents` that decided anything) into `folder`.

    What is scored and how comes from the detector; `config` says in which portions, and what reviewed flags
    change (`review`).

    Raises:
        DetectorError: the detector was trained on other channels or another preparation.
    """
    detector.check_fits(config)
    detector.network.to(device)
    score = score_image_batch if config.kind == "images" else score_series_batch
    return score(detector, config, intake, folder, device=device, progress=progress, precedents=precedents)
