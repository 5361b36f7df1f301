"""The table of what the default pipelines find, put between two marks of the log in detection.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "detection.json"
PAGE = Path(__file__).parent / "detection.md"
BEGIN, END = "<!-- figures: written by make docs -->", "<!-- end of figures -->"

_TITLES = {"series": "Series", "images": "Images", "promise": "The promise", "attribution": "Attribution"}
_NAMES = {
    "detector": "detector",
    "baseline": "PCA, same scores",
    "plain": "plain PCA",
    "everything": "flag everything",
}


def page() -> str:
    """The page as it is, its table made anew from the stored figures."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{_tables()}\n\n{END}{after}"


def _tables() -> str:
    if not RESULTS.exists():
        return "No figures are stored: `make bench-detection` measures them."
    stored = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = stored["rows"]
    machine, minutes = stored["machine"], stored["seconds"] / 60
    how = (
        f"Mean of {stored['seeds']} seeds ± their standard deviation, by `make bench-detection`: {minutes:.0f} minutes of one core in "
        f"all (Python {machine['python']}, torch {machine['torch']})."
    )
    told = [how]
    for part in dict.fromkeys(row["part"] for row in rows):
        mine = [row for row in rows if row["part"] == part]
        told += [f"### {_TITLES.get(part, part.capitalize())}", _table(mine)]
    return "\n\n".join(told)


def _table(rows: list[dict[str, Any]]) -> str:
    methods = list(dict.fromkeys(row["method"] for row in rows))
    lines = [
        f"| data | figure | goal | {' | '.join(_NAMES.get(m, m) for m in methods)} |",
        f"|---|---|---|{'---|' * len(methods)}",
    ]
    of = {(row["data"], row["task"], row["group"], row["figure"], row["method"]): row for row in rows}
    for data, task, group, figure in dict.fromkeys(key[:4] for key in of):
        found = [of.get((data, task, group, figure, method)) for method in methods]
        goal = next((row["goal"] for row in found if row and row["goal"]), "")
        name = ", ".join(filter(None, (data, task, group)))
        cells = " | ".join(_value(row) for row in found)
        lines.append(f"| {name} | {figure.replace('_', ' ')} | {goal} | {cells} |")
    return "\n".join(lines)


def _value(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    digits = 3 if abs(row["mean"]) < 10 else 0
    shown = f"{row['mean']:.{digits}f}"
    if row["deviation"]:
        shown += f" ± {row['deviation']:.{digits}f}"
    return shown + {True: "", False: " (missed)", None: ""}[row["met"]]
