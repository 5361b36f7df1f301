"""What a benchmark found: figures with their goals, as a table and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured value. at_least, at_most: its goal; both None: it is told, not judged."""

    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most

    @property
    def goal(self) -> str:
        """The goal in words; empty without one."""
        if self.at_least is not None:
            return f"{self.at_least:g} or more"
        return "" if self.at_most is None else f"{self.at_most:g} or less"


def print_figures(title: str, figures: Sequence[Figure]) -> None:
    """Print a heading and a line for each figure: name, value, unit, goal, met or not."""
    print(f"\n{title}")
    wide = max(len(figure.name) for figure in figures)
    words = {True: "met", False: "NOT MET", None: ""}
    for figure in figures:
        line = f"  {figure.name:{wide}}  {_shown(figure.value):>9} {figure.unit:8} {figure.goal:12} {words[figure.met]}"
        print(line.rstrip(), flush=True)


def write_figures(path: Path, machine: dict[str, object], sections: Mapping[str, Sequence[Figure]]) -> None:
    """Write everything as JSON: what the machine is, then each section's figures."""
    found = {
        title: [asdict(figure) | {"met": figure.met} for figure in figures]
        for title, figures in sections.items()
    }
    path.write_text(json.dumps({"machine": machine, "figures": found}, indent=1) + "\n", encoding="utf-8")


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
