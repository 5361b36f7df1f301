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
import sys
import tempfile
from collections import Counter
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


def write_pipeline(folder: Path, family: str) -> tuple[Path, dict[str, NDArray[np.bool_]]]:
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
        "calibration": {"false_flags_per_batch": 4},
        "checks": {"max_quarantined_share": 1.0},
    }
    path = folder / "configs" / f"{_NAME}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML too
    return path, labels


def is_true(flag: dict[str, Any], labels: dict[str, NDArray[np.bool_]]) -> bool:
    """Whether a labelled minute lies in the flag's event."""
    first, last = (
        int((np.datetime64(flag[end].replace(tzinfo=None), "us") - _START["test"]) / _MINUTE)
        for end in ("start", "end")
    )
    return bool(labels[flag["entity"]][first : last + 1].any())


def review_nights(config: Path, labels: dict[str, NDArray[np.bool_]]) -> Counter[tuple[bool, bool]]:
    """Score night after night, each reviewed before the next; (suppressed, true) -> flags."""
    from aeflow.backlog import paths_of  # noqa: PLC0415 - after the home is set
    from aeflow.config import load_config  # noqa: PLC0415
    from aeflow.data.take_in import list_batches  # noqa: PLC0415
    from aeflow.store.verdicts import Verdict, Word, open_verdicts  # noqa: PLC0415
    from flows.score_batch import score_batch  # noqa: PLC0415

    store = open_verdicts(paths_of(config))
    counts: Counter[tuple[bool, bool]] = Counter()
    for batch in (b for b in list_batches(load_config(config)) if b >= "2026-02-01"):
        folder = score_batch(config, batch).folder
        flags = pq.read_table(folder / "flags.parquet", partitioning=None).to_pylist()
        words = []
        for flag in flags:
            true = is_true(flag, labels)
            counts[flag["suppressed"], true] += 1
            if not flag["suppressed"]:
                word = Word.TRUE if true else Word.FALSE
                words.append(Verdict(flag["flag_id"], batch, word, "labels", datetime.now(UTC)))
        store.append(words)
    return counts


def _read(file: Path) -> NDArray[np.float64]:
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8") as text:
        return np.loadtxt(text, delimiter=",", ndmin=2)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--family", default="pca")
    family = parser.parse_args().family
    if not (SHARED_DATA / "smd").is_dir():
        print("The Server Machine Dataset is not on this machine.")
        return 1
    with tempfile.TemporaryDirectory(prefix="aeflow-verdicts-") as temporary:
        folder = Path(temporary)
        os.environ["AEFLOW_HOME"] = str(folder / "home")
        from flows.train_detector import train_detector  # noqa: PLC0415

        config, labels = write_pipeline(folder, family)
        train_detector(config)
        counts = review_nights(config, labels)
    true, false = (counts[False, kind] + counts[True, kind] for kind in (True, False))
    raised_true, raised_false = counts[False, True], counts[False, False]
    print(
        f"{family}: without verdicts {true} true and {false} false flags, precision {true / (true + false):.2f}"
    )
    precision = raised_true / max(raised_true + raised_false, 1)
    print(f"with them {raised_true} true and {raised_false} false are raised, precision {precision:.2f}")
    print(f"suppressed: {counts[True, False]} false, {counts[True, True]} true")
    return 0


if __name__ == "__main__":
    sys.exit(main())
