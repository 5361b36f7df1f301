"""Family, window and scores of a series pipeline, from what was seen of its data; never from labels.

Several channels: each is foretold from all of them at the two points before (`autoregression`), and what errs
otherwise than channels usually err together counts. One channel: the shape of a window against those seen so far
that are most like it (`kernel_regression`, errors of the whole window). Rows that are items by themselves: each against
those most like it. No network that was tried on public data found more; docs/detection.md has the figures.

Smoothing: faults last, and the mean of the last scores tells them from noise. Where the history is long enough that
scores need no moving baseline, a point's own score counts beside the mean, so that faults of a few rows are found
too; where scores are held against a past that wanders, it would bring the noise back.

Events: a fault stays in the mean of the last scores for as long as it goes back. Where false events are counted, one of
fewer than half as many points is none: single normal rows that leap no longer decide where the cut lies.

Window of one channel: the first of minute, hour, day and week that holds 24 to 168 points (a cycle that the
reader of a report thinks in, long enough to have a shape); else 96 points; never more than an eighth of an
entity's training rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aeflow.config.models import Autoregression, KernelRegression, Lstm
from aeflow.config.stages import Scoring, SeriesPrepare

if TYPE_CHECKING:
    from aeflow.config.models import Model

DEMONSTRATED: Model = Lstm()
"""What `aeflow demo` trains, in place of a linear model, so that a network is seen learning."""

_CYCLES = {"minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_FEWEST_POINTS, _MOST_POINTS, _NO_CYCLE_POINTS = 24, 168, 96
_FORETOLD_FROM = 2
_SMOOTH_POINTS = 20
_POINT_WEIGHT = 0.33
_LONG_HISTORY_ROWS = 4_000  # so long a one shows by itself how scores wander
_PAST_OF_HISTORY = 1.5
_FEWEST_BASELINE_POINTS, _MOST_BASELINE_POINTS = 96, 1_504
_WEEK_SECONDS = 604_800


@dataclass(frozen=True)
class SeriesChoice:
    """Sections of a pipeline, and why they are so: key such as "scoring.smooth_points" -> reason."""

    prepare: SeriesPrepare
    model: Model
    scoring: Scoring
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def keeps_windows(self) -> bool:
        """The model chooses among the training windows by itself: none is to be left out before."""
        return isinstance(self.model, KernelRegression)


def choose_series(
    channels: int,
    history_rows: int,
    train_rows: int,
    *,
    cadence_seconds: float | None,
    timed: bool,
    by_period: bool,
    items: bool = False,
    of_one_quantity: bool = False,
) -> SeriesChoice:
    """What a pipeline begins with.

    Args:
        channels: that are scored.
        history_rows: of a typical entity.
        train_rows: how many of those train.
        cadence_seconds: step of the grid; None where entities differ.
        timed: whether rows carry a time; else the cadence is a guess.
        by_period: batches follow each other in time, so that what is looked back to is read again with each.
        items: rows do not follow from each other; each is an item by itself.
        of_one_quantity: with items: the channels are its readings, one after the other.
    """
    reasons: dict[str, str] = {}
    if items:
        return _choose_items(reasons, of_one_quantity=of_one_quantity)
    smooth = max(1, min(_SMOOTH_POINTS, train_rows // 8))
    baseline = _baseline_points(history_rows, cadence_seconds if by_period else None, reasons)
    if channels > 1:
        reasons["model.family"] = (
            "Several channels: each is foretold from all of them. A linear model: on a plant and on servers no "
            "network that was tried found more (docs/detection.md)."
        )
        reasons["prepare.window_points"] = "Two points to foretell from, and the one that is scored."
        reasons["prepare.scale"] = "Channels that stand still and leap would count for too much otherwise."
        reasons["scoring.distance"] = (
            "Channels of one machine err together; one that leaves the others is odd."
        )
        reasons["scoring.smooth_points"] = (
            "Faults last: the mean of the last scores tells them from noise. 1 to find single odd points."
        )
        weight = 0.0 if baseline or smooth == 1 else _POINT_WEIGHT
        if weight:
            reasons["scoring.point_weight"] = "Faults of a few rows are found too."
        return SeriesChoice(
            SeriesPrepare(window_points=_FORETOLD_FROM + 1, scale="deviation"),
            Autoregression(),
            Scoring(
                distance="mahalanobis", smooth_points=smooth, point_weight=weight, baseline_points=baseline
            ),
            reasons,
        )
    window, why = choose_window(cadence_seconds if timed else None, train_rows)
    reasons["prepare.window_points"] = f"{why[0].upper()}{why[1:]}."
    reasons["model.family"] = (
        "One channel: the shape of a window is held against those seen so far that are most like it. On public "
        "series no network that was tried found more (docs/detection.md)."
    )
    reasons["scoring.points"] = "An odd shape is found as a whole, not by its last point."
    if baseline:
        reasons["scoring.baseline_quantile"] = "Among scores that leap, large ones are usual too."
    return SeriesChoice(
        SeriesPrepare(window_points=window, scale="deviation"),
        KernelRegression(),
        Scoring(points="window", baseline_points=baseline, baseline_quantile=0.9 if baseline else 0.5),
        reasons,
    )


def _choose_items(reasons: dict[str, str], *, of_one_quantity: bool) -> SeriesChoice:
    reasons["prepare.window_points"] = (
        "The rows carry no time and are no more like those before them than like any others: each is an item by "
        "itself. IF THEY FOLLOW EACH OTHER ALL THE SAME, say 3 and family autoregression."
    )
    reasons["prepare.cadence_seconds"] = "The rows carry no time: they are numbered."
    reasons["model.family"] = "Each item is held against those seen so far that are most like it."
    if of_one_quantity:
        reasons["prepare.scale"] = (
            "The columns go over into each other: readings of one quantity, in one unit."
        )
    prepare = SeriesPrepare(window_points=1, scale="common" if of_one_quantity else "deviation")
    return SeriesChoice(prepare, KernelRegression(), Scoring(), reasons)


def choose_window(cadence_seconds: float | None, train_rows: int) -> tuple[int, str]:
    """Points of a window, and why: the rule in the module's docstring.

    Args:
        cadence_seconds: step of the grid; None where entities differ or there is no time.
        train_rows: rows of a typical entity that train.
    """
    limit = max(2, train_rows // 8)
    for cycle, seconds in _CYCLES.items():
        points = round(seconds / cadence_seconds) if cadence_seconds else 0
        if _FEWEST_POINTS <= points <= _MOST_POINTS and points <= limit:
            return points, f"one {cycle} of readings"
    points = min(_NO_CYCLE_POINTS, limit)
    why = "no minute, hour, day or week holds 24 to 168 points" if cadence_seconds else "no common cadence"
    return points, why if points == _NO_CYCLE_POINTS else f"an eighth of the {train_rows} rows that train"


def _baseline_points(history_rows: int, cadence_seconds: float | None, reasons: dict[str, str]) -> int:
    """Of `scoring`; `cadence_seconds` where each batch costs its past anew."""
    if history_rows >= _LONG_HISTORY_ROWS:
        reasons["scoring.baseline_points"] = (
            f"{history_rows} rows of history an entity show by themselves how scores wander."
        )
        return 0
    points = min(_MOST_BASELINE_POINTS, round(_PAST_OF_HISTORY * history_rows / 16) * 16)
    if cadence_seconds:
        points = min(points, int(_WEEK_SECONDS / cadence_seconds))
    points = max(_FEWEST_BASELINE_POINTS, points)
    reasons["scoring.baseline_points"] = (
        f"{history_rows} rows of history an entity are few: scores are held against those of its own past. "
        "A fault that lasts longer than half of that is taken for normal in the end."
    )
    return points
