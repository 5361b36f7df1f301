"""A thousand entities in one pipeline: how long training and a night take, how much memory, and whether each
entity comes out as if it were alone.

`python -m benchmarks.entities` writes rows of real machines, each entity with a stretch, a gain, a level and a
noise of its own, trains and scores them by the commands themselves, then scores some entities each by itself
with the same detector and compares.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.processes import aeflow, environment
from benchmarks.workload import real_series

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

NEW = "machine-new"
"""An entity that the history does not know."""
_NAME = "many"
_STEP = np.timedelta64(60, "s")
_START = {"0-history": np.datetime64("2026-01-01T00:00:00"), "1-night": np.datetime64("2026-03-01T00:00:00")}
_TOLERANCE = 1e-5
_COHORTS = {"cohorts": {"even": ["machine-???[02468]"], "odd": ["machine-???[13579]"]}}


def write_workload(folder: Path, count: int, rows: int, channels: int, **sections: Any) -> Path:
    """A pipeline of `count` entities with `rows` rows each in the history, and as many in a night to which
    a new one comes. Returns its config."""
    real = _lively(real_series()[0], channels)
    names = [f"c{number + 1:02d}" for number in range(channels)]
    for batch, start in _START.items():
        known = [f"machine-{number:04d}" for number in range(count)]
        _write(folder / "data" / batch, real, known + [NEW] * (batch != "0-history"), rows, start, names)
    config = {
        "name": _NAME,
        "source": {
            "kind": "table",
            "path": "../data",
            "format": "parquet",
            "time_column": "time",
            "entity_column": "entity",
            "channels": names,
        },
        "batch": {"by": "folder"},
        "history": {"batches": ["0-history"]},
        "prepare": {"kind": "series", "cadence_seconds": 60, "window_points": 16, "train_stride_points": 4},
        "model": {"family": "pca"},
        "calibration": {"false_flags_per_batch": 10},
        **sections,
    }
    path = folder / "configs" / f"{_NAME}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML too
    return path


def _lively(real: NDArray[np.float64], channels: int) -> NDArray[np.float64]:
    """The real channels that move most, `(R, channels)`, repeated where there are fewer."""
    order = np.argsort(-np.std(real, axis=0), kind="stable")
    return real[:, order[np.arange(channels) % real.shape[1]]]


def _write(
    folder: Path,
    real: NDArray[np.float64],
    entities: list[str],
    rows: int,
    start: np.datetime64,
    names: list[str],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    time = pa.array(start + np.arange(rows) * _STEP)
    schema = pa.schema(
        [("time", time.type), ("entity", pa.string()), *((name, pa.float64()) for name in names)]
    )
    with pq.ParquetWriter(folder / "all.parquet", schema) as writer:
        for number, entity in enumerate(entities):
            own = np.random.default_rng([7, number])
            gain, level = own.uniform(0.5, 2, len(names)), own.normal(0, 1, len(names))
            first = int(own.integers(len(real))) + (0 if folder.name == "0-history" else rows)
            night = np.random.default_rng([8, number, rows, int(start.astype(np.int64))])
            values = real[(first + np.arange(rows)) % len(real)] * gain + level
            values += night.normal(0, 0.02, values.shape)
            columns = [time, pa.repeat(entity, rows), *(pa.array(values[:, c]) for c in range(len(names)))]
            writer.write_table(pa.table(columns, schema=schema))


def scores_of(report: Path) -> dict[str, NDArray[np.float32]]:
    """Entity -> scores of its rows in order."""
    table = pq.read_table(report / "scores.parquet", columns=["entity", "score"], partitioning=None)
    entity = table["entity"].to_numpy(zero_copy_only=False)
    score = table["score"].to_numpy(zero_copy_only=False)
    starts = np.flatnonzero(np.append([True], entity[1:] != entity[:-1]))
    return {
        str(entity[begin]): score[begin:end]
        for begin, end in zip(starts, np.append(starts[1:], len(entity)), strict=True)
    }


def largest_difference(config: Path, env: Mapping[str, str], entities: list[str], report: Path) -> float:
    """The largest relative difference between the scores of entities in the whole night, and of each of them
    in a night of its own."""
    whole, found = scores_of(report), 0.0
    night = config.parents[1] / "data" / "1-night" / "all.parquet"
    for entity in entities:
        batch = config.parents[1] / "data" / f"2-{entity}"
        batch.mkdir()
        pq.write_table(pq.read_table(night, filters=[("entity", "==", entity)]), batch / "all.parquet")
        aeflow("score", config, "--batch", batch.name, env=env)
        alone = scores_of(report.parent / f"batch={batch.name}")[entity]
        together = whole[entity]
        seen = ~np.isnan(together)
        assert np.array_equal(seen, ~np.isnan(alone))
        found = max(
            found, float(np.max(np.abs(alone[seen] - together[seen]) / np.maximum(together[seen], 1e-6)))
        )
        shutil.rmtree(batch)
    return found


def main() -> int:
    """Measure and print; 1 where an entity comes out otherwise than alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--entities", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--alone", type=int, default=5, help="entities that are also scored by themselves")
    parser.add_argument("--networks", default="shared", choices=["shared", "cohorts", "each"])
    parser.add_argument("--family", default="pca")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aeflow-entities-") as temporary:
        folder = Path(temporary)
        sections = {"model": {"family": chosen.family}, "entities": {"networks": chosen.networks, **_COHORTS}}
        config = write_workload(folder, chosen.entities, chosen.rows, chosen.channels, **sections)
        env = environment(folder / "home")
        rows = chosen.entities * chosen.rows
        print(
            f"{chosen.entities} entities of {chosen.rows} rows and {chosen.channels} channels, "
            f"{chosen.family}, networks: {chosen.networks}"
        )
        report = folder / "home" / "reports" / _NAME / "batch=1-night"
        for what, arguments in (
            ("train", ["train", config]),
            ("score", ["score", config, "--batch", "1-night"]),
        ):
            used = aeflow(*arguments, env=env)
            print(
                f"{what}: {used.wall_s:.1f} s, {used.cpu_s:.1f} s of CPU, {used.peak_mb:,.0f} MB at most, "
                f"{rows / used.wall_s:,.0f} rows/s"
            )
        command = [str(Path(sys.executable).with_name("aeflow")), "models", str(config), "--json"]
        versions = json.loads(subprocess.run(command, env=env, check=True, capture_output=True).stdout)
        print(f"registry: {len(versions)} version")
        some = [f"machine-{n:04d}" for n in np.linspace(0, chosen.entities - 1, chosen.alone).astype(int)]
        apart = largest_difference(config, env, [*some, NEW], report)
        print(f"{len(some) + 1} entities scored alone: largest relative difference {apart:.1e}")
    return 0 if len(versions) == 1 and apart <= _TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
