"""What verdicts are worth: nights of real machines, each reviewed by the labels before the next is scored.

`python -m benchmarks.verdicts` trains on the Server Machine Dataset, scores its test part in nights of one day,
and lets the labels be the reviewer: a flag that overlaps a labelled anomaly is called true, any other false. It
counts what was raised and what was suppressed, and what suppression would have hidden that is true. The labels
are used for nothing else.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.workload import SHARED_DATA

if TYPE_CHECKING:
    from numpy.typing import NDArray

_START = {"train": np.datetime64("2026-01-01", "us"), "test": np.datetime64("2026-02-01", "us")}
_MINUTE = np.timedelta64(60, "s")
_NAME = "smd-nights"


def write_pipeline(folder: Path, family: str, promised: float) -> tuple[Path, dict[str, NDArray[np.bool_]]]:
    """The pipeline, a batch a day; returns its config and machine -> label of each minute of the test part."""
    labels: dict[str, NDArray[np.bool_]] = {}
    names: list[str] = []
    for part, start in _START.items():
        for file in sorted((SHARED_DATA / "smd" / part).glob("*.txt.gz")):
            machine = file.name.removesuffix(".txt.gz")
            values = _read(file)
            names = [f"c{number + 1:02d}" for number in range(values.shape[1])]
            columns = {name: pa.array(values[:, number]) for number, name in enumerate(names)}
            time = pa.array(start + np.arange(len(values)) * _MINUTE)
            target = folder / "data" / f"{part}-{machine}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({"time": time, "machine": [machine] * len(values), **columns}), target)
            if part == "test":
                labels[machine] = _read(SHARED_DATA / "smd" / "test_label" / f"{machine}.txt")[:, 0] > 0
    config = {
        "name": _NAME,
        "source": {
            "kind": "table",
            "path": "../data",
            "format": "parquet",
            "time_column": "time",
            "entity_column": "machine",
            "channels": names,
        },
        "batch": {"by": "period"},
        "history": {"last": "2026-01-31"},
        "prepare": {"kind": "series", "cadence_seconds": 60, "window_points": 16, "train_stride_points": 4},
        "model": {"family": family},
        "calibration": {"false_flags_per_batch": promised},
        "checks": {"max_quarantined_share": 1.0},
    }
    path = folder / "configs" / f"{_NAME}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML too
    return path, labels


def is_true(flag: dict[str, Any], labels: dict[str, NDArray[np.bool_]]) -> bool:
    """Whether a labelled minute lies in the flag's event."""
    first, last = _minutes(flag)
    return bool(labels[flag["entity"]][first : last + 1].any())


@dataclass
class Reviewed:
    """What came of the nights. flags: (suppressed, true) -> how many; found: labelled anomalies, as machine and
    first minute, that a raised flag overlaps; highest and lowest: the p-value of the cut, in units of the calibration's."""

    flags: Counter[tuple[bool, bool]] = field(default_factory=Counter)
    found: set[tuple[str, int]] = field(default_factory=set)
    cuts: list[float] = field(default_factory=list)


def review_nights(config: Path, labels: dict[str, NDArray[np.bool_]]) -> Reviewed:
    """Score night after night, each reviewed before the next."""
    from aeflow.backlog import paths_of  # noqa: PLC0415 - after the home is set
    from aeflow.config import load_config  # noqa: PLC0415
    from aeflow.data.take_in import list_batches  # noqa: PLC0415
    from aeflow.report.receipt import read_receipt  # noqa: PLC0415
    from aeflow.store.verdicts import Verdict, Word, open_verdicts  # noqa: PLC0415
    from flows.score_batch import score_batch  # noqa: PLC0415

    store = open_verdicts(paths_of(config))
    came = Reviewed()
    anomalies = {machine: _runs(label) for machine, label in labels.items()}
    for batch in (b for b in list_batches(load_config(config)) if b >= "2026-02-01"):
        folder = score_batch(config, batch).folder
        cut = read_receipt(folder).moved_cut
        came.cuts.append(1.0 if cut is None else cut.alpha / cut.calibrated_alpha)
        words = []
        for flag in pq.read_table(folder / "flags.parquet", partitioning=None).to_pylist():
            true = is_true(flag, labels)
            came.flags[flag["suppressed"], true] += 1
            if not flag["suppressed"]:
                first, last = _minutes(flag)
                runs = anomalies[flag["entity"]]
                came.found |= {
                    (flag["entity"], begin) for begin, end in runs if begin <= last and first < end
                }
                word = Word.TRUE if true else Word.FALSE
                words.append(Verdict(flag["flag_id"], batch, word, "labels", datetime.now(UTC)))
        store.append(words)
    return came


def _minutes(flag: dict[str, Any]) -> tuple[int, int]:
    """First and last minute of a flag's event, from the beginning of the test part."""
    first, last = (
        int((np.datetime64(flag[end].replace(tzinfo=None), "us") - _START["test"]) / _MINUTE)
        for end in ("start", "end")
    )
    return first, last


def _runs(label: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where labelled stretches begin, and end (exclusive)."""
    turns = np.flatnonzero(np.diff(np.concatenate([[False], label, [False]]).astype(np.int8)))
    return [(int(begin), int(end)) for begin, end in turns.reshape(-1, 2)]


def _read(file: Path) -> NDArray[np.float64]:
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8") as text:
        return np.loadtxt(text, delimiter=",", ndmin=2)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--family", default="pca")
    parser.add_argument("--promised", type=float, default=4.0, help="false flags a night (default: 4)")
    arguments = parser.parse_args()
    if not (SHARED_DATA / "smd").is_dir():
        print("The Server Machine Dataset is not on this machine.")
        return 1
    with tempfile.TemporaryDirectory(prefix="aeflow-verdicts-") as temporary:
        folder = Path(temporary)
        os.environ["AEFLOW_HOME"] = str(folder / "trained")
        from flows.train_detector import train_detector  # noqa: PLC0415

        config, labels = write_pipeline(folder, arguments.family, arguments.promised)
        train_detector(config)
        total = sum(len(_runs(label)) for label in labels.values())
        print(f"{arguments.family}, {arguments.promised:g} false flags a night promised, {total} anomalies")
        print(f"{'review':<38} true false precision found suppressed-true -false false-a-night cut")
        written = json.loads(config.read_text(encoding="utf-8"))
        for suppression in ("off", "suppress"):
            for cut in ("fixed", "rise", "rise_and_fall"):
                review = {"suppression": suppression, "cut": cut}
                config.write_text(json.dumps(written | {"review": review}), encoding="utf-8")
                home = folder / f"{suppression}-{cut}"
                shutil.copytree(folder / "trained", home)
                os.environ["AEFLOW_HOME"] = str(home)
                print(_told(review, review_nights(config, labels)), flush=True)
    return 0


def _told(review: dict[str, str], came: Reviewed) -> str:
    true, false = came.flags[False, True], came.flags[False, False]
    hidden = (came.flags[True, kind] for kind in (True, False))
    cells = [true, false, f"{true / max(true + false, 1):.2f}", len(came.found), *hidden]
    cells += [f"{false / len(came.cuts):.2f}", f"{min(came.cuts):.2f}..{max(came.cuts):.2f}"]
    return f"{review!s:<38}" + " ".join(f"{cell!s:>6}" for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
