"""How things look in a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aeflow.report.summary import Summary


def print_json(value: Any) -> None:
    """Print a value as JSON, dates as ISO text."""
    print(json.dumps(value, indent=1, default=str, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print an aligned table; numbers to the right, None as nothing."""
    cells = [["" if v is None else str(v) for v in row] for row in rows]
    widths = [max(len(line[c]) for line in [list(header), *cells]) for c in range(len(header))]
    right = [
        all(isinstance(row[c], int | float | None) for row in rows) and bool(rows) for c in range(len(header))
    ]
    for line in [list(header), *cells]:
        shown = (t.rjust(w) if r else t.ljust(w) for t, w, r in zip(line, widths, right, strict=True))
        print("  ".join(shown).rstrip())
