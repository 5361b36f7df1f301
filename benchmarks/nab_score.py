"""The score of the Numenta Anomaly Benchmark of what `aeflow evaluate --scores` wrote, the threshold from other series.

One threshold serves all series, as the benchmark has it; but there it is the best for the very series that are
judged, here that of the other half. A score is that of the window which ends at its row, so what is odd stays odd for
a window's length: so long an alert silences its series.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from aeflow.numerics.nab import NabCurve, nab_curve

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_METHODS = {"linear baseline": "baseline", "isolation forest": "forest"}


def nab_figures(
    labels: Mapping[str, Path], scores: Mapping[str, Path], *, rest_rows: int
) -> dict[str, float]:
    """The score of each method on each of two parts, by the threshold that is best on the other: "PART: METHOD: nab_score".

    Args:
        labels: of each part, as `benchmarks.labels` writes them; rows without a score are never flagged.
        scores: of each part, as `aeflow evaluate --scores` writes them.
        rest_rows: after an alert, as in `nab_curve`.
    """
    one, other = labels
    curves = {part: _curves(labels[part], scores[part], rest_rows) for part in labels}
    found = {}
    for mine, of in ((one, other), (other, one)):
        for method, curve in curves[mine].items():
            found[f"{mine}: {method}: nab_score"] = curve.at(curves[of][method].best_threshold)
    return found


def _curves(labels: Path, scores: Path, rest_rows: int) -> dict[str, NabCurve]:
    """Of each method."""
    truth = pd.read_csv(labels, dtype={"entity": str})
    truth["timestamp"] = pd.to_datetime(truth["timestamp"], utc=True, format="ISO8601").astype(
        "datetime64[us, UTC]"
    )
    truth = truth.sort_values(["entity", "timestamp"], kind="stable")
    series = truth["entity"].factorize(sort=True)[0]
    curves = {}
    for detector, rows in pd.read_parquet(scores).groupby("detector", sort=False):
        unique = rows.drop_duplicates(["entity", "timestamp"])[["entity", "timestamp", "score"]]
        joined = truth.merge(unique, how="left", on=["entity", "timestamp"])
        curve = nab_curve(
            truth["label"].to_numpy(), joined["score"].to_numpy(dtype=float), series, rest_rows=rest_rows
        )
        curves[_METHODS.get(str(detector), "detector")] = curve
    return curves
