"""Every model family on real data, labelled: `make bench-models`.

    python -m benchmarks.models [--only PART ...] [--seeds 3] [--scale 1.0] [--kept FILE]

README.md beside this file says what each figure is. Every cell (a variant, a data set, a class, a seed) is
kept in a file when it is done: a run that was stopped goes on from there. At full scale the figures are
written to results/models.json, from which `make docs` makes docs/models.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks import one_class, probing, restoring, trained
from benchmarks.cells import COSTS, measure_all
from benchmarks.intervals import estimate
from benchmarks.variants import variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from benchmarks.cells import Cell, Found

_ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "models.json"
_KEPT = _ROOT / ".aeflow" / "bench-models.jsonl"
_SEEDS, _WORKERS = 3, 2
_FIGURES = {"one-class": "auroc", "ecg": "auroc", "restore": "psnr", "probe": "accuracy"}

PARTS: dict[str, tuple[Callable[[int, float], Iterator[Cell]], Callable[[Cell], dict[str, float]]]] = {
    "ecg": (one_class.series_cells, one_class.measure_series),
    "probe": (probing.cells, probing.measure),
    "restore": (restoring.cells, restoring.measure),
    "one-class": (one_class.image_cells, one_class.measure_images),
}


def measure(cell: Cell) -> dict[str, float]:
    """The figures of one cell of any part."""
    return PARTS[cell.part][1](cell)


def summarise(found: Iterable[Found]) -> list[dict[str, Any]]:
    """A row for each part, data set, task and method: its figure with interval, group by group, and what
    it cost (means)."""
    rows: dict[tuple[str, str, str, str], list[Found]] = {}
    for one in found:
        rows.setdefault((one.cell.part, one.cell.data, one.cell.task, one.cell.method), []).append(one)
    return [_row(key, cells) for key, cells in rows.items()]


def _row(key: tuple[str, str, str, str], cells: list[Found]) -> dict[str, Any]:
    figure = _FIGURES[key[0]]
    groups: dict[str, list[float]] = {}
    for one in sorted(cells, key=lambda f: (f.cell.group, f.cell.seed)):
        groups.setdefault(one.cell.group, []).append(one.figures[figure])
    row: dict[str, Any] = dict(zip(("part", "data", "task", "method"), key, strict=True))
    row |= {"figure": figure, "seeds": max(len(v) for v in groups.values())}
    row |= {k: None if v is None else round(v, 5) for k, v in asdict(estimate(groups)).items()}
    if len(groups) > 1:
        row["groups"] = {g: round(sum(v) / len(v), 5) for g, v in groups.items()}
    if all(cost in cells[0].figures for cost in COSTS):
        row |= {c: round(sum(f.figures[c] for f in cells) / len(cells), 2) for c in COSTS}
    return row


def print_rows(rows: list[dict[str, Any]]) -> None:
    """A table for each part, data set and task."""
    before = None
    wide = max(len(row["method"]) for row in rows)
    for row in rows:
        title = (row["part"], row["data"], row["task"])
        if title != before:
            print("\n" + ", ".join(filter(None, title)) + f": {row['figure']}")
            before = title
        interval = "" if row["low"] is None else f"{row['low']:.4g} .. {row['high']:.4g}"
        cost = ""
        if "flops" in row:
            cost = f"{row['parameters']:>12,.0f} {row['flops'] / 1e6:8.2f} {row['training_seconds']:8.1f} s"
        print(f"  {row['method']:{wide}} {row['mean']:8.4g}  {interval:18} {cost}".rstrip())


def settings(seeds: int) -> dict[str, Any]:
    """What all of it was measured with."""
    return {
        "seeds": seeds,
        "class_images": one_class.CLASS_IMAGES,
        "unlabelled_images": probing.UNLABELLED,
        "labelled_images": probing.LABELLED,
        "restored_from_images": restoring.IMAGES,
        "validation_share": trained.VALIDATION_SHARE,
        "training": {
            name: setting.model_dump(
                include={"epochs", "batch_size", "learning_rate", "schedule", "patience_epochs"}
            )
            for name, setting in (
                ("one class of images", trained.IMAGES),
                ("images of all classes", trained.MANY_IMAGES),
                ("series", trained.SERIES),
            )
        },
        "variants": {kind: {v.name: v.in_yaml for v in variants(kind)} for kind in ("images", "series")},
    }


def main() -> None:
    """Measure what is missing, print everything, and store it at full scale."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=tuple(PARTS), help="these parts alone")
    parser.add_argument("--seeds", type=int, default=_SEEDS, help=f"how many; default {_SEEDS}")
    parser.add_argument("--scale", type=float, default=1.0, help="numbers of items; smaller is quicker")
    parser.add_argument("--workers", type=int, default=_WORKERS, help="processes of one thread each")
    parser.add_argument("--kept", type=Path, default=_KEPT, help="file of finished cells, to go on from")
    given = parser.parse_args()
    # Stopped politely it ends like this too: no process is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; it goes on from the cells that are kept"))
    begun = time.monotonic()
    # Seed by seed: a run that is stopped has compared everything with fewer seeds.
    cells = [
        cell
        for seed in range(given.seeds)
        for part in given.only
        for cell in PARTS[part][0](seed, given.scale)
    ]
    found = measure_all(cells, measure, given.kept, workers=given.workers)
    order = {part: number for number, part in enumerate(_FIGURES)}
    rows = sorted(summarise(found), key=lambda row: order[row["part"]])
    print_rows(rows)
    print(f"\nDone in {time.monotonic() - begun:.0f} s.")
    if given.scale == 1 and set(given.only) == set(PARTS):
        machine = {
            "processor": platform.machine(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        }
        content = {"machine": machine, "settings": settings(given.seeds), "rows": rows}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"Wrote {RESULTS.relative_to(_ROOT)}; docs/models.md is made from it by: make docs")
    if len(found) < len(cells):
        sys.exit(f"{len(cells) - len(found)} cells failed; what they said stands above.")


if __name__ == "__main__":
    main()
