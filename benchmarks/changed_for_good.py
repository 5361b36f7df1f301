"""What comes of a change for good, by default settings: `python -m benchmarks.changed_for_good`.

A machine of SMD and its season, as in `benchmarks.scenarios`: three nights of it end in RETRAIN, the retraining learns,
the challenger meets the champion, and a further night of the season is scored by whichever is live. Into the last
night but one real faults of the machine are planted: none of them may be learnt from. Into the further night others:
they are to be found.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.planted_nights import LOOKED_AT, NIGHTS, SERIES, load_machine
from benchmarks.scenarios import day, score, train, work_in, write_machine, write_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.planted_nights import Machine

_BURSTS = 6
_MODELS: dict[str, dict[str, Any]] = {
    "pca": {"model": {"family": "pca"}},
    "dense": {
        "model": {"family": "dense", "hidden": [64], "code_size": 8},
        "training": {"epochs": 15, "max_train_windows": 4000},
    },
}


@dataclass(frozen=True)
class Changed:
    """What came of it.

    decided: after three nights of the season. live: whether the challenger went live. learnt_from: rows. left_out: of
    the rows of the season beside the planted faults, the share that was left out. faults_learnt: of the flagged rows
    of planted faults the share that was learnt from all the same. of_faults: of these rows, the share that was flagged.
    after: of the further night, by whichever detector is live: flags and the share of rows flagged beside the planted
    faults, flags by its promise, and how many of the six planted faults were found; before: the same of the detector
    that was live before the change.
    """

    machine: str
    model: str
    decided: str
    live: bool
    reasons: tuple[str, ...]
    learnt_from: int
    left_out: float
    faults_learnt: float
    of_faults: float
    before: dict[str, float]
    after: dict[str, float]


def main() -> int:
    """Run it; the exit code is the number of machines of which no better detector went live, or faults were learnt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("machines", nargs="*", default=[LOOKED_AT], help="machines of SMD, or water")
    parser.add_argument("--model", choices=list(_MODELS), default="pca")
    parser.add_argument("--json", type=Path, help="write what came there as well")
    given = parser.parse_args()
    ended = []
    for name in given.machines:
        with tempfile.TemporaryDirectory(prefix="aeflow-changed-") as folder:
            ended.append(run(name, given.model, Path(folder) / "place"))
            tell(ended[-1])
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in ended], indent=1) + "\n", encoding="utf-8")
    return sum(not one.live or one.faults_learnt > 0 for one in ended)


def run(name: str, model: str, place: Path) -> Changed:
    """One machine in the folder `place`."""
    machine = load_machine(name)
    write_machine(place, machine, **_MODELS[model])
    nights, faulty = _nights(machine)
    write_rows(place / "data" / "nights.csv", nights, machine.first_day + machine.history_days, machine)
    return work_in(place, lambda config: _live_through(config, machine, faulty, name, model))


def tell(one: Changed) -> None:
    """Print it."""
    print(f"{one.machine}, {one.model}: {one.decided}, {'live' if one.live else 'NOT live'}", flush=True)
    for key, value in asdict(one).items():
        if key not in {"machine", "model", "decided", "live", "reasons"}:
            print(f"    {key}: {value}")
    for reason in one.reasons:
        print(f"      {reason}")


