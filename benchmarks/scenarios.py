"""Changes planted into real data, and what aeflow decides on the night after: `python -m benchmarks.scenarios`.

Series: a machine of SMD (38 metrics by the minute; one batch a day), or, where that is not at hand, the water flow of
river with channels that follow from it. Images: the digits of scikit-learn. Each scenario is scored night by night
by the same commands' functions that a user calls, and ends with the decision after its last night.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml
from PIL import Image

from benchmarks.planted_nights import LOOKED_AT, NIGHTS, SERIES, WATER, Machine, load_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aeflow.retraining import RetrainingDecision

_DIGITS_HISTORY, _DIGITS_NIGHT, _NEW_KIND = 100, 26, 10
_START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Ended:
    """How a scenario ended."""

    scenario: str
    expected: str
    decided: str
    reasons: tuple[str, ...]
    seconds: float

    @property
    def right(self) -> bool:
        """Whether it was decided as expected."""
        return self.decided == self.expected


def main() -> int:
    """Run the scenarios that are asked for, or all; the exit code is the number of wrong decisions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(names())}; default: all")
    parser.add_argument(
        "--machine",
        default=LOOKED_AT,
        help=f"a machine of SMD, or {WATER}; default: {LOOKED_AT}, on which the rules of the decision were made",
    )
    parser.add_argument("--json", type=Path, help="write the outcomes there as well")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aeflow-scenarios-") as folder:
        machine = load_machine(given.machine)
        ended = [run(name, Path(folder), machine) for name in given.names or names()]
    for one in ended:
        print(f"{'right' if one.right else 'WRONG'}  {one.scenario}: {one.decided} ({one.seconds:.0f} s)")
        for reason in one.reasons:
            print(f"         {reason}")
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in ended], indent=1) + "\n", encoding="utf-8")
    return sum(not one.right for one in ended)


def names() -> list[str]:
    """Of all scenarios."""
    return [*SERIES, "new_variant", "new_variant_judged"]


def run(name: str, folder: Path, machine: Machine | None = None) -> Ended:
    """One scenario in `folder`, where what scenarios share is kept. machine: None: `load_machine`."""
    began = time.perf_counter()
    if name in SERIES:
        expected = SERIES[name].expected
        decision = _series(name, folder, machine or load_machine())
    else:
        expected = "RETRAIN" if name == "new_variant_judged" else "HOLD"
        decision = _digits(folder, judged=name == "new_variant_judged")
    return Ended(name, expected, str(decision.outcome), decision.reasons, time.perf_counter() - began)


def _series(name: str, folder: Path, machine: Machine) -> RetrainingDecision:
    shared = folder / "series"
    if not shared.exists():
        write_machine(shared, machine)
        work_in(shared, train)
    place = folder / name
    shutil.copytree(shared, place)
    nights = SERIES[name].plant(machine)
    write_rows(place / "data" / "nights.csv", nights, machine.first_day + machine.history_days, machine)
    days = [machine.first_day + machine.history_days + n for n in range(NIGHTS)]
    return work_in(place, lambda config: _score_and_decide(config, [day(d) for d in days]))


def _digits(folder: Path, *, judged: bool) -> RetrainingDecision:
    """One product, the digit 0, and three nights in which a quarter of the pieces are another, the digit 7."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - a second that series need not wait

    digits = load_digits()
    place = folder / ("digits-judged" if judged else "digits")
    write_pipeline(place, _DIGITS)
    generator = np.random.default_rng(0)
    usual = generator.permutation(np.flatnonzero(digits.target == 0))
    new = generator.permutation(np.flatnonzero(digits.target == 7))
    batches = {"history": usual[:_DIGITS_HISTORY]}
    for night in range(3):
        begin = _DIGITS_HISTORY + night * _DIGITS_NIGHT
        kind = new[night * _NEW_KIND : (night + 1) * _NEW_KIND]
        batches[f"night-{night + 1}"] = np.concatenate([usual[begin : begin + _DIGITS_NIGHT], kind])
    for batch, chosen in batches.items():
        (place / "data" / batch).mkdir(parents=True)
        for number in chosen:
            pixels = (digits.images[number] * 255 / 16).astype(np.uint8)
            Image.fromarray(pixels).save(place / "data" / batch / f"{digits.target[number]}-{number:04d}.png")

    def work(config: Path) -> RetrainingDecision:
        train(config)
        decision = _score_and_decide(config, ["night-1", "night-2", "night-3"])
        if judged:
            _call_normal(config)
            decision = _decide(config)
        return decision

    return work_in(place, work)


def _call_normal(config: Path) -> None:
    """Somebody says of every flag on the new kind that it is normal."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    from aeflow.backlog import paths_of  # noqa: PLC0415
    from aeflow.store.verdicts import Verdict, Word, open_verdicts  # noqa: PLC0415

    paths = paths_of(config)
    said = [
        Verdict(row["flag_id"], batch, Word.FALSE, "anna", datetime.now(UTC), note="the new variant")
        for batch in paths.published()
        for row in pq.read_table(
            paths.report(batch) / "flags.parquet", columns=["flag_id", "item"]
        ).to_pylist()
        if "/7-" in row["item"]
    ]
    open_verdicts(paths).add(said)


