"""A detector: one frozen value that holds everything a score and a flag depend on.

Network, scaling, spread of the errors, calibration, what a normal batch looks like, and the config
it was made from. A network alone would mean nothing: its error has no unit and no cut.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from aeflow.config import SeriesPrepare
from aeflow.data.series import context_points
from aeflow.data.take_in import Context
from aeflow.detector.image_scores import (
    ArrayMaps,
    ArrayScores,
    ImageArrays,
    ImageNormal,
    map_errors,
    score_images,
)
from aeflow.detector.series_scores import SeriesNormal, WindowScores, score_series
from aeflow.exceptions import DetectorError
from aeflow.numerics.trailing import look_back_points

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import torch
    from numpy.typing import NDArray

    from aeflow.config import PipelineConfig
    from aeflow.data.reference import Reference
    from aeflow.data.series import SeriesInputs
    from aeflow.detector.drift_reference import DriftReference
    from aeflow.detector.exemplars import Exemplars
    from aeflow.models.autoencoder import Autoencoder
    from aeflow.numerics.calibration import Calibration
    from aeflow.numerics.likeness import CodeSpace

_OF_TRAINING = "train_stride_points"  # of `prepare`; a score does not depend on it


def fingerprint(name: str) -> np.uint64:
    """Eight bytes of the name's SHA-256: enough to know a name again."""
    return np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]))


@dataclass(frozen=True)
class FittedOn:
    """What the detector has seen, so that an evaluation can leave it out.

    digest: of the history's valid content. rows: rows or images of it.
    items: `(n,)` uint64, first 8 bytes of the SHA-256 of each image that trained, stopped or
        calibrated; groups: the same of the names of their groups.
    until_us: series: entity -> time of the last such row, in `batches`.
    batches: ids of the batches that made the history.
    """

    digest: str
    rows: int
    seed: int
    items: NDArray[np.uint64]
    groups: NDArray[np.uint64]
    until_us: Mapping[str, int]
    batches: tuple[str, ...]

    def knows(self, sha256: str, group: str | None) -> bool:
        """Whether an image, or one of its group, trained, stopped or calibrated the detector."""
        return bool(np.isin(fingerprint(sha256), self.items)) or (
            group is not None and bool(np.isin(fingerprint(group), self.groups))
        )