def _nights(machine: Machine) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The nights of the season with real faults in the last two, and which rows those are."""
    nights = SERIES["season"].plant(machine)
    faulty = np.zeros(len(nights), dtype=bool)
    length = max(3, machine.rows_a_day // 72)
    step, apart = machine.rows_a_day // (_BURSTS + 1), len(machine.faults) // (2 * _BURSTS)
    for number in range(2 * _BURSTS):
        night = machine.night(-2 if number < _BURSTS else -1)
        at = night.start + (number % _BURSTS + 1) * step
        # A fault of the machine as it is in its new season.
        fault = machine.faults[number * apart : number * apart + length]
        nights[at : at + len(fault)] = fault + (
            nights[at : at + len(fault)] - machine.nights[at : at + len(fault)]
        )
        faulty[at : at + len(fault)] = True
    return nights, faulty


def _live_through(
    config: Path, machine: Machine, faulty: NDArray[np.bool_], name: str, model: str
) -> Changed:
    from aeflow.backlog import paths_of  # noqa: PLC0415 - once the environment is that of the pipeline
    from flows.retrain_if_needed import decide_only, retrain_if_needed  # noqa: PLC0415

    train(config)
    days = [day(machine.first_day + machine.history_days + n) for n in range(NIGHTS)]
    for batch in days[:-1]:
        score(config, batch)
    decided = decide_only(config)
    kept_out, flagged = _left_out(config, decided.new_normal_since, days, machine)
    done = retrain_if_needed(config)
    score(config, days[-1], version=1)
    before = _of_night(paths_of(config).report(days[-1]), faulty[machine.night(-1)])
    score(config, days[-1])
    after = _of_night(paths_of(config).report(days[-1]), faulty[machine.night(-1)])
    season = np.zeros(len(faulty), dtype=bool)
    season[machine.night(-4).start : machine.night(-1).start] = True
    trained = done.trained
    return Changed(
        machine=name,
        model=model,
        decided=str(decided.outcome),
        live=trained is not None and trained.live,
        reasons=tuple(decided.reasons) if trained is None else trained.decision.reasons,
        learnt_from=0 if trained is None else trained.rows,
        left_out=float(kept_out[season & ~faulty].mean()),
        faults_learnt=float((~kept_out[season & faulty & flagged]).mean()),
        of_faults=float(flagged[season & faulty].mean()),
        before=before,
        after=after,
    )


def _left_out(
    config: Path, since: str | None, days: list[str], machine: Machine
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows of the nights a training would leave out now, and which are flagged."""
    from aeflow.backlog import paths_of  # noqa: PLC0415
    from aeflow.config import load_config  # noqa: PLC0415
    from aeflow.review.learning import left_out_of_training  # noqa: PLC0415
    from aeflow.review.moved_nights import MovedNights  # noqa: PLC0415

    paths = paths_of(config)
    moved = None if since is None else MovedNights(since, 1, machine.window_points)
    out = left_out_of_training(load_config(config), paths, [], days[:-1], moved=moved)
    kept_out, flagged = np.zeros((2, NIGHTS, machine.rows_a_day), dtype=bool)
    for night, batch in enumerate(days[:-1]):
        rows = pq.read_table(paths.report(batch) / "scores.parquet", columns=["timestamp", "flag"])
        times = rows["timestamp"].to_numpy().astype("datetime64[us]").astype(np.int64)
        flagged[night] = np.array(rows["flag"].to_pylist(), dtype=bool)
        for first, last in out.spans.values():
            at = np.searchsorted(first, times, side="right") - 1
            kept_out[night] |= (at >= 0) & (times <= last[at])
    return kept_out.ravel(), flagged.ravel()


def _of_night(report: Path, faulty: NDArray[np.bool_]) -> dict[str, float]:
    """Flags and the share of flagged rows beside the planted faults, and how many of those are flagged."""
    rows = pq.read_table(report / "scores.parquet", columns=["flag", "flag_id"])
    flag = np.array(rows["flag"].to_pylist(), dtype=bool)
    ids = np.array([name or "" for name in rows["flag_id"].to_pylist()])
    begins = np.flatnonzero(np.diff(faulty.astype(int), prepend=0) == 1)
    ends = np.flatnonzero(np.diff(faulty.astype(int), append=0) == -1) + 1
    found = sum(bool(flag[begin:end].any()) for begin, end in zip(begins, ends, strict=True))
    of_faults = set(ids[faulty & flag])
    others = {name for name in ids[flag] if name not in of_faults}
    summary = json.loads((report / "summary.json").read_text())
    return {
        "flags": len(others),
        "flagged": float(flag[~faulty].mean()),
        "expected": summary["promise"]["expected_false_flags_per_batch"] or 0.0,
        "found": found,
    }


if __name__ == "__main__":
    raise SystemExit(main())
