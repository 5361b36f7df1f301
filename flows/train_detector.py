"""Train a detector: take in the history, fit, calibrate, measure, register, promote if earned."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow

from aeflow import registry
from aeflow.config import BASELINE, dump_json, load_config
from aeflow.data.take_in import history_batches, take_in_training
from aeflow.detector import load, save
from aeflow.detector.fitting import Fitted, fit
from aeflow.detector.planted import measure
from aeflow.exceptions import DetectorError
from aeflow.promotion import Decision, Figures, decide
from aeflow.report.model_card import model_card, training_figures
from aeflow.settings import home_for
from aeflow.store.claims import claim
from aeflow.store.digests import sha256_bytes
from aeflow.store.paths import Paths
from aeflow.training.devices import choose_device
from flows.artifacts import show_training
from flows.io_tasks import io_step, step

if TYPE_CHECKING:
    from collections.abc import Callable

    from aeflow.config import PipelineConfig
    from aeflow.data.intake import Intake
    from aeflow.detector import Detector
    from aeflow.training.loop import Progress


@dataclass(frozen=True)
class TrainedDetector:
    """What a training run came to."""

    pipeline: str
    version: int
    challenger: Figures
    baseline: Figures
    champion: Figures | None
    decision: Decision
    rows: int
    quarantined: int
    epochs: int
    samples_per_second: float
    device: str