def train(config: Path) -> None:
    """Train a detector of the pipeline."""
    from flows.train_detector import train_detector  # noqa: PLC0415

    train_detector(config)


def score(config: Path, batch: str, version: int | None = None) -> None:
    """Score a batch, by the champion or by a version."""
    from flows.score_batch import score_batch  # noqa: PLC0415

    score_batch(config, batch, version=version)


def _score_and_decide(config: Path, batches: list[str]) -> RetrainingDecision:
    for batch in batches:
        score(config, batch)
    return _decide(config)


def _decide(config: Path) -> RetrainingDecision:
    from flows.retrain_if_needed import decide_only  # noqa: PLC0415

    return decide_only(config)


def work_in(place: Path, work: Callable[[Path], RetrainingDecision | None]) -> RetrainingDecision:
    """`work` with the config of the pipeline in `place`, its home beside it."""
    from aeflow.settings import prepare_environment  # noqa: PLC0415

    (config,) = (place / "configs").glob("*.yaml")
    named = {
        "AEFLOW_HOME": str(place / "home"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{place / 'home' / 'mlflow.db'}",
    }
    os.environ.update(named)
    prepare_environment(place / "home")
    return work(config)  # type: ignore[return-value]


def write_machine(place: Path, machine: Machine, **sections: object) -> None:
    """A place with the pipeline of a machine, some sections of which are given, and its history."""
    write_pipeline(place, pipeline_of(machine) | sections)
    write_rows(place / "data" / "history.csv", machine.history, machine.first_day, machine)


def write_pipeline(place: Path, pipeline: dict[str, object]) -> None:
    """The folders of a pipeline, and its YAML file."""
    for name in ("configs", "data", "home"):
        (place / name).mkdir(parents=True)
    text = yaml.safe_dump(pipeline, sort_keys=False)
    (place / "configs" / f"{pipeline['name']}.yaml").write_text(text, encoding="utf-8")


def write_rows(file: Path, values: np.ndarray, first_day: int, machine: Machine) -> None:
    """Readings `(L, C)` of a machine from a day on, as CSV."""
    with file.open("w", encoding="utf-8") as out:
        out.write(",".join(["time", *machine.channels]) + "\n")
        for time_, row in zip(_times(first_day, len(values), machine), values, strict=True):
            out.write(f"{time_}," + ",".join(f"{v:.5g}" for v in row) + "\n")


def _times(first_day: int, rows: int, machine: Machine) -> Iterator[str]:
    step = timedelta(days=1) / machine.rows_a_day
    for number in range(rows):
        yield (_START + timedelta(days=first_day) + number * step).isoformat()


def day(number: int) -> str:
    """The id of the batch of a day."""
    return (_START + timedelta(days=number)).date().isoformat()


def pipeline_of(machine: Machine) -> dict[str, object]:
    """The pipeline of a machine, a batch a day."""
    last = day(machine.first_day + machine.history_days - 1)
    return {
        "name": "machine",
        "source": {
            "kind": "table",
            "path": "../data",
            "time_column": "time",
            "channels": list(machine.channels),
        },
        "batch": {"by": "period", "period": "day"},
        "history": {"last": last},
        # Parted day by day: what differs between the days of one real machine is in every part.
        "split": {
            "train": 0.5,
            "validation": 0.1,
            "calibration": 0.3,
            "test": 0.1,
            "stretches": machine.history_days,
        },
        "prepare": {
            "kind": "series",
            "cadence_seconds": 86400 / machine.rows_a_day,
            "window_points": machine.window_points,
        },
        "model": {"family": "pca"},
        "calibration": {"false_flags_per_batch": 1},
    }


_DIGITS: dict[str, object] = {
    "name": "digits",
    "source": {"kind": "images", "root": "../data"},
    "batch": {"by": "folder"},
    "history": {"batches": ["history"]},
    "prepare": {"kind": "images", "height_px": 8, "width_px": 8},
    "model": {"family": "pca"},
    "calibration": {"false_flags_per_batch": 1, "items_per_batch": _DIGITS_NIGHT + _NEW_KIND},
    # What is asked here is the decision: by default flags like one that was called false are no flags any more.
    "review": {"suppression": "off"},
}


if __name__ == "__main__":
    raise SystemExit(main())
