"""Series: SKAB, NAB and SMD by the pipelines of `configs/`, each trained once a seed.

What choices were made on (`valve1`, every second file of NAB, two machines) is told apart from the rest.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cells import Cell
from benchmarks.goals import Goal
from benchmarks.labels import write_labels
from benchmarks.nab_score import nab_figures
from benchmarks.pipelines import labels_where, shipped, trained, without_comments
from benchmarks.workload import SHARED_DATA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHOSEN, REST = "chosen on", "rest"
_FIGURES = (
    "f1",
    "false_alarm_rate",
    "missing_alarm_rate",
    "vus_pr",
    "auroc",
    "average_precision",
    "event_precision",
    "event_recall",
)
GOALS = {
    ("SKAB", REST, "f1"): Goal(at_least=0.84),
    ("SKAB", REST, "false_alarm_rate"): Goal(at_most=0.18),
    ("SKAB", REST, "missing_alarm_rate"): Goal(at_most=0.18),
    ("NAB", REST, "vus_pr"): Goal(at_least=0.50),
    ("NAB", REST, "nab_score"): Goal(at_least=55),
    ("SMD", REST, "vus_pr"): Goal(at_least=0.42),
}


def _nab_chosen() -> frozenset[str]:
    """Every second file of NAB, in the order of their names."""
    root = SHARED_DATA / "nab" / "data"
    names = sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.glob("*/*.csv"))
    return frozenset(names[::2])


_PCA = {"family": "pca"}
_PLAIN_SCORES = {
    "points": "last",
    "distance": "channels",
    "smooth_points": 1,
    "point_weight": 0.0,
    "baseline_points": 0,
    "baseline_quantile": 0.5,
}
_CHOSEN: dict[str, Callable[[], Callable[[str], bool]]] = {
    "skab": lambda: lambda entity: entity.startswith("valve1/"),
    "nab": lambda: _nab_chosen().__contains__,
    "smd": lambda: frozenset({"machine-1-6", "machine-2-1"}).__contains__,
}

_MORE_FIGURES = {"nab": " and the score of the benchmark itself"}
"""Of a data set: a cell that was measured without them is another one."""


def cells(seed: int) -> Iterator[Cell]:
    """A cell for each data set."""
    for name in _CHOSEN:
        setting = without_comments(shipped(name, seed=seed)) + _MORE_FIGURES.get(name, "")
        yield Cell("series", name.upper(), "", "", "", seed, 1.0, setting)


def measure(cell: Cell) -> dict[str, float]:
    """The figures of the detector, of principal components with the same scores and of flag-everything, on
    both parts of a data set; of principal components with plain scores on the rest."""
    name = cell.data.lower()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        labels = _labels(name, Path(folder))
        with trained(shipped(name, seed=cell.seed)) as run:
            scores = {part: Path(folder) / f"{part}.parquet" for part in labels}
            for part, mine in labels.items():
                for method, evaluation in run.evaluate(mine, scores=scores[part]).items():
                    found |= _figures(f"{part}: {method}", evaluation)
            if name == "nab":
                found |= nab_figures(labels, scores, rest_rows=_window_points(cell))
            found["seconds"] = run.training_seconds
        with trained(shipped(name, seed=cell.seed, model=_PCA, scoring=_PLAIN_SCORES)) as run:
            found |= _figures(f"{REST}: plain", run.evaluate(labels[REST])["detector"])
    return found


def _window_points(cell: Cell) -> int:
    pipeline = shipped(cell.data.lower(), seed=cell.seed)
    return int(pipeline["prepare"]["window_points"])


def _labels(name: str, folder: Path) -> dict[str, Path]:
    """Files of labels: of what choices were made on, and of the rest."""
    chosen = _CHOSEN[name]()
    whole = write_labels(name, SHARED_DATA, folder)
    return {
        CHOSEN: labels_where(whole, "entity", chosen, folder / "chosen.csv"),
        REST: labels_where(whole, "entity", lambda entity: not chosen(entity), folder / "rest.csv"),
    }


def _figures(prefix: str, evaluation: dict[str, Any]) -> dict[str, float]:
    metrics = evaluation["metrics"]
    found = {f"{prefix}: {key}": metrics[key] for key in _FIGURES if metrics.get(key) is not None}
    return found | {f"{prefix}: undecided": float(evaluation["undecided"])}
