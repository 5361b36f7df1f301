"""Data that are normal throughout, on which every flag is a false one: stretches of series, and images by tile.

A series is taken where its publisher says that nothing happens: training files of SMD, the file of SKAB
without anomalies, the water flow of river, and of NAB the longest stretch of a file outside all labelled
windows. Rows as they came; nothing is scaled or left out.
"""

from __future__ import annotations

import csv
import gzip
import json
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks.workload import SHARED_DATA

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@lru_cache
def smd() -> dict[str, NDArray[np.float32]]:
    """Machine -> `(L, 38)`, one row a minute."""
    return {
        path.name.removesuffix(".txt.gz"): np.loadtxt(gzip.open(path, "rt"), delimiter=",", dtype=np.float32)
        for path in sorted((SHARED_DATA / "smd" / "train").glob("*.txt.gz"))
    }


@lru_cache
def smd_test(machine: str) -> NDArray[np.float32]:
    """The file of a machine that holds its labelled events, `(L, 38)`: not normal throughout."""
    path = SHARED_DATA / "smd" / "test" / f"{machine}.txt.gz"
    return np.loadtxt(gzip.open(path, "rt"), delimiter=",", dtype=np.float32)


@lru_cache
def skab() -> dict[str, NDArray[np.float32]]:
    """The file without anomalies, `(L, 8)`, one row a second."""
    path = SHARED_DATA / "skab" / "anomaly-free" / "anomaly-free.csv"
    rows = np.genfromtxt(path, delimiter=";", skip_header=1, usecols=range(1, 9), dtype=np.float32)
    return {"anomaly-free": rows}


@lru_cache
def water_flow() -> dict[str, NDArray[np.float32]]:
    """The water flow that ships inside river, `(L, 1)`, hourly."""
    from river.datasets import WaterFlow  # noqa: PLC0415 - half a second

    return {"water": np.array([[flow] for _, flow in WaterFlow()], dtype=np.float32)}


@lru_cache
def nab(fewest_points: int = 1500) -> dict[str, NDArray[np.float32]]:
    """File -> `(L, 1)`: its longest stretch outside all labelled windows, if it has so many points."""
    root = SHARED_DATA / "nab"
    windows = json.loads((root / "labels" / "combined_windows.json").read_text(encoding="utf-8"))
    found = {}
    for path in sorted((root / "data").glob("*/*.csv")):
        name = f"{path.parent.name}/{path.name}"
        with path.open(encoding="utf-8", newline="") as text:
            rows = [(row["timestamp"], float(row["value"])) for row in csv.DictReader(text)]
        time = np.array([np.datetime64(stamp) for stamp, _ in rows])
        abnormal = np.zeros(time.size, dtype=bool)
        for begin, end in windows.get(name, []):
            abnormal |= (time >= np.datetime64(begin)) & (time <= np.datetime64(end))
        edges = np.flatnonzero(np.diff(np.concatenate([[True], abnormal, [True]]).astype(np.int8)))
        start, stop = max(zip(edges[::2], edges[1::2], strict=True), key=lambda run: run[1] - run[0])
        if stop - start >= fewest_points:
            found[path.stem] = np.array([[value] for _, value in rows[start:stop]], dtype=np.float32)
    return found


@lru_cache
def beats() -> NDArray[np.float32]:
    """Normal heartbeats of ECG5000, `(N, 140)`."""
    folder = SHARED_DATA / "ecg5000"
    train = np.loadtxt(folder / "ECG5000_TRAIN.txt", dtype=np.float32)
    with gzip.open(folder / "ECG5000_rest4500.csv.gz", "rt") as file:
        rest = np.genfromtxt(file, delimiter=",", skip_header=1, dtype=np.float32)
    return np.concatenate([train[train[:, 0] == 1, 1:], rest[rest[:, 0] == 0, 2:]])


@lru_cache
def tiles(side_px: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Images of tiles without a defect `(N, 1, side, side)`, and the tile of each."""
    root = SHARED_DATA / "magnetic_tile"
    with (root / "tiles.csv").open(encoding="utf-8", newline="") as text:
        rows = [row for row in csv.DictReader(text) if row["class"] == "MT_Free"]
    pixels = np.stack(
        [
            np.asarray(
                Image.open(root / row["class"] / row["file"])
                .convert("L")
                .resize((side_px, side_px), Image.Resampling.BOX)
            )
            for row in rows
        ]
    )
    return pixels[:, None], tuple(row["tile"] for row in rows)


SERIES: dict[str, Callable[[], dict[str, NDArray[np.float32]]]] = {
    "SMD": smd,
    "NAB": nab,
    "water flow": water_flow,
    "SKAB anomaly-free": skab,
}
