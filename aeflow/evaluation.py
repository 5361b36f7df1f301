"""Scores beside labels: how well a detector tells abnormal from normal, with intervals.

Nothing here chooses a threshold: precision, recall and the rates are those of the pipeline's own cut.
Point adjustment is not offered.

Legend: N labelled items.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.numerics.bootstrap import bootstrap_interval
from aeflow.numerics.events import find_events
from aeflow.numerics.metrics import auroc, average_precision, confusion, event_counts
from aeflow.numerics.reconstruction_error import worst_boxes
from aeflow.numerics.region_overlap import au_pro, best_box_overlap, pixel_auroc, pixel_average_precision
from aeflow.numerics.vus import volume_under_surface

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from aeflow.numerics.calibration import Calibration
    from aeflow.numerics.metrics import EventCounts

# As long as a labelled event usually is; the reference implementation's default for long series.
_VUS_BUFFER_POINTS = 100
_BOOTSTRAP_BLOCK = 50
_BOXES = 5
"""As many as a report shows of an image."""
_FOUND = 0.3
"""A marked region is found by a box that shares so much of both."""


@dataclass(frozen=True)
class LabelledScores:
    """Labelled items that were scored, in order of entity and time.

    label `(N,)` bool, score `(N,)`, flag `(N,)` bool; series: entity `(N,)` codes and
    position `(N,)` grid points; images: error maps and masks of those that have a mask.
    """

    label: NDArray[np.bool_]
    score: NDArray[np.float32]
    flag: NDArray[np.bool_]
    entity: NDArray[np.int64] | None = None
    position: NDArray[np.int64] | None = None
    error_maps: Sequence[NDArray[np.float32]] = ()
    masks: Sequence[NDArray[np.bool_]] = ()


@dataclass(frozen=True)
class PromiseCheck:
    """False flags (images, or events without an abnormal point) among the normal items that were labelled.

    expected: by the calibration, of so many normal items; None with a false-discovery rate, as is by_chance.
    by_chance: between which numbers they lie with a chance of 95 %, if the promise holds.
    false_flags: that came. flags: all, false or not.
    """

    normal_items: int
    expected: float | None
    by_chance: tuple[int, int] | None
    false_flags: int
    flags: int

    @property
    def kept(self) -> bool | None:
        """Whether no more came than by chance; None with a false-discovery rate."""
        return None if self.by_chance is None else self.false_flags <= self.by_chance[1]


@dataclass(frozen=True)
class Evaluation:
    """What came of comparing. metrics: name -> value, NaN as None; intervals: name -> 95 % interval by block
    bootstrap; promise: what was promised of false flags, and what came."""

    detector: str
    labelled: int
    """Labelled items that were compared."""
    abnormal: int
    left_out: int
    """Labelled items that the detector was fitted on: comparing them would flatter it."""
    undecided: int
    """Labelled items without a score; they count as not flagged."""
    metrics: dict[str, float | None]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    undecided_abnormal: int = 0
    """Of the undecided, those labelled abnormal."""
    promise: PromiseCheck | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def evaluate(
    detector: str,
    scores: LabelledScores,
    *,
    left_out: int,
    undecided_labels: NDArray[np.bool_],
    merge_gap: int,
    min_points: int,
    seed: int,
    rest_points: int = 0,
    calibration: Calibration | None = None,
    rows_are_items: bool = False,
) -> Evaluation:
    """Every figure that the labels allow.

    Ranking figures (AUROC and so on) are over the scored items. Those at the pipeline's cut count
    every labelled item, an undecided one as not flagged. With the detector's calibration also what it
    promised is held against what came. rows_are_items: rows of a series say nothing of each other, so that each flagged
    normal one is a false flag, also where it stands beside an abnormal one and makes one event with it.
    """
    label, by = scores.label, scores.score
    metrics: dict[str, float] = {"auroc": auroc(label, by), "average_precision": average_precision(label, by)}
    intervals: dict[str, tuple[float, float]] = {}
    block = 1 if scores.entity is None else _BOOTSTRAP_BLOCK
    draw = partial(bootstrap_interval, seed=seed, block_items=block)
    if label.any() and not label.all():
        intervals |= {
            "auroc": draw(auroc, label, by),
            "average_precision": draw(average_precision, label, by),
        }
    false_flags, flags = int((scores.flag & ~label).sum()), int(scores.flag.sum())
    if scores.entity is not None and scores.position is not None:
        rule = {"merge_gap": merge_gap, "min_points": min_points, "rest_points": rest_points}
        of_series, volumes, events = _series_metrics(scores, rule)
        metrics |= of_series
        if volumes.size > 1:
            intervals["vus_pr"] = bootstrap_interval(np.mean, volumes, seed=seed)
        if not rows_are_items:
            false_flags, flags = events.flagged - events.flagged_true, events.flagged
    if scores.masks:
        metrics |= _pixel_metrics(scores)
    every = np.concatenate([label, undecided_labels])
    flagged = np.concatenate([scores.flag, np.zeros(undecided_labels.size, dtype=bool)])
    for name, figure in _AT_THE_CUT.items():
        metrics[name] = figure(every, flagged)
        if every.size and not np.isnan(metrics[name]):
            intervals[name] = draw(figure, every, flagged)
    return Evaluation(
        detector=detector,
        labelled=label.size + undecided_labels.size,
        abnormal=int(label.sum() + undecided_labels.sum()),
        left_out=left_out,
        undecided=undecided_labels.size,
        metrics={name: None if np.isnan(value) else float(value) for name, value in metrics.items()},
        intervals={name: ends for name, ends in intervals.items() if not np.isnan(ends).any()},
        undecided_abnormal=int(undecided_labels.sum()),
        promise=_promise_check(calibration, int((~label).sum()), false_flags, flags),
    )


def _at_the_cut(name: str, labels: NDArray[np.bool_], flags: NDArray[np.bool_]) -> float:
    figure: float = getattr(confusion(labels, flags), name)
    return figure


_AT_THE_CUT = {
    name: partial(_at_the_cut, name)
    for name in ("precision", "recall", "f1", "false_alarm_rate", "missing_alarm_rate")
}


def _promise_check(
    calibration: Calibration | None, normal_items: int, false_flags: int, flags: int
) -> PromiseCheck | None:
    if calibration is None:
        return None
    expected = calibration.expected_false_flags_per_batch
    if expected is not None:
        expected *= normal_items / calibration.items_per_batch
    by_chance = calibration.count_interval(normal_items)
    return PromiseCheck(normal_items, expected, by_chance, false_flags, flags)


def with_figures(evaluation: Evaluation, figures: Mapping[str, float]) -> Evaluation:
    """The evaluation with further figures, such as what the network is worth by itself."""
    more = {name: None if np.isnan(value) else float(value) for name, value in figures.items()}
    return replace(evaluation, metrics={**evaluation.metrics, **more})


def flag_everything(evaluation: Evaluation) -> Evaluation:
    """What flagging every item would score at the cut: the figures below which a detector is useless."""
    abnormal, total = evaluation.abnormal, evaluation.labelled
    share = abnormal / total if total else None
    return Evaluation(
        detector="flag everything",
        labelled=total,
        abnormal=abnormal,
        left_out=evaluation.left_out,
        undecided=0,
        metrics={
            "auroc": 0.5,
            "average_precision": share,
            "precision": share,
            "recall": 1.0 if abnormal else None,
            "f1": 2 * abnormal / (abnormal + total) if abnormal else None,
            "false_alarm_rate": 1.0 if total > abnormal else None,
            "missing_alarm_rate": 0.0 if abnormal else None,
        },
    )


def _pixel_metrics(scores: LabelledScores) -> dict[str, float]:
    overlaps = [
        best_box_overlap(mask, worst_boxes(error_map, max_boxes=_BOXES)[0])
        for mask, error_map in zip(scores.masks, scores.error_maps, strict=True)
        if mask.any()
    ]
    return {
        "pixel_auroc": pixel_auroc(scores.masks, scores.error_maps),
        "pixel_average_precision": pixel_average_precision(scores.masks, scores.error_maps),
        "au_pro": au_pro(scores.masks, scores.error_maps),
        "box_overlap": float(np.mean(overlaps)) if overlaps else float("nan"),
        "boxes_found": float(np.mean(np.array(overlaps) >= _FOUND)) if overlaps else float("nan"),
    }


def _series_metrics(
    scores: LabelledScores, rule: Mapping[str, int]
) -> tuple[dict[str, float], NDArray[np.float64], EventCounts]:
    """Figures, the VUS-PR of each entity, and the events."""
    assert scores.entity is not None
    assert scores.position is not None
    volumes, areas = [], []
    for code in np.unique(scores.entity):
        mine = scores.entity == code
        label, score = scores.label[mine], scores.score[mine]
        if label.any() and not label.all():
            volumes.append(volume_under_surface(label, score, longest_buffer_points=_VUS_BUFFER_POINTS).pr)
            areas.append(auroc(label, score))
    event = find_events(scores.flag, scores.position, scores.entity, **rule)
    events = event_counts(scores.label, event, scores.position, scores.entity)
    figures = {
        "auroc_mean_of_entities": float(np.mean(areas)) if areas else float("nan"),
        "vus_pr": float(np.mean(volumes)) if volumes else float("nan"),
        "event_precision": events.precision,
        "event_recall": events.recall,
    }
    return figures, np.array(volumes, dtype=np.float64), events
