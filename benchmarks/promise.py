"""How many false flags come where so many were promised: `python -m benchmarks.promise`.

Every repetition draws a stretch of normal data (series) or a split by tile (images), fits a linear detector
as `aeflow train` does, and counts what it flags in later time or on other tiles: all of it is false. Two
events are promised in each of three batches that follow a series' calibration, each a third as long; of
images 5 %. The detectors of `configs/` are tried in the same way; two whose fitting takes long are fitted once, and
each repetition draws what calibrates and what is judged.

A repetition is *kept* where the number of flags lies in the 95 % interval that the calibration gives, *below*
where fewer came, *told* where more came and the check for a shift says so, and *silent* where more came and
nothing was said. A *silent flood* is no more events, but more flagged points than chance explains, and nothing
said.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.promise_trials import SHIPPED, TRIALS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.promise_trials import Judged, Repetition

REPETITIONS = 200
RULES = ("peaks_over_threshold", "conformal")
RESULTS = Path(__file__).parent / "results" / "promise.json"


@dataclass(frozen=True)
class Row:
    """The repetitions of one trial together: mean numbers of flags in a test part, 95 % interval of the mean
    that came; shares of repetitions by outcome, and of batches.

    doubted: of those kept, the share in which the check says that the scores moved.
    """

    trial: str
    rule: str
    repetitions: int
    items: float
    promised: float
    expected: float
    came: float
    came_low: float
    came_high: float
    kept: float
    below: float
    told: float
    silent: float
    doubted: float
    silent_floods: float
    batches_told: float
    batches_silent: float

    @property
    def held(self) -> float:
        """The share in which the number lay within the interval, or the report said that it would not."""
        return 1 - self.below - self.silent


def row_of(trial: str, rule: str, found: Sequence[Repetition]) -> Row:
    """The row of a table."""
    whole = [one.whole for one in found]
    batches = [batch for one in found for batch in one.batches]
    came = np.array([one.came for one in whole], dtype=np.float64)
    half = 1.96 * float(came.std(ddof=1)) / len(found) ** 0.5 if len(found) > 1 else float("nan")
    return Row(
        trial=trial,
        rule=rule,
        repetitions=len(found),
        items=_mean([one.items for one in whole]),
        promised=_mean([one.promised for one in whole]),
        expected=_mean([one.expected for one in whole]),
        came=float(came.mean()),
        came_low=float(came.mean()) - half,
        came_high=float(came.mean()) + half,
        kept=_share(whole, "kept"),
        below=_share(whole, "below"),
        told=_share(whole, "told"),
        silent=_share(whole, "silent"),
        doubted=_mean([one.moved and not one.beyond for one in whole]),
        silent_floods=_mean([one.beyond and one.came <= one.high and not one.moved for one in whole]),
        batches_told=_share(batches, "told"),
        batches_silent=_share(batches, "silent"),
    )


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    lines = [
        "| normal data | rule | promised | came, mean (95 %) | kept | below | told | silent | in doubt | silent floods | batches silent |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.trial} | {row.rule} | {row.promised:.2f} of {row.items:,.0f} | {row.came:.2f} ({row.came_low:.2f} to "
        f"{row.came_high:.2f}) | {row.kept:.1%} | {row.below:.1%} | {row.told:.1%} | {row.silent:.1%} | "
        f"{row.doubted:.1%} | {row.silent_floods:.1%} | {row.batches_silent:.1%} |"
        for row in rows
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table; a full run is kept as JSON, from which `make docs` makes a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promise", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--only", nargs="+", choices=[*TRIALS, *SHIPPED], default=[*TRIALS, *SHIPPED])
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    given = parser.parse_args(arguments)
    measured: list[Row] = []
    one_thread = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn"), **one_thread) as pool:
        for trial in given.only:
            for rule in RULES if trial in TRIALS else RULES[:1]:
                repetition = partial((TRIALS | SHIPPED)[trial], rule=rule)
                found = list(pool.map(repetition, range(given.repetitions), chunksize=5))
                measured.append(row_of(trial, rule, found))
                print(f"{trial}, {rule}: {measured[-1].held:.1%} held", flush=True)
    print(table(measured))
    if given.repetitions == REPETITIONS:
        _keep(measured)


def _keep(measured: Sequence[Row]) -> None:
    """Store the rows beside those of other trials, in the order of the trials."""
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    rows = {(row["trial"], row["rule"]): row for row in [*stored, *map(asdict, measured)]}
    order = [*TRIALS, *SHIPPED]
    known = [row for row in rows.values() if row["trial"] in order]
    known.sort(key=lambda row: (order.index(row["trial"]), RULES.index(row["rule"])))
    RESULTS.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _share(judged: Sequence[Judged], outcome: str) -> float:
    return _mean([one.outcome == outcome for one in judged])


if __name__ == "__main__":
    main(sys.argv[1:])
