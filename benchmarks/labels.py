"""Labels of the public data sets in the form that `aeflow evaluate` reads.

    python -m benchmarks.labels skab OUT [--data ../shared/data]

writes OUT/skab.csv. What a benchmark gives to learn from is not among the labels: SKAB's first 400 rows
of an experiment, NAB's probation, SMD's train folder. Nothing here is read by training or calibration.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Row = dict[str, str | int]

_CONFIGS = Path(__file__).resolve().parents[1] / "configs"
_SKAB_TRAINING_ROWS = 400
_NAB_PROBATION_SHARE, _NAB_PROBATION_ROWS = 0.15, 750


def tiles(data: Path, out: Path) -> Iterator[Row]:
    """Item, label, and the mask of a defect, relative to `out`."""
    root = data / "magnetic_tile"
    with (root / "tiles.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            item = f"{row['class']}/{row['file']}"
            normal = row["class"] == "MT_Free"
            mask = "" if normal else os.path.relpath((root / item).with_suffix(".png"), out)
            yield {"item": item, "label": int(not normal), "mask": mask}


def skab(data: Path, out: Path) -> Iterator[Row]:  # noqa: ARG001 - one signature for all
    """Timestamp, entity, label of every row after the training part of its experiment."""
    root = data / "skab"
    for path in sorted(root.glob("*/[0-9]*.csv")):
        entity = path.relative_to(root).with_suffix("").as_posix()
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        for row in rows[_SKAB_TRAINING_ROWS:]:
            yield {"timestamp": row["datetime"], "entity": entity, "label": int(float(row["anomaly"]))}


def smd(data: Path, out: Path) -> Iterator[Row]:  # noqa: ARG001 - one signature for all
    """Timestamp, entity, label of the test rows; they are numbered as the pipeline numbers them."""
    pipeline = yaml.safe_load((_CONFIGS / "smd.yaml").read_text(encoding="utf-8"))
    first = datetime.fromisoformat(str(pipeline["source"]["first_time"]))
    step = timedelta(seconds=pipeline["prepare"]["cadence_seconds"])
    for path in sorted((data / "smd" / "test_label").glob("*.txt")):
        for number, label in enumerate(path.read_text(encoding="utf-8").split()):
            time = (first + number * step).isoformat()
            yield {"timestamp": time, "entity": path.stem, "label": int(label), "batch": "test"}


def nab(data: Path, out: Path) -> Iterator[Row]:  # noqa: ARG001 - one signature for all
    """Timestamp, entity, label (inside a window of the benchmark) of every row after probation."""
    root = data / "nab" / "data"
    windows = json.loads((data / "nab" / "labels" / "combined_windows.json").read_text(encoding="utf-8"))
    for path in sorted(root.glob("*/*.csv")):
        name = path.relative_to(root).as_posix()
        spans = [tuple(map(datetime.fromisoformat, window)) for window in windows[name]]
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        probation = min(int(len(rows) * _NAB_PROBATION_SHARE), _NAB_PROBATION_ROWS)
        for row in rows[probation:]:
            time = datetime.fromisoformat(row["timestamp"])
            inside = any(start <= time <= end for start, end in spans)
            yield {"timestamp": row["timestamp"], "entity": name.removesuffix(".csv"), "label": int(inside)}


SETS: dict[str, Callable[[Path, Path], Iterator[Row]]] = {
    "tiles": tiles,
    "skab": skab,
    "smd": smd,
    "nab": nab,
}


def write_labels(name: str, data: Path, out: Path) -> Path:
    """Write `out/name.csv` and return its path.

    Args:
        name: one of `SETS`.
        data: the folder of all data sets.
        out: made if it is not there.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = list(SETS[name](data, out))
    path = out / f"{name}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def main() -> None:
    """Write the labels of one data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=sorted(SETS))
    parser.add_argument("out", type=Path, help="folder that the CSV goes to")
    parser.add_argument("--data", type=Path, default=_CONFIGS.parents[1] / "shared" / "data")
    given = parser.parse_args()
    path = write_labels(given.name, given.data.resolve(), given.out.resolve())
    with path.open(encoding="utf-8", newline="") as file:
        labels = [row["label"] == "1" for row in csv.DictReader(file)]
    print(f"Wrote {path}: {len(labels)} labels, {sum(labels)} abnormal.")


if __name__ == "__main__":
    main()
