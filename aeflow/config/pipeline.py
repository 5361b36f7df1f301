"""One pipeline: the whole of one YAML file as one frozen value."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, PrivateAttr, model_validator

from aeflow.config.base import Section
from aeflow.config.entities import Entities
from aeflow.config.models import Kind, Model, members_of
from aeflow.config.operation import Notify, Schedule
from aeflow.config.retraining import Retraining
from aeflow.config.review import Review
from aeflow.config.source import BatchRule, History, ImageSource, Source, Split
from aeflow.config.stages import (
    Calibration,
    Checks,
    Compute,
    ErrorKind,
    ImagePrepare,
    Prepare,
    Report,
    Scoring,
    SeriesPrepare,
    Training,
)

_OF_SERIES = ("points", "distance", "smooth_points", "point_weight", "baseline_points", "baseline_quantile")
"""Keys of `scoring` that say nothing of images."""
_OF_IMAGES = ("spread", "smooth_px")
"""Keys of `scoring` that say nothing of series."""
_SERIES_ERRORS: tuple[ErrorKind, ...] = ("mse", "mae", "huber")


class PipelineConfig(Section):
    """Everything that decides what a pipeline does. `folder` is where its YAML lies; relative
    paths in `source` start there."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    """Lower-case letters, digits, - and _: it names folders and the registered model."""
    seed: int = Field(default=0, ge=0)
    """Decides the split and the training: the same seed gives the same detector."""
    source: Source
    """Where the data lie: kind images, table or sql."""
    batch: BatchRule
    history: History = History()
    split: Split = Split()
    checks: Checks = Checks()
    prepare: Prepare
    """How the data become what the network takes: kind images or series."""
    entities: Entities = Entities()
    model: Model
    """What gives back each item as it would be if it were normal; family says which."""
    training: Training = Training()
    scoring: Scoring = Scoring()
    calibration: Calibration
    compute: Compute = Compute()
    report: Report = Report()
    schedule: Schedule = Schedule()
    notify: Notify = Notify()
    retraining: Retraining = Retraining()
    review: Review = Review()

    _folder: Path = PrivateAttr(default=Path())

    @property
    def kind(self) -> Kind:
        """Images or series."""
        return "images" if isinstance(self.source, ImageSource) else "series"

    @property
    def folder(self) -> Path:
        """The folder of the YAML file, absolute when it was loaded from one."""
        return self._folder

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the scored channels: the series' columns or the image's bands."""
        if isinstance(self.source, ImageSource):
            assert isinstance(self.prepare, ImagePrepare)
            return ("grey",) if self.prepare.color == "grey" else ("red", "green", "blue")
        return self.source.channels

    @property
    def item_shape(self) -> tuple[int, ...]:
        """What the network takes of one item: `(C, H, W)` of images, `(T, C)` of series."""
        if isinstance(self.prepare, ImagePrepare):
            return len(self.channels), self.prepare.height_px, self.prepare.width_px
        return self.prepare.window_points, len(self.channels)

    @property
    def lag_points(self) -> int:
        """How many grid points before a point the readings lie at most that its score is made of: those that it is
        a mean over, and those of a window whose errors all count. What an event is put down to may have begun
        and ended so much earlier than the event."""
        if not isinstance(self.prepare, SeriesPrepare):
            return 0
        in_window = self.prepare.window_points - 1 if self.scoring.points == "window" else 0
        return self.scoring.smooth_points - 1 + in_window

    @property
    def schedule_zone(self) -> str:
        """The zone in which the times of `schedule` and of `notify` are meant."""
        return self.schedule.time_zone or self.batch.time_zone

    @property
    def error(self) -> ErrorKind:
        """The error that scores are made of."""
        return self.scoring.error or self.training.loss

    def at(self, folder: Path) -> Self:
        """The same config, its relative paths starting at `folder`."""
        moved = self.model_copy()
        moved._folder = folder  # noqa: SLF001 - our own, of a copy
        return moved

    def without_operation(self) -> Self:
        """The same config as if it were neither scheduled, told of nor retrained: what detectors and reports
        hang on."""
        without = {"schedule": Schedule(), "notify": Notify(), "retraining": Retraining()}
        return self.model_copy(update=without).at(self.folder)

    @model_validator(mode="after")
    def _sections_fit_together(self) -> Self:
        if self.prepare.kind != self.kind:
            msg = f"source.kind {self.source.kind} needs prepare.kind {self.kind}, not {self.prepare.kind}"
            raise ValueError(msg)
        for model in members_of(self.model):
            if self.kind not in model.kinds:
                msg = f"model.family {model.family} takes {' or '.join(model.kinds)}, not {self.kind}"
                raise ValueError(msg)
        if self.kind == "images" and self.entities != Entities():
            msg = "entities is for series: images are of one entity"
            raise ValueError(msg)
        self._check_training()
        self._check_scoring()
        self._check_window()
        self._check_batch_rule()
        unknown = sorted(set(self.checks.limits) - set(self.channels))
        if unknown:
            msg = f"checks.limits names {unknown}, which are no channels of {list(self.channels)}"
            raise ValueError(msg)
        if isinstance(self.source, ImageSource) and (self.history.first_rows or self.history.first_share):
            msg = "history.first_rows and history.first_share are for series; choose images by batches"
            raise ValueError(msg)
        return self

    def _check_training(self) -> None:
        for corruption in self.training.corruption:
            if self.kind not in corruption.kinds:
                msg = f"training.corruption {corruption.kind} takes {' or '.join(corruption.kinds)}, not {self.kind}"
                raise ValueError(msg)
        for key, error in (("training.loss", self.training.loss), ("scoring.error", self.error)):
            if self.kind == "series" and error not in _SERIES_ERRORS:
                msg = f"{key} {error} is for images; series take {', '.join(_SERIES_ERRORS)}"
                raise ValueError(msg)
        outputs = {getattr(model, "output", "sigmoid") for model in members_of(self.model)}
        if self.training.loss == "bce" and outputs != {"sigmoid"}:
            msg = "training.loss bce needs an output in 0..1: set model.output to sigmoid"
            raise ValueError(msg)

    def _check_scoring(self) -> None:
        usual = Scoring()
        changed = [key for key in _OF_SERIES if getattr(self.scoring, key) != getattr(usual, key)]
        if self.kind == "images" and changed:
            msg = f"scoring.{changed[0]} is for series, not for images"
            raise ValueError(msg)
        changed = [key for key in _OF_IMAGES if getattr(self.scoring, key) != getattr(usual, key)]
        if self.kind == "series" and changed:
            msg = f"scoring.{changed[0]} is for images, not for series"
            raise ValueError(msg)
        if self.scoring.spread == "pixel" and getattr(self.prepare, "fit", "") == "tile":
            msg = "scoring.spread pixel is for whole images: a pixel of a tile shows another place in each; set it to band"
            raise ValueError(msg)

    def _check_window(self) -> None:
        if not isinstance(self.prepare, SeriesPrepare):
            return
        window = self.prepare.window_points
        ahead = max(getattr(model, "points_ahead", 0) for model in members_of(self.model))
        if ahead >= window:
            msg = (
                f"model.predict_points ({ahead}) must be smaller than prepare.window_points ({window}): the "
                "encoder reads what comes before them"
            )
            raise ValueError(msg)

    def _check_batch_rule(self) -> None:
        by, source = self.batch.by, self.source
        if isinstance(source, ImageSource):
            if by == "period":
                msg = "batch.by period needs a time column; images come by folder, manifest or source"
                raise ValueError(msg)
            if by == "manifest" and (source.manifest is None or source.manifest.batch is None):
                msg = "batch.by manifest needs source.manifest with a batch pattern"
                raise ValueError(msg)
            return
        if by == "manifest":
            msg = "batch.by manifest is for images; series come by period, folder or source"
            raise ValueError(msg)
        if source.kind == "sql" and by != "period":
            msg = "batch.by must be period for a SQL source: its query is bound to :start and :end"
            raise ValueError(msg)
        if source.kind == "table" and by == "period" and source.time_column is None:
            msg = "batch.by period needs source.time_column"
            raise ValueError(msg)
        assert isinstance(self.prepare, SeriesPrepare)
        step = self.prepare.cadence_seconds
        if source.kind == "table" and source.time_column is None and step is None:
            msg = "rows without a time column are numbered by prepare.cadence_seconds: give it"
            raise ValueError(msg)
        if self.prepare.resample == "mean" and (step is None or 3600 % step):
            msg = "prepare.resample mean needs a cadence_seconds that divides an hour, so that no step spans two batches"
            raise ValueError(msg)
