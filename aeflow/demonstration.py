"""The data of `aeflow demo`: real ones that ship inside packages, so that nothing is downloaded.

Images: the handwritten digits of scikit-learn (8 x 8, from 43 writers). The history holds zeros to
fours. Tonight's batch holds others of them, sevens and nines that the detector has never seen, digits
damaged on purpose, and two files that are no images.

Series: the water flow of a pipeline branch that ships inside river, one value an hour, March to May
2022. river documents four abnormal stretches: three moments of low flow (losses or maintenance), and a
small peak (pumping) after the first two. It gives no hours; `WATER_STRETCHES` are those at which the
series leaves and regains its daily course.
"""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from aeflow.config import BatchRule, Calibration, History, PipelineConfig, Scoring, Split
from aeflow.config.series_defaults import DEMONSTRATED
from aeflow.exceptions import StorageError
from aeflow.onboarding import profile_images, profile_table
from aeflow.onboarding.defaults import propose
from aeflow.onboarding.write import write_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from aeflow.onboarding.defaults import Profile

WATER_STRETCHES = (
    ("2022-03-24T08:00:00+01:00", "2022-03-25T01:00:00+01:00", "low flow"),
    ("2022-03-29T08:00:00+02:00", "2022-03-29T20:00:00+02:00", "low flow"),
    ("2022-04-03T06:00:00+02:00", "2022-04-03T06:00:00+02:00", "small peak"),
    ("2022-04-27T15:00:00+02:00", "2022-04-28T06:00:00+02:00", "low flow"),
)
"""First hour, last hour, what river calls it."""

_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NORMAL, _STRANGE = (0, 1, 2, 3, 4), {7: 20, 9: 10}
_HELD_OUT, _DAMAGED = 28, 3  # of each normal class: in tonight's batch, and of these damaged
_INK = 16  # scikit-learn's digits are 0..16
_HOURS_A_WEEK = 168


@dataclass(frozen=True)
class Demonstration:
    """One of the two demonstrations, as it lies on disk."""

    config: Path
    labels: Path
    batches: tuple[str, ...]
    """Those to score: what the history does not hold, in order."""


