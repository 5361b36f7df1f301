"""Small histories and batches, taken in, for the tests of the checks."""

from __future__ import annotations

import numpy as np

from aeflow.config import PipelineConfig
from aeflow.data.image_files import images_of
from aeflow.data.image_intake import take_in_images
from aeflow.data.series_intake import take_in_history, take_in_series
from tests import image_samples
from tests.unit.data.series_pipeline import write

START = np.datetime64("2026-01-01", "us")
STEP_SECONDS = 600
ROWS_A_DAY = 144


def pipeline(folder, *, checks=None, history=None, **source) -> PipelineConfig:
    """Days of the machines m1 and m2, each a reading of a and b every ten minutes."""
    table = {"kind": "table", "path": "data", "time_column": "time", "entity_column": "machine"}
    return PipelineConfig.model_validate(
        {
            "name": "machines",
            "source": {**table, "channels": ["a", "b"], **source},
            "batch": {"by": "period"},
            "prepare": {"kind": "series"},
            "checks": checks or {},
            "history": history or {"last": "2026-01-03"},
            "model": {"family": "pca"},
            "calibration": {"false_flags_per_batch": 1},
        }
    ).at(folder)


def day(number: int, *, rows: int = ROWS_A_DAY, seed: int | None = None, step: int = STEP_SECONDS):
    """Times (R,) and values (R, 2) of one machine on the day of this number, from 0."""
    rng = np.random.default_rng(number if seed is None else seed)
    times = START + np.timedelta64(number, "D") + np.arange(rows) * np.timedelta64(step, "s")
    return times, np.column_stack([rng.normal(20, 1, rows), rng.uniform(0, 5, rows)])


def write_day(folder, number: int, machines: dict) -> None:
    """Write machine -> (times, values) as one CSV; NaN stands empty, text as it is."""
    lines = ["time,machine,a,b"]
    for machine, (times, values) in machines.items():
        for time, row in zip(times, values, strict=True):
            cells = ["" if str(cell) == "nan" else str(cell) for cell in row]
            lines.append(",".join([f"{time}Z", machine, *cells]))
    write(folder, f"day{number}.csv", "\n".join(lines) + "\n")


def write_history(folder) -> None:
    """Three days of both machines."""
    for number in range(3):
        write_day(folder, number, {m: day(number, seed=10 * number + i) for i, m in enumerate(("m1", "m2"))})


def history(config, folder):
    """The history, taken in."""
    return take_in_history(config, folder / "staged-history")


def batch(config, folder, number: int = 3):
    """The batch of a day, taken in."""
    return take_in_series(config, f"2026-01-{number + 1:02d}", folder / f"staged-{number}")


def image_config(folder, *, by="folder", checks=None):
    """A pipeline over folders of images; the history is the folder "normal"."""
    config = image_samples.pipeline(
        folder, batch=by, history={"batches": ["normal"] if by == "folder" else []}
    )
    values = config.model_dump(mode="json") | {"checks": checks or {}}
    return PipelineConfig.model_validate(values).at(folder)


def write_images(folder, batch: str, sizes, *, kind: str = "PNG") -> None:
    """One grey image of each (height, width)."""
    files = {
        f"{batch}/{i:03d}.{kind.lower()}": image_samples.encoded(image_samples.ramp(*size), kind)
        for i, size in enumerate(sizes)
    }
    image_samples.write(folder, files)


def image_batch(config, folder, batch: str):
    """A folder of images, taken in."""
    return take_in_images(config, batch, images_of(config, batch), folder.parent / f"{folder.name}-{batch}")
