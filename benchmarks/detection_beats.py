"""Items as rows: ECG5000 by the pipeline that `aeflow init` writes for it, as it stands.

A row is a heartbeat, its 140 columns are the readings. The folder `train` holds the 292 normal beats of the
training file, `test` the 4,500 others; the seed draws their order, which shares out the history.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from benchmarks.cells import Cell
from benchmarks.goals import Goal
from benchmarks.labelled import data_set
from benchmarks.pipelines import trained
from benchmarks.processes import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_NAME = "ECG5000"
_FIGURES = ("auroc", "average_precision", "f1", "false_alarm_rate", "missing_alarm_rate")
GOALS = {(_NAME, "", "auroc"): Goal(at_least=0.990)}
_AEFLOW = str(Path(sys.executable).with_name("aeflow"))


def cells(seed: int) -> Iterator[Cell]:
    """One: what decides is what `aeflow init` writes."""
    yield Cell("beats", _NAME, "", "", "", seed, 1.0, "as aeflow init writes it")


def measure(cell: Cell) -> dict[str, float]:
    """The figures of the detector, of principal components, of an isolation forest, and of flag-everything."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="aeflow-bench-") as folder:
        pipeline = _initialised(Path(folder), cell.seed)
        with trained(pipeline) as run:
            for method, evaluation in run.evaluate(Path(folder) / "labels.csv").items():
                metrics = evaluation["metrics"]
                found |= {
                    f"{method}: {key}": metrics[key] for key in _FIGURES if metrics.get(key) is not None
                }
            found["seconds"] = run.training_seconds
    return found


def _initialised(folder: Path, seed: int) -> dict[str, Any]:
    """The data written below `folder`, with labels.csv beside them; and the pipeline for them."""
    data, random = data_set(_NAME), np.random.default_rng(seed)
    normal = data.train.x[data.train.y == 0, :, 0]
    order = random.permutation(len(data.test.x))
    _write(folder / "beats" / "train" / "beats.csv", normal[random.permutation(len(normal))])
    _write(folder / "beats" / "test" / "beats.csv", data.test.x[order, :, 0])
    command = [_AEFLOW, "init", "beats", "--table", str(folder / "beats")]
    env = environment(folder / "home")
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}"
        raise RuntimeError(msg)
    pipeline: dict[str, Any] = yaml.safe_load((folder / "configs" / "beats.yaml").read_text(encoding="utf-8"))
    pipeline["seed"] = seed
    pipeline["source"]["path"] = str((folder / "configs" / pipeline["source"]["path"]).resolve())
    first = datetime.fromisoformat(str(pipeline["source"]["first_time"]))
    step = timedelta(seconds=pipeline["prepare"]["cadence_seconds"])
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("timestamp", "label", "batch"))
        for number, label in enumerate(data.test.y[order].tolist()):
            writer.writerow(((first + number * step).isoformat(), label, "test"))
    return pipeline


def _write(path: Path, beats: NDArray[np.float32]) -> None:
    path.parent.mkdir(parents=True)
    header = ",".join(f"reading{number:03d}" for number in range(beats.shape[1]))
    np.savetxt(path, beats, delimiter=",", fmt="%.8g", header=header, comments="")