def write_images(folder: Path) -> Demonstration:
    """Write `data/digits/history`, `data/digits/tonight`, `labels/digits.csv` and `configs/digits.yaml`.

    Raises:
        StorageError: `folder` cannot be written.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415 - a second that the series need not wait

    images, classes = load_digits(return_X_y=True)
    images = np.asarray(images).reshape(-1, 8, 8)
    root, labels = folder / "data" / "digits", folder / "labels" / "digits.csv"
    random = np.random.default_rng(0)
    rows: list[tuple[str, int]] = []
    try:
        for part in ("history", "tonight"):
            (root / part).mkdir(parents=True, exist_ok=True)
        for digit in _NORMAL:
            of_class = np.flatnonzero(classes == digit)
            for number in of_class[:-_HELD_OUT]:
                _save(images[number], root / "history" / f"{_NAMES[digit]}-{number:04d}.png")
            for place, number in enumerate(of_class[-_HELD_OUT:]):
                damaged = place < _DAMAGED
                how = tuple(_DAMAGES)[place] if damaged else ""
                image = _DAMAGES[how](images[number], random) if damaged else images[number]
                name = f"{_NAMES[digit]}-{number:04d}{'-' if damaged else ''}{how}.png"
                _save(image, root / "tonight" / name)
                rows.append((f"tonight/{name}", int(damaged)))
        for digit, count in _STRANGE.items():
            for number in np.flatnonzero(classes == digit)[:count]:
                name = f"{_NAMES[digit]}-{number:04d}.png"
                _save(images[number], root / "tonight" / name)
                rows.append((f"tonight/{name}", 1))
        whole = (root / "tonight" / name).read_bytes()
        (root / "tonight" / "cut-off.png").write_bytes(whole[: len(whole) // 2])
        (root / "tonight" / "notes.png").write_text("Camera 2 was cleaned at 18:40.\n", encoding="utf-8")
        _write_csv(labels, ("item", "label"), sorted(rows))
    except OSError as error:
        raise _cannot_write(folder, error) from error
    profile = profile_images(root)
    changes = {
        "calibration": Calibration(false_flags_per_batch=1, items_per_batch=len(rows)),
        "split": Split(train=0.55, validation=0.1, calibration=0.25, test=0.1),
    }
    reasons = {
        "history.batches": "The folder of zeros to fours.",
        "calibration.items_per_batch": "As many images as tonight's batch holds.",
    }
    config = _write_config(folder, "digits", profile, changes, reasons)
    return Demonstration(config, labels, ("tonight",))


def write_series(folder: Path) -> Demonstration:
    """Write `data/water/water-flow.csv`, `labels/water.csv` and `configs/water.yaml`.

    Raises:
        StorageError: `folder` cannot be written.
    """
    from river.datasets import WaterFlow  # noqa: PLC0415 - a second that the images need not wait

    table, labels = folder / "data" / "water" / "water-flow.csv", folder / "labels" / "water.csv"
    stretches = [
        (datetime.fromisoformat(first), datetime.fromisoformat(last)) for first, last, _ in WATER_STRETCHES
    ]
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(WaterFlow().path, table)
        with table.open(encoding="utf-8", newline="") as file:
            times = [row["Time"] for row in csv.DictReader(file)]
        abnormal = [any(a <= datetime.fromisoformat(time) <= b for a, b in stretches) for time in times]
        _write_csv(labels, ("timestamp", "label"), zip(times, map(int, abnormal), strict=True))
    except OSError as error:
        raise _cannot_write(folder, error) from error
    changes = {
        "batch": BatchRule(by="period", period="week", time_zone="Europe/Rome"),
        "history": History(first="2022-W14", last="2022-W16"),
        "split": Split(train=0.5, validation=0.1, calibration=0.3, test=0.1),
        "model": DEMONSTRATED,
        "scoring": Scoring(),
        "calibration": Calibration(false_flags_per_batch=1, items_per_batch=_HOURS_A_WEEK),
    }
    reasons = {
        "batch.by": "A batch a week: the series is short.",
        "batch.time_zone": "The pipeline lies in Italy; the times carry their offset.",
        "history.first": "Three weeks without a documented incident.",
        "history.last": "",
        "model": "An autoencoder, so that the demonstration shows a network being trained.",
        "scoring.points": "",
        "scoring.baseline_points": "",
        "scoring.baseline_quantile": "",
        "calibration.items_per_batch": "The hours of a week.",
    }
    config = _write_config(folder, "water", profile_table(table), changes, reasons)
    weeks = sorted(
        {_week(datetime.fromisoformat(time)) for time in times} - {"2022-W14", "2022-W15", "2022-W16"}
    )
    return Demonstration(config, labels, tuple(weeks))


def _write_config(
    folder: Path, name: str, profile: Profile, changes: Mapping[str, object], reasons: Mapping[str, str]
) -> Path:
    """What `aeflow init` would write, with some sections replaced."""
    proposal = propose(profile, name, lambda path: f"../{path.relative_to(folder.resolve()).as_posix()}")
    kept = {key: why for key, why in {**proposal.reasons, **reasons}.items() if why}
    config = PipelineConfig.model_validate({**dict(proposal.config), **changes})
    return write_pipeline(config, folder / "configs" / f"{name}.yaml", seen=proposal.seen, reasons=kept)


def _scratched(image: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """A line of full ink from the left edge to the right one."""
    left, right = random.integers(0, 8, size=2)
    scratched = image.copy()
    scratched[np.rint(np.linspace(left, right, 8)).astype(int), np.arange(8)] = _INK
    return scratched


def _half_blurred(image: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """The lower or the upper half as the mean of 3 x 3 pixels."""
    padded = np.pad(image, 1, mode="edge")
    mean = sum(padded[i : i + 8, j : j + 8] for i in range(3) for j in range(3)) / 9
    rows = np.arange(8) < 4 if random.random() < 0.5 else np.arange(8) >= 4
    return np.where(rows[:, None], mean, image)


def _half_inverted(image: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """The left or the right half with ink and paper exchanged."""
    columns = np.arange(8) < 4 if random.random() < 0.5 else np.arange(8) >= 4
    return np.where(columns[None, :], _INK - image, image)


_DAMAGES = {"scratched": _scratched, "blurred": _half_blurred, "inverted": _half_inverted}


def _save(image: NDArray[np.float64], path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(image * (255 / _INK)).astype(np.uint8)).save(buffer, format="PNG")
    path.write_bytes(buffer.getvalue())


def _write_csv(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _week(time: datetime) -> str:
    year, week, _ = time.isocalendar()
    return f"{year}-W{week:02d}"


def _cannot_write(folder: Path, error: OSError) -> StorageError:
    msg = f"the demonstration cannot be written: {error.strerror}"
    return StorageError(
        msg, where=str(error.filename or folder), remedy="Check its rights and the free space."
    )
