"""Measure a detector against labels, beside the linear baseline, an isolation forest and flag-everything.

The labelled batches are taken in and scored as every night, but nothing is published. What the
detector was fitted on is left out, and how much that is, is said.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow import detector as detectors
from aeflow import registry
from aeflow.config import SeriesPrepare, family_in_words, load_config
from aeflow.data.labels import Labels, read_classes, read_labels, read_mask
from aeflow.data.periods import ids_of
from aeflow.data.take_in import history_batches, list_batches, take_in
from aeflow.detector.forest import FOREST_FOLDER, load_forest
from aeflow.evaluation import Evaluation, LabelledScores, evaluate, flag_everything, with_figures
from aeflow.exceptions import SourceError
from aeflow.numerics.events import find_events
from aeflow.representations.examining import Examination
from aeflow.scoring.images import score_items
from aeflow.scoring.series import score_rows
from aeflow.settings import home_for
from aeflow.store.paths import Paths
from aeflow.training.devices import choose_device
from flows.compared_items import compared_items, write_compared
from flows.score_batch import fetch_detector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    import torch
    from numpy.typing import NDArray

    from aeflow.config import PipelineConfig
    from aeflow.data.image_intake import StagedImage
    from aeflow.data.intake import Intake
    from aeflow.data.labels import Key
    from aeflow.detector import Detector


_NEVER = -(2**62)


@dataclass(frozen=True)
class Comparison:
    """The detector, the baselines of its training run (a detector registered before there were any has no
    isolation forest), and flag-everything, on the same labels."""

    pipeline: str
    version: int
    rows: tuple[Evaluation, ...]
    unknown: int
    """Labelled items that no batch holds, or that were set aside."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "pipeline": self.pipeline,
            "version": self.version,
            "unknown": self.unknown,
            "evaluations": [row.to_json() for row in self.rows],
        }


def evaluate_detector(
    config: Path,
    labels: Path,
    *,
    version: int | None = None,
    classes: Path | None = None,
    scores: Path | None = None,
) -> Comparison:
    """Compare the champion (or a version) with the labels in a CSV or Parquet file. With a file of `classes`
    also tell how well a linear classifier reads them from the codes; with one for `scores` write what was
    compared there, item by item (`schemas.COMPARED`).

    Raises:
        SourceError: the labels cannot be read, or no labelled item is in the source.
        DetectorError: there is no such detector, or it does not fit the pipeline.
        StorageError: `scores` cannot be written.
    """
    pipeline = load_config(config)
    paths = Paths(home_for(config), pipeline.name)
    truth = read_labels(labels, pipeline.kind, time_zone=pipeline.batch.time_zone)
    named = read_classes(classes, pipeline.kind, time_zone=pipeline.batch.time_zone) if classes else {}
    keys: Sequence[Key] = truth.keys
    normal = frozenset(key for key, abnormal in zip(keys, truth.label, strict=True) if not abnormal)
    ref, detector = fetch_detector(paths, version)
    detector.check_fits(pipeline)
    folder = registry.fetch(paths, ref.version, digest=ref.digest) / detectors.BASELINE_FOLDER
    baseline = detectors.load(folder)
    forest = load_forest(folder / FOREST_FOLDER, baseline)
    work = paths.home / "work" / pipeline.name / "evaluation"
    shutil.rmtree(work, ignore_errors=True)
    rows = {
        f"detector {ref.version} ({family_in_words(detector.config.model)})": detector,
        "linear baseline": baseline,
    }
    device = choose_device(pipeline.compute.device)
    compared, unknown = [], 0
    items: dict[str, list[pa.Table]] = {}
    try:
        for name, one in rows.items():
            examination = Examination(one, pipeline, normal, named, device)
            found = _score_labelled(one, pipeline, truth, work, examination)
            unknown = len(_named(truth) - found.known)
            items[name] = found.items
            compared.append(with_figures(_evaluation(name, found, one), examination.figures()))
        if forest is not None:  # it has neither a network to examine nor error maps
            found = _score_labelled(forest, pipeline, replace(truth, masks={}), work, None)
            compared.append(_evaluation("isolation forest", found, forest))
            items["isolation forest"] = found.items
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if scores is not None:
        write_compared(scores, items)
    return Comparison(pipeline.name, ref.version, (*compared, flag_everything(compared[0])), unknown)


