"""The labelled data sets of `../shared/data` as arrays."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from aeflow.training.items import ImageItems, WindowItems
from benchmarks.workload import SHARED_DATA

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from aeflow.training.items import TrainingItems

_IMAGES_HEADER, _LABELS_HEADER = 16, 8  # bytes of the IDX format before the values


@dataclass(frozen=True)
class Labelled:
    """x: items `(N, *item_shape)`, images uint8 or windows float32. y: classes `(N,)` int64."""

    x: NDArray[np.uint8] | NDArray[np.float32]
    y: NDArray[np.int64]


@dataclass(frozen=True)
class DataSet:
    """What may be learnt from, and what is only measured on."""

    train: Labelled
    test: Labelled


def _digits(folder: Path) -> DataSet:
    def values(name: str, header: int) -> NDArray[np.uint8]:
        with gzip.open(folder / name) as file:
            return np.frombuffer(file.read(), dtype=np.uint8, offset=header)

    def part(name: str) -> Labelled:
        images = values(f"{name}-images-idx3-ubyte.gz", _IMAGES_HEADER).reshape(-1, 1, 28, 28)
        return Labelled(images, values(f"{name}-labels-idx1-ubyte.gz", _LABELS_HEADER).astype(np.int64))

    return DataSet(part("train"), part("t10k"))


def _beats(folder: Path) -> DataSet:
    """Class 0: normal; 1: abnormal. A beat is `(140, 1)`, of mean 0 and deviation 1 as it was published."""
    train = np.loadtxt(folder / "ECG5000_TRAIN.txt")
    with gzip.open(folder / "ECG5000_rest4500.csv.gz", "rt") as file:
        rest = np.genfromtxt(file, delimiter=",", skip_header=1)
    return DataSet(
        Labelled(train[:, 1:, None].astype(np.float32), (train[:, 0] != 1).astype(np.int64)),
        Labelled(rest[:, 2:, None].astype(np.float32), rest[:, 0].astype(np.int64)),
    )


DATA_SETS: dict[str, tuple[str, Callable[[Path], DataSet]]] = {
    "MNIST": ("mnist", _digits),
    "Fashion-MNIST": ("fashion-mnist", _digits),
    "ECG5000": ("ecg5000", _beats),
}


@lru_cache(maxsize=2)
def data_set(name: str) -> DataSet:
    """One of `DATA_SETS`, as it was published.

    Raises:
        FileNotFoundError: it is not in `../shared/data`.
    """
    folder, read = DATA_SETS[name]
    return read(SHARED_DATA / folder)


def as_items(x: NDArray[np.uint8] | NDArray[np.float32]) -> TrainingItems:
    """Items `(N, *item_shape)` as the training loop takes them; windows one after the other."""
    if x.ndim == 4:
        return ImageItems(np.ascontiguousarray(x))
    flat, window = np.ascontiguousarray(x.reshape(-1, x.shape[2])), x.shape[1]
    ends = np.arange(window - 1, len(flat), window)
    return WindowItems(flat.astype(np.float32), np.ones(flat.shape, dtype=bool), ends, window)