@dataclass(frozen=True)
class Detector:
    """See the module. `entity_calibrations` serve entities with enough calibration scores of their
    own, `cohort_calibrations` the others of a cohort; `calibration` makes the promise and serves the rest. `code_space`: what is usual of its codes;
    None in detectors from before it was learnt. `drift`: what batches are held against; None for a baseline.
    `exemplars`: normal items to show flags beside; None in detectors from before they were kept."""

    config: PipelineConfig
    network: Autoencoder
    normal: SeriesNormal | ImageNormal
    calibration: Calibration
    entity_calibrations: Mapping[str, Calibration]
    reference: Reference
    fitted_on: FittedOn
    code_space: CodeSpace | None = None
    drift: DriftReference | None = None
    exemplars: Exemplars | None = None
    cohort_calibrations: Mapping[str, Calibration] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A detector never trains."""
        self.network.eval()

    @property
    def image_normal(self) -> ImageNormal:
        """What was learnt of images beside the network; of a detector of images."""
        assert isinstance(self.normal, ImageNormal)
        return self.normal

    def score_series(self, inputs: SeriesInputs, *, device: torch.device, chunk_items: int) -> WindowScores:
        """Score of the last point of every window of `inputs`, float32, higher is more abnormal."""
        assert isinstance(self.normal, SeriesNormal)
        return score_series(
            self.normal,
            self.network,
            inputs,
            self.config.error,
            self.config.scoring,
            device=device,
            chunk_items=chunk_items,
        )

    def score_images(self, pixels: ImageArrays, *, device: torch.device, chunk_items: int) -> ArrayScores:
        """Score of each array `(N, C, H, W)`, float32, higher is more abnormal."""
        return score_images(
            self.image_normal, self.network, pixels, self.config.error, device=device, chunk_items=chunk_items
        )

    def map_errors(
        self, pixels: ImageArrays, *, device: torch.device, chunk_items: int
    ) -> tuple[ArrayScores, ArrayMaps]:
        """As `score_images`, and where the errors lie and what was expected."""
        return map_errors(
            self.image_normal, self.network, pixels, self.config.error, device=device, chunk_items=chunk_items
        )

    def p_values(self, scores: NDArray[np.float32], entity: str = "") -> NDArray[np.float64]:
        """How often normal data of the entity score at least as high, `(N,)` in 0..1."""
        return self.calibration_of(entity).p_values(scores)

    def calibration_of(self, entity: str) -> Calibration:
        """What judges the points of an entity: its own calibration, that of its cohort, or that of all."""
        own = self.entity_calibrations.get(entity)
        if own is not None:
            return own
        cohort = self.config.entities.cohort_of(entity)
        return self.cohort_calibrations.get(cohort or "", self.calibration)

    @property
    def least_p_value(self) -> float:
        """The cut below which some entity could have no flag at all: the largest of the lowest p-values that its
        calibrations can tell; 0 where tails are fitted."""
        all_of_them = (
            self.calibration,
            *self.entity_calibrations.values(),
            *self.cohort_calibrations.values(),
        )
        return max(0.0 if one.normal.tail is not None else one.normal.least for one in all_of_them)

    def judged_by(self, entity: str) -> str:
        """Whose normal scores judge an entity: own, cohort NAME, or all."""
        if entity in self.entity_calibrations or getattr(self.normal, "entities", None) == (entity,):
            return "own"
        cohort = self.config.entities.cohort_of(entity)
        return f"cohort {cohort}" if cohort in self.cohort_calibrations else "all"

    def new_entities(self, entities: Iterable[str]) -> dict[str, str]:
        """Those of some entities that were not in the history, and what serves them in place of a scaling and a
        calibration of their own: cohort NAME, or all. None of images."""
        if not isinstance(self.normal, SeriesNormal):
            return {}
        known = set(self.normal.entities)
        served = {name: self.config.entities.cohort_of(name) for name in entities if name not in known}
        return {name: "all" if cohort is None else f"cohort {cohort}" for name, cohort in served.items()}

    def fits(self, config: PipelineConfig) -> bool:
        """Whether it can score the data of `config`: the same channels, prepared alike."""
        return not _differences(self.config, config)

    def check_fits(self, config: PipelineConfig) -> None:
        """Refuse to score a pipeline whose data no longer look as they did in training.

        Raises:
            DetectorError: other channels, or a preparation that the network was not trained on.
        """
        for key, trained, configured in _differences(self.config, config):
            raise DetectorError(
                f"the detector was trained with {key} {trained!r}, the config now says {configured!r}",
                where=f"pipeline {config.name}",
                remedy="Put the config back, or train a detector for it: aeflow train",
            )

    @property
    def look_back(self) -> int:
        """How many grid points before a point its score hangs on by their scores; 0: by no other's."""
        if not isinstance(self.normal, SeriesNormal):
            return 0
        scoring = self.config.scoring
        return look_back_points(scoring.smooth_points, scoring.baseline_points)

    @property
    def context(self) -> Context:
        """How far before a batch the first of its scores looks back."""
        if not isinstance(self.normal, SeriesNormal):
            return Context()
        assert isinstance(self.config.prepare, SeriesPrepare)
        cadences = self.normal.cadences
        longest = max(c.step_us for c in [cadences.default, *cadences.known.values()])
        return Context(context_points(self.config.prepare) + self.look_back, longest / 1e6)


def _differences(trained: PipelineConfig, configured: PipelineConfig) -> list[tuple[str, object, object]]:
    """What a detector of the config `trained` cannot score of `configured`: key, there, here."""
    pairs: dict[str, tuple[object, object]] = {
        "source.channels": (list(trained.channels), list(configured.channels))
    }
    if trained.prepare.kind != configured.prepare.kind:
        pairs["prepare.kind"] = (trained.prepare.kind, configured.prepare.kind)
    else:
        theirs = configured.prepare.model_dump()
        for key, value in trained.prepare.model_dump().items():
            if key != _OF_TRAINING:
                pairs[f"prepare.{key}"] = (value, theirs[key])
    return [(key, one, other) for key, (one, other) in pairs.items() if one != other]