@dataclass
class _Found:
    """The labelled items of all batches so far, as they were scored."""

    scores: list[LabelledScores]
    undecided: list[NDArray[np.bool_]]
    left_out: int = 0
    known: set[tuple[str, object]] = field(default_factory=set)
    """Of `_named`, those that are in a batch."""
    items: list[pa.Table] = field(default_factory=list)
    """Of each batch, what was compared."""


def _named(truth: Labels) -> set[tuple[str, object]]:
    """What is labelled, once each: batch, or "" where the labels name none, and key."""
    batches = truth.batches if truth.batches is not None else ("",) * len(truth.keys)
    return set(zip(batches, truth.keys, strict=True))


def _score_labelled(
    detector: Detector, config: PipelineConfig, truth: Labels, work: Path, examination: Examination | None
) -> _Found:
    """Score the batches that hold labelled items, and pick those.

    Raises:
        SourceError: no labelled item is in any batch.
    """
    found = _Found([], [])
    device = choose_device(config.compute.device)
    detector.network.to(device)
    for batch, mine in _labelled_batches(config, truth):
        staged = take_in(config, batch, work / "intake", context=detector.context)
        if config.kind == "images":
            _add_images(found, detector, config, staged, truth, mine, device)
        else:
            _add_series(found, detector, config, staged, truth, mine, device)
        if examination is not None:
            examination.add(staged)
    if not found.known:
        raise SourceError(
            f"none of the {len(truth.keys)} labelled items is in a batch of the source",
            where="labels",
            remedy="Items are paths below the source's root; entities and times must be those of the source.",
        )
    return found


def _labelled_batches(config: PipelineConfig, truth: Labels) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """The batches to score, and which labels may be in each."""
    everything = np.arange(len(truth.keys))
    if truth.batches is not None:
        named = np.array(truth.batches)
        for batch in sorted(set(truth.batches)):
            yield batch, everything[named == batch]
        return
    known = list_batches(config)
    if config.batch.by == "period":
        times = np.array([key[1] for key in truth.keys], dtype=np.int64)
        wanted = ids_of(times, config.batch)
        known = [batch for batch in known if batch in wanted]
    elif config.kind == "series" and config.batch.by == "folder" and config.history.first_rows is None:
        # The same times may stand in the history and in the batches that follow it: mean the latter.
        learnt = set(history_batches(config))
        known = [batch for batch in known if batch not in learnt] or known
    for batch in known:
        yield batch, everything


def _add_series(
    found: _Found,
    detector: Detector,
    config: PipelineConfig,
    staged: Intake,
    truth: Labels,
    mine: NDArray[np.int64],
    device: torch.device,
) -> None:
    chunks = list(score_rows(detector, staged, device=device, chunk_items=config.compute.chunk_items))
    if not chunks:
        return
    names = [c.inputs.entities[i] for c in chunks for i in c.inputs.row_entity]
    time = np.concatenate([c.inputs.row_time_us for c in chunks])
    slot = np.concatenate([c.inputs.row_slot for c in chunks])
    score = np.concatenate([c.score for c in chunks])
    scorable = np.concatenate([c.scorable for c in chunks])
    p_value = np.where(scorable, np.concatenate([c.p_value for c in chunks]), np.nan)
    _, entity = np.unique(names, return_inverse=True)
    rule = detector.config.calibration
    flagged = detector.calibration.flags(p_value[scorable])
    flag = np.zeros(scorable.size, dtype=bool)
    flag[scorable] = flagged
    event = find_events(
        flag,
        slot,
        entity,
        merge_gap=rule.merge_gap_points,
        min_points=rule.min_event_points,
        rest_points=rule.rest_points,
    )
    wanted = {truth.keys[i]: bool(truth.label[i]) for i in mine}
    seen = detector.fitted_on.until_us
    batch = staged.batch if truth.batches is not None else ""
    rows, labels, keys = [], [], []
    for row, key in enumerate(zip(names, time.tolist(), strict=True)):
        label = wanted.get(key)
        if label is None:
            continue
        found.known.add((batch, key))
        if staged.batch in detector.fitted_on.batches and time[row] <= seen.get(names[row], _NEVER):
            found.left_out += 1
            continue
        rows.append(row)
        labels.append(label)
        keys.append(key)
    at, abnormal = np.array(rows, dtype=np.int64), np.array(labels, dtype=bool)
    decided = scorable[at]
    kept = at[decided]
    found.undecided.append(abnormal[~decided])
    of_rows = np.where(decided, score[at], np.nan)
    found.items.append(compared_items(staged.batch, keys, abnormal, of_rows, p_value[at], event[at] >= 0))
    offset = sum(len(np.unique(s.entity)) for s in found.scores if s.entity is not None)
    found.scores.append(
        LabelledScores(abnormal[decided], score[kept], event[kept] >= 0, entity[kept] + offset, slot[kept])
    )


