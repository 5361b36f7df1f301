"""Family, window and scores of a series pipeline, from what was seen of its data; never from labels.

Several channels: each is foretold from all of them at the two points before (`autoregression`), and what errs
otherwise than channels usually err together counts. One channel: the shape of a window against the shapes seen
so far (`pca`, errors of the whole window). Both are linear: on public data no network that was tried found
more, at a hundred times the cost; docs/detection.md has the figures.

Window of one channel: the first of minute, hour, day and week that holds 24 to 168 points (a cycle that the
reader of a report thinks in, long enough to have a shape); else 96 points; never more than an eighth of an
entity's training rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aeflow.config.models import Autoregression, Lstm, Pca
from aeflow.config.stages import Scoring, SeriesPrepare

if TYPE_CHECKING:
    from aeflow.config.models import Model

DEMONSTRATED: Model = Lstm()
"""What `aeflow demo` trains, in place of a linear model, so that a network is seen learning."""

_CYCLES = {"minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_FEWEST_POINTS, _MOST_POINTS, _NO_CYCLE_POINTS = 24, 168, 96
_FORETOLD_FROM = 2
_SMOOTH_POINTS = 20
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


def choose_series(
    channels: int,
    history_rows: int,
    train_rows: int,
    *,
    cadence_seconds: float | None,
    timed: bool,
    by_period: bool,
) -> SeriesChoice:
    """What a pipeline begins with.

    Args:
        channels: that are scored.
        history_rows: of a typical entity.
        train_rows: how many of those train.
        cadence_seconds: step of the grid; None where entities differ.
        timed: whether rows carry a time; else the cadence is a guess.
        by_period: batches follow each other in time, so that what is looked back to is read again with each.
    """
    reasons: dict[str, str] = {}
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
        return SeriesChoice(
            SeriesPrepare(window_points=_FORETOLD_FROM + 1, scale="deviation"),
            Autoregression(),
            Scoring(distance="mahalanobis", smooth_points=smooth, baseline_points=baseline),
            reasons,
        )
    window, why = choose_window(cadence_seconds if timed else None, train_rows)
    reasons["prepare.window_points"] = f"{why[0].upper()}{why[1:]}."
    reasons["model.family"] = (
        "One channel: shapes of windows are held against the shapes seen so far. A linear model: on public "
        "series no network that was tried found more (docs/detection.md)."
    )
    reasons["scoring.points"] = "An odd shape is found as a whole, not by its last point."
    if baseline:
        reasons["scoring.baseline_quantile"] = "Among scores that leap, large ones are usual too."
    return SeriesChoice(
        SeriesPrepare(window_points=window, scale="deviation"),
        Pca(),
        Scoring(points="window", baseline_points=baseline, baseline_quantile=0.9 if baseline else 0.5),
        reasons,
    )


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
