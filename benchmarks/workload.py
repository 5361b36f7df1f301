"""Real data tiled to size, and the pipelines that score it.

Series: the machines of SMD where they are at hand, else the water flow that ships inside river; the
real rows are repeated over entities and time. Images: the magnetic tiles where they are at hand, else
the handwritten digits of scikit-learn, the same files over again under other names.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from aeflow.config import (
    BatchRule,
    Calibration,
    History,
    ImagePrepare,
    PipelineConfig,
    SeriesPrepare,
    Training,
)
from aeflow.config.models import Conv2d, Lstm, Pca
from aeflow.config.source import ImageSource, TableSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aeflow.config import Model

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
HISTORY = "0-history"
"""The batch to learn from; folders are batches, in the order of their names."""
_STEP_SECONDS = 60
# What a batch repeats is what the history holds: on data as normal as this, flags stay as few as promised.
_HISTORY_ROWS, _HISTORY_IMAGES = 12_000, 550
_ENTITIES = 4
_TRAINED_ITEMS = 128  # what the weights are is nothing to a throughput
_DIGIT_PX = 128


@dataclass(frozen=True)
class Workload:
    """A pipeline on disk. `source` says in words what its data are."""

    config: Path
    data: Path
    source: str


def series_workload(
    folder: Path, name: str, model: Model, *, window: int, channels: int | None = None
) -> Workload:
    """A pipeline of series with its history; batches are added by `add_rows`.

    Args:
        folder: of all data and configs.
        name: of the pipeline.
        model: of its detector.
        window: points of a window.
        channels: the first so many of the real ones; None: all.
    """
    values, source = real_series()
    values = values[:, :channels]
    names = tuple(f"c{number + 1:02d}" for number in range(values.shape[1]))
    data = folder / "data" / name
    config = PipelineConfig(
        name=name,
        source=TableSource(
            path=f"../data/{name}", time_column="time", entity_column="entity", channels=names
        ),
        batch=BatchRule(by="folder"),
        history=History(batches=(HISTORY,)),
        prepare=SeriesPrepare(cadence_seconds=_STEP_SECONDS, window_points=window),
        model=model,
        training=Training(epochs=1, max_train_windows=_TRAINED_ITEMS),
        calibration=Calibration(false_flags_per_batch=10),
    )
    workload = Workload(_write(config, folder), data, f"{source}, {len(names)} channels")
    add_rows(workload, HISTORY, _HISTORY_ROWS)
    return workload


def add_rows(workload: Workload, batch: str, rows: int) -> None:
    """A batch of `rows` rows, a CSV file for each entity: its stretch of real rows, over and over."""
    values, _ = real_series()
    names = _channels_of(workload)
    folder = workload.data / batch
    folder.mkdir(parents=True)
    start = np.datetime64("2026-01-01T00:00:00" if batch == HISTORY else "2026-06-01T00:00:00")
    stretch = _HISTORY_ROWS // _ENTITIES
    for entity in range(_ENTITIES):
        count = rows // _ENTITIES + (entity < rows % _ENTITIES)
        first = entity * len(values) // _ENTITIES
        mine = values[(first + np.arange(count) % stretch) % len(values), : len(names)]
        table = pa.table(
            {
                "time": pa.array(start + np.arange(count) * np.timedelta64(_STEP_SECONDS, "s")),
                "entity": pa.array([f"machine-{entity}"] * count),
                **{name: pa.array(mine[:, i]) for i, name in enumerate(names)},
            }
        )
        options = pa_csv.WriteOptions(quoting_style="none")
        pa_csv.write_csv(table, folder / f"machine-{entity}.csv", options)


def image_workload(folder: Path, name: str, model: Model, *, side_px: int, digits: bool = False) -> Workload:
    """A pipeline of images, brought to `side_px` squared, with its history; batches are added by
    `add_images`. digits: the small images of scikit-learn, whatever else is at hand."""
    data = folder / "data" / name
    source = "digits of scikit-learn, 8 x 8 PNG" if digits else _image_source()
    config = PipelineConfig(
        name=name,
        source=ImageSource(root=f"../data/{name}"),
        batch=BatchRule(by="folder"),
        history=History(batches=(HISTORY,)),
        prepare=ImagePrepare(height_px=side_px, width_px=side_px),
        model=model,
        training=Training(epochs=1, max_train_windows=_TRAINED_ITEMS),
        calibration=Calibration(false_flags_per_batch=10),
    )
    workload = Workload(_write(config, folder), data, source)
    add_images(workload, HISTORY, _HISTORY_IMAGES, digits=digits)
    return workload


def add_images(workload: Workload, batch: str, count: int, *, digits: bool = False) -> None:
    """A batch of `count` image files."""
    folder = workload.data / batch
    folder.mkdir(parents=True)
    real = _digit_files(8) if digits else _tile_files() if _tiles() else _digit_files(_DIGIT_PX)
    for number, (suffix, content) in enumerate(islice(cycle(islice(real, _HISTORY_IMAGES)), count)):
        (folder / f"{number:06d}{suffix}").write_bytes(content)


LSTM: Model = Lstm()
SMALL_PCA: Model = Pca(max_components=8)
CONV2D: Model = Conv2d(levels=4)
SMALL_CONV2D: Model = Conv2d(width=8, levels=2, code_size=16)


def _write(config: PipelineConfig, folder: Path) -> Path:
    """JSON is YAML too."""
    path = folder / "configs" / f"{config.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config.model_dump_json(indent=1), encoding="utf-8")
    return path


def _channels_of(workload: Workload) -> tuple[str, ...]:
    config = PipelineConfig.model_validate_json(workload.config.read_text(encoding="utf-8"))
    return config.channels


def real_series() -> tuple[NDArray[np.float64], str]:
    """Real rows `(R, C)` and where they come from."""
    files = sorted((SHARED_DATA / "smd" / "train").glob("*.txt.gz"))
    if files:
        parts = []
        for file in files:
            with gzip.open(file) as text:
                parts.append(pa_csv.read_csv(text, pa_csv.ReadOptions(autogenerate_column_names=True)))
        table = pa.concat_tables(parts)
        return np.column_stack([column.to_numpy() for column in table.columns]), "Server Machine Dataset"
    from river.datasets import WaterFlow  # noqa: PLC0415 - half a second that SMD need not wait

    with Path(WaterFlow().path).open(encoding="utf-8", newline="") as text:
        flow = [[float(row["Water flow [l/s]"])] for row in csv.DictReader(text)]
    return np.array(flow), "water flow of river"


def _tiles() -> list[Path]:
    return sorted((SHARED_DATA / "magnetic_tile" / "MT_Free").glob("*.jpg"))


def _image_source() -> str:
    return "magnetic tiles, JPEG" if _tiles() else f"digits of scikit-learn, {_DIGIT_PX} x {_DIGIT_PX} PNG"


def _tile_files() -> Iterator[tuple[str, bytes]]:
    return ((tile.suffix, tile.read_bytes()) for tile in _tiles())


def _digit_files(side_px: int) -> Iterator[tuple[str, bytes]]:
    from PIL import Image  # noqa: PLC0415
    from sklearn.datasets import load_digits  # noqa: PLC0415 - a second that tiles need not wait

    for pixels in load_digits().images:
        image = Image.fromarray(np.rint(pixels * (255 / 16)).astype(np.uint8))
        buffer = BytesIO()
        image.resize((side_px, side_px), Image.Resampling.NEAREST).save(buffer, format="PNG")
        yield ".png", buffer.getvalue()
