"""Scores beside labels: how well a detector tells abnormal from normal, with intervals.

Nothing here chooses a threshold: precision, recall and the rates are those of the pipeline's own cut.
Point adjustment is not offered.

Legend: N labelled items.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.numerics.bootstrap import bootstrap_interval
from aeflow.numerics.events import find_events
from aeflow.numerics.metrics import auroc, average_precision, confusion, event_counts
from aeflow.numerics.region_overlap import au_pro, pixel_auroc
from aeflow.numerics.vus import volume_under_surface

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

# As long as a labelled event usually is; the reference implementation's default for long series.
_VUS_BUFFER_POINTS = 100
_BOOTSTRAP_BLOCK = 50


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
class Evaluation:
    """What came of comparing. metrics: name -> value, NaN as None; intervals: name -> 95 % interval."""

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
) -> Evaluation:
    """Every figure that the labels allow.

    Ranking figures (AUROC and so on) are over the scored items. Those at the pipeline's cut count
    every labelled item, an undecided one as not flagged.
    """
    label, by = scores.label, scores.score
    metrics: dict[str, float] = {"auroc": auroc(label, by), "average_precision": average_precision(label, by)}
    if scores.entity is not None and scores.position is not None:
        metrics |= _series_metrics(scores, merge_gap=merge_gap, min_points=min_points)
    if scores.masks:
        metrics["pixel_auroc"] = pixel_auroc(scores.masks, scores.error_maps)
        metrics["au_pro"] = au_pro(scores.masks, scores.error_maps)
    counts = confusion(
        np.concatenate([label, undecided_labels]),
        np.concatenate([scores.flag, np.zeros(undecided_labels.size, dtype=bool)]),
    )
    metrics |= {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "false_alarm_rate": counts.false_alarm_rate,
        "missing_alarm_rate": counts.missing_alarm_rate,
    }
    intervals = {}
    if label.any() and not label.all():
        block = 1 if scores.entity is None else _BOOTSTRAP_BLOCK
        intervals["auroc"] = bootstrap_interval(auroc, label, by, seed=seed, block_items=block)
    return Evaluation(
        detector=detector,
        labelled=label.size + undecided_labels.size,
        abnormal=int(label.sum() + undecided_labels.sum()),
        left_out=left_out,
        undecided=undecided_labels.size,
        metrics={name: None if np.isnan(value) else float(value) for name, value in metrics.items()},
        intervals=intervals,
    )


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


def _series_metrics(scores: LabelledScores, *, merge_gap: int, min_points: int) -> dict[str, float]:
    assert scores.entity is not None
    assert scores.position is not None
    volumes, areas = [], []
    for code in np.unique(scores.entity):
        mine = scores.entity == code
        label, score = scores.label[mine], scores.score[mine]
        if label.any() and not label.all():
            volumes.append(volume_under_surface(label, score, longest_buffer_points=_VUS_BUFFER_POINTS).pr)
            areas.append(auroc(label, score))
    event = find_events(
        scores.flag, scores.position, scores.entity, merge_gap=merge_gap, min_points=min_points
    )
    events = event_counts(scores.label, event, scores.position, scores.entity)
    return {
        "auroc_mean_of_entities": float(np.mean(areas)) if areas else float("nan"),
        "vus_pr": float(np.mean(volumes)) if volumes else float("nan"),
        "event_precision": events.precision,
        "event_recall": events.recall,
    }
