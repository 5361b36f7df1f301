"""The front door of the data: which batches there are, and a snapshot of one or of the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aeflow.data.history import select_history
from aeflow.data.image_files import history_images, images_of, survey_images
from aeflow.data.image_intake import take_in_images
from aeflow.data.left_out import NOTHING
from aeflow.data.series_intake import (
    HISTORY,
    survey_series,
    take_in_history,
    take_in_series,
)

if TYPE_CHECKING:
    from pathlib import Path

    from aeflow.config import PipelineConfig
    from aeflow.data.intake import Intake
    from aeflow.data.left_out import LeftOut


@dataclass(frozen=True)
class Context:
    """How much before a batch bears on its first scores: grid points, and the longest step of them."""

    points: int = 0
    cadence_seconds: float | None = None


def survey(config: PipelineConfig) -> tuple[list[str], dict[str, str]]:
    """The ids of all batches in the source, in order; and each file that cannot be read to its end, or folder that
    cannot name a batch, and why, where it is not known which batches it belongs to.

    Raises:
        SourceError: the source cannot be read.
    """
    return survey_images(config) if config.kind == "images" else survey_series(config)


def list_batches(config: PipelineConfig) -> list[str]:
    """The ids of `survey`; raises as it."""
    return survey(config)[0]


def history_batches(config: PipelineConfig) -> list[str]:
    """The ids of the batches that `config.history` chooses, in order.

    Raises:
        BatchNotFound: it chooses none.
        SourceError: the source cannot be read.
    """
    return select_history(config, list_batches(config))


def take_in(config: PipelineConfig, batch: str, folder: Path, *, context: Context) -> Intake:
    """Stage a snapshot of one batch in `folder`.

    Raises:
        BatchNotFound: the source holds no such batch.
        SourceError: the source cannot be read as the config says.
        StorageError: the folder cannot be written.
    """
    if config.kind == "images":
        return take_in_images(config, batch, images_of(config, batch), folder)
    return take_in_series(
        config, batch, folder, context_points=context.points, cadence_seconds=context.cadence_seconds
    )


def take_in_training(config: PipelineConfig, folder: Path, *, left_out: LeftOut = NOTHING) -> Intake:
    """Stage a snapshot of the history that the config chooses in `folder`; what is `left_out` is set aside.
    Raises as `take_in`."""
    if config.kind == "images":
        return take_in_images(config, HISTORY, history_images(config), folder, left_out=left_out)
    return take_in_history(config, folder, left_out=left_out)
