"""What the default pipelines find, beside the linear baseline and flag-everything: `make bench-detection`.

    python -m benchmarks.detection [--only PART ...] [--seeds 3] [--kept FILE]

README.md beside this file says what each figure is. A part is a module with `cells(seed)`, `measure(cell)`
and `GOALS`, which are by data set, task and figure; every cell is kept in a file when it is done, so that a
run that was stopped goes on from there.
With all parts and at least three seeds the figures are written to results/detection.json, from which
`make docs` makes the table in docs/detection.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks import detection_beats, detection_images, detection_series
from benchmarks.cells import measure_all
from benchmarks.goals import judged

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from benchmarks.cells import Cell, Found

_ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "detection.json"
_KEPT = _ROOT / ".aeflow" / "bench-detection.jsonl"
_SEEDS, _WORKERS = 3, 2

PARTS: dict[str, ModuleType] = {
    "series": detection_series,
    "beats": detection_beats,
    "images": detection_images,
}


def measure(cell: Cell) -> dict[str, float]:
    """The figures of one cell of any part."""
    figures: dict[str, float] = PARTS[cell.part].measure(cell)
    return figures


def summarise(found: Iterable[Found]) -> list[dict[str, Any]]:
    """A row for each part, data set, task, group, method and figure: mean and deviation over seeds, the goal
    of the detector's, and whether that is met.

    A cell's figures are named "FIGURE", "METHOD: FIGURE" or "TASK: METHOD: FIGURE", such as "baseline: f1".
    """
    values: dict[tuple[str, ...], list[float]] = {}
    for one in found:
        cell = one.cell
        for name, value in one.figures.items():
            *before, figure = name.split(": ")
            method = before[-1] if before else "detector"
            task = before[0] if len(before) > 1 else cell.task
            values.setdefault((cell.part, cell.data, task, cell.group, method, figure), []).append(value)
    rows = []
    for key, of_seeds in values.items():
        row: dict[str, Any] = dict(
            zip(("part", "data", "task", "group", "method", "figure"), key, strict=True)
        )
        row |= {"seeds": len(of_seeds), "mean": round(float(np.mean(of_seeds)), 5)}
        row |= {"deviation": round(float(np.std(of_seeds, ddof=1)), 5) if len(of_seeds) > 1 else None}
        goals = PARTS[row["part"]].GOALS
        goal = goals.get((row["data"], row["task"], row["figure"])) if row["method"] == "detector" else None
        rows.append(row | judged(row["mean"], goal))
    return rows


def print_rows(rows: list[dict[str, Any]]) -> None:
    """A block for each part, data set, task and group; a line for each figure."""
    before = None
    for row in rows:
        title = ", ".join(filter(None, (row["part"], row["data"], row["task"], row["group"])))
        if title != before:
            print(f"\n{title}")
            before = title
        deviation = "" if row["deviation"] is None else f" ± {row['deviation']:.3g}"
        met = {True: "met", False: "NOT MET", None: ""}[row["met"]]
        line = (
            f"  {row['method']:12} {row['figure']:24} {row['mean']:9.4g}{deviation:12} {row['goal']:14} {met}"
        )
        print(line.rstrip())


def main() -> None:
    """Measure what is missing, print everything, and store it when it is whole."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=tuple(PARTS), help="these parts alone")
    parser.add_argument("--seeds", type=int, default=_SEEDS, help=f"how many; default {_SEEDS}")
    parser.add_argument("--workers", type=int, default=_WORKERS, help="processes of one thread each")
    parser.add_argument("--kept", type=Path, default=_KEPT, help="file of finished cells, to go on from")
    given = parser.parse_args()
    # Stopped politely it ends like this too: no process is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; it goes on from the cells that are kept"))
    begun = time.monotonic()
    cells = [cell for seed in range(given.seeds) for part in given.only for cell in PARTS[part].cells(seed)]
    found = measure_all(cells, measure, given.kept, workers=given.workers)
    rows = summarise(found)
    print_rows(rows)
    print(f"\nDone in {time.monotonic() - begun:.0f} s.")
    if len(found) < len(cells):
        sys.exit(f"{len(cells) - len(found)} cells failed; what they said stands above.")
    if given.seeds >= _SEEDS and set(given.only) == set(PARTS):
        machine = {
            "processor": platform.machine(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        }
        seconds = round(sum(one.seconds for one in found))
        content = {"machine": machine, "seeds": given.seeds, "seconds": seconds, "rows": rows}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(
            f"Wrote {RESULTS.relative_to(_ROOT)}; the table in docs/detection.md is made from it by: make docs"
        )


if __name__ == "__main__":
    main()