def _add_images(
    found: _Found,
    detector: Detector,
    config: PipelineConfig,
    staged: Intake,
    truth: Labels,
    mine: NDArray[np.int64],
    device: torch.device,
) -> None:
    wanted = {str(truth.keys[i]): bool(truth.label[i]) for i in mine}
    fitted = detector.fitted_on
    batch = staged.batch if truth.batches is not None else ""
    label, score, p_value, every_p, maps, masks = [], [], [], [], [], []
    keys: list[str] = []
    for chunk in score_items(detector, config, staged, device=device, with_maps=bool(truth.masks)):
        every_p += chunk.p_value.tolist()
        for row, image in enumerate(chunk.items):
            if image.item not in wanted:
                continue
            found.known.add((batch, image.item))
            if fitted.knows(image.sha256, image.group):
                found.left_out += 1
                continue
            keys.append(image.item)
            label.append(wanted[image.item])
            score.append(chunk.score[row])
            p_value.append(chunk.p_value[row])
            if truth.masks:
                maps.append(chunk.error_maps[row])
                masks.append(_mask_of(truth, image))
    cut = detector.calibration.cut(np.array(every_p), n_tested=len(every_p))
    flag = np.array(p_value) <= cut
    abnormal, of_images = np.array(label, bool), np.array(score, np.float32)
    found.items.append(compared_items(staged.batch, keys, abnormal, of_images, np.array(p_value), flag))
    found.scores.append(LabelledScores(abnormal, of_images, flag, error_maps=maps, masks=masks))


def _mask_of(truth: Labels, image: StagedImage) -> NDArray[np.bool_]:
    """The marked pixels of an image; none where it has no mask."""
    size = (image.height_px, image.width_px)
    if image.item not in truth.masks:
        return np.zeros(size, dtype=bool)
    mask = read_mask(truth.masks[image.item])
    if mask.shape != size:
        raise SourceError(
            f"expected a mask of {size[1]} x {size[0]} pixels as its image, got {mask.shape[1]} x {mask.shape[0]}",
            where=str(truth.masks[image.item]),
        )
    return mask


def _evaluation(name: str, found: _Found, detector: Detector) -> Evaluation:
    parts = found.scores
    series = any(p.entity is not None for p in parts)
    rule = detector.config.calibration
    whole = LabelledScores(
        np.concatenate([p.label for p in parts]),
        np.concatenate([p.score for p in parts]),
        np.concatenate([p.flag for p in parts]),
        np.concatenate([p.entity for p in parts if p.entity is not None]) if series else None,
        np.concatenate([p.position for p in parts if p.position is not None]) if series else None,
        [m for p in parts for m in p.error_maps],
        [m for p in parts for m in p.masks],
    )
    return evaluate(
        name,
        whole,
        left_out=found.left_out,
        undecided_labels=np.concatenate(found.undecided) if found.undecided else np.zeros(0, dtype=bool),
        merge_gap=rule.merge_gap_points,
        min_points=rule.min_event_points,
        rest_points=rule.rest_points,
        seed=detector.config.seed,
        calibration=detector.calibration,
        rows_are_items=_rows_are_items(detector.config),
    )


def _rows_are_items(config: PipelineConfig) -> bool:
    """Whether the score of a row hangs on no other row."""
    prepare, scoring = config.prepare, config.scoring
    alone = isinstance(prepare, SeriesPrepare) and prepare.window_points == 1
    return alone and scoring.smooth_points == 1 and not scoring.baseline_points
