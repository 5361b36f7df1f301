"""What is normal in a batch, learnt once from the history and kept in the detector.

Legend: E entities of the history, C channels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from aeflow.data.image_intake import items_path
from aeflow.data.left_out import REASONS as LEFT_OUT
from aeflow.data.observed_cadence import ObservedCadence
from aeflow.data.row_chunks import CHUNK_ROWS, iter_row_chunks
from aeflow.data.rows_per_batch import BatchCounts, RowsPerBatch
from aeflow.exceptions import InputError, StorageError
from aeflow.numerics.profile import ChannelProfile, ProfileTable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import NDArray

    from aeflow.config import PipelineConfig
    from aeflow.data.intake import Intake

MIN_OWN_VALUES = 100
"""With fewer values in the history, a channel of an entity is held against all entities together: a
range of a few values is left by the next one."""
_ROUNDING = 1e-9  # a bound must not refuse the very value it came from after a round trip through text


@dataclass(frozen=True, eq=False)
class SeriesReference:
    """The channels and the cadence of each entity.

    entities: sorted.
    profile: statistics `(E, C)`.
    cadence_seconds: `(E,)` float64, median step; NaN for an entity of one row.
    regular_share: of all steps, those near their entity's cadence (`observed_cadence.REGULAR`), 0..1.
    """

    entities: tuple[str, ...]
    profile: ProfileTable
    cadence_seconds: NDArray[np.float64]
    regular_share: float

    @cached_property
    def pooled(self) -> ProfileTable:
        """Statistics over all entities, `(1, C)`: serves new entities. Runs are the longest of any."""
        own = self.profile
        count = own.rows - own.missing
        total = count.sum(axis=0, keepdims=True)
        weight = count / np.maximum(total, 1)
        empty = total == 0
        mean = _sum(weight * np.nan_to_num(own.mean))
        variance = _sum(weight * (np.nan_to_num(own.std) ** 2 + (np.nan_to_num(own.mean) - mean) ** 2))
        return ProfileTable(
            rows=_sum(own.rows),
            missing=_sum(own.missing),
            minimum=np.fmin.reduce(own.minimum, axis=0, keepdims=True, initial=np.nan),
            maximum=np.fmax.reduce(own.maximum, axis=0, keepdims=True, initial=np.nan),
            mean=np.where(empty, np.nan, mean),
            std=np.where(empty, np.nan, np.sqrt(variance)),
            changes=_sum(own.changes),
            longest_run=own.longest_run.max(axis=0, keepdims=True, initial=0),
        )

    def profile_of(self, entities: Sequence[str]) -> ProfileTable:
        """What to hold each of `entities` against, `(len(entities), C)`: its own history, or that of all
        entities where it is new or has fewer than `MIN_OWN_VALUES` values of the channel."""
        numbers = {name: number for number, name in enumerate(self.entities)}
        row = np.array([numbers.get(name, -1) for name in entities], dtype=np.int64)
        known = np.flatnonzero(row >= 0)
        own, pooled = self.profile.to_arrays(), self.pooled.to_arrays()
        count = own["rows"] - own["missing"]
        enough = np.zeros((len(entities), count.shape[1]), dtype=bool)
        enough[known] = count[row[known]] >= MIN_OWN_VALUES
        chosen = {}
        for name, statistic in own.items():
            values = np.repeat(pooled[name], len(entities), axis=0)
            values[known] = np.where(enough[known], statistic[row[known]], values[known])
            chosen[name] = values
        return ProfileTable.from_arrays(chosen)

    def cadence_of(self, entities: Sequence[str]) -> NDArray[np.float64]:
        """Seconds between rows of each of `entities`, `(len(entities),)`: its own, or for a new one the
        median of all; NaN where the history tells none."""
        told = self.cadence_seconds[~np.isnan(self.cadence_seconds)]
        usual = float(np.median(told)) if told.size else np.nan
        own = dict(zip(self.entities, self.cadence_seconds.tolist(), strict=True))
        cadence = np.array([own.get(name, usual) for name in entities], dtype=np.float64)
        return np.where(np.isnan(cadence), usual, cadence)


@dataclass(frozen=True)
class ImageReference:
    """The stored form of the images. Sizes are of the files, before any resizing."""

    formats: tuple[str, ...]
    """Sorted: PNG, JPEG, TIFF, BMP."""
    modes: tuple[str, ...]
    """Sorted: Pillow's names of the pixel formats."""
    width_px: tuple[int, int]
    """Narrowest and widest."""
    height_px: tuple[int, int]
    """Lowest and highest."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What a batch is held against. Exactly one of `series` and `images` is there.

    Raises:
        InputError: both are there, or none.
    """

    channels: tuple[str, ...]
    rows_per_batch: RowsPerBatch | None
    """None where the history does not tell: its batches were cut, are not parted, or a manifest's."""
    quarantined_share: float
    """Rows or files of the history that were set aside, 0..1."""
    out_of_order_share: float = 0.0
    """Rows of the history that came later in their file than one of a later time, 0..1."""
    series: SeriesReference | None = None
    images: ImageReference | None = None

    def __post_init__(self) -> None:
        """Refuse a reference of no kind or of two."""
        if (self.series is None) == (self.images is None):
            raise InputError("a reference is of series or of images, not of both or none")

    def to_json(self) -> dict[str, Any]:
        """As values that JSON can hold; null where a statistic has no value."""
        series = self.series
        return {
            "channels": list(self.channels),
            "rows_per_batch": None if self.rows_per_batch is None else asdict(self.rows_per_batch),
            "quarantined_share": self.quarantined_share,
            "out_of_order_share": self.out_of_order_share,
            "series": None
            if series is None
            else {
                "entities": list(series.entities),
                "profile": {name: _plain(a) for name, a in series.profile.to_arrays().items()},
                "cadence_seconds": _plain(series.cadence_seconds),
                "regular_share": series.regular_share,
            },
            "images": None
            if self.images is None
            else {key: list(value) for key, value in asdict(self.images).items()},
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """The reference of which `to_json` gave `stored`.

        Raises:
            InputError: it is none.
        """
        try:
            channels = tuple(stored["channels"])
            rows, series, images = (stored[key] for key in ("rows_per_batch", "series", "images"))
            return cls(
                channels=channels,
                rows_per_batch=None if rows is None else RowsPerBatch(**rows),
                quarantined_share=stored["quarantined_share"],
                out_of_order_share=stored["out_of_order_share"],
                series=None if series is None else _series_from(series, len(channels)),
                images=None
                if images is None
                else ImageReference(**{key: tuple(value) for key, value in images.items()}),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            msg = f"expected a stored reference of the history, got something else ({error!r})"
            raise InputError(msg, remedy="Train the detector again.") from error


def learn_reference(config: PipelineConfig, intake: Intake) -> Reference:
    """What is normal, from the staged history: one pass in memory that grows with E x C only.

    Raises:
        InputError: a history of images holds none.
        StorageError: the staged files cannot be read.
    """
    counts = BatchCounts(config)
    series = images = None
    if intake.kind == "images":
        images = _learn_images(intake, counts)
    else:
        series = _learn_series(intake, counts)
    return Reference(
        channels=config.channels,
        rows_per_batch=counts.result(),
        quarantined_share=_unfit(intake) / intake.rows_in if intake.rows_in else 0.0,
        out_of_order_share=intake.out_of_order / intake.rows_in if intake.rows_in else 0.0,
        series=series,
        images=images,
    )


def _unfit(intake: Intake) -> int:
    """Rows or files that were set aside for what they are, not for what is said of them."""
    return sum(count for reason, count in intake.quarantined.items() if reason not in LEFT_OUT)


def widened(
    minimum: NDArray[np.float64], maximum: NDArray[np.float64], margin: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ranges, each wider by `margin` times its width on either side; NaN where there is none. A
    channel that never moved keeps its one value."""
    more = margin * (maximum - minimum) + _ROUNDING * np.maximum(np.abs(minimum), np.abs(maximum))
    return minimum - more, maximum + more


def _learn_series(intake: Intake, counts: BatchCounts) -> SeriesReference:
    profile, cadence = ChannelProfile(len(intake.channels)), ObservedCadence()
    entities: tuple[str, ...] = ()
    for chunk in iter_row_chunks(intake, files=counts.by_file):
        entities = chunk.entities
        profile.feed(chunk.values, chunk.entity)
        counts.count_rows(chunk)
        cadence.feed(chunk)
    return SeriesReference(entities, profile.result(), *cadence.result())


def _learn_images(intake: Intake, counts: BatchCounts) -> ImageReference:
    formats: set[str] = set()
    modes: set[str] = set()
    sizes: dict[str, list[int]] = {"width_px": [], "height_px": []}
    try:
        with pq.ParquetFile(items_path(intake), pre_buffer=False) as file:
            for rows in file.iter_batches(CHUNK_ROWS, columns=["item", "format", "mode", *sizes]):
                formats |= set(rows.column("format").to_pylist())
                modes |= set(rows.column("mode").to_pylist())
                counts.count_paths(rows.column("item").to_pylist())
                for name, extremes in sizes.items():
                    came = np.asarray(rows.column(name))
                    sizes[name] = [min([*extremes, int(came.min())]), max([*extremes, int(came.max())])]
    except OSError as error:
        msg = f"the staged images cannot be read: {error.strerror or error}"
        raise StorageError(msg, where=str(items_path(intake)), remedy="Take the history in again.") from error
    if not formats:
        msg = f"expected images to learn from, and none of the {intake.rows_in} files of the history is fit"
        raise InputError(msg, where=f"batch {intake.batch}", remedy="Look at what was set aside, and why.")
    (narrow, wide), (low, high) = sizes["width_px"], sizes["height_px"]
    return ImageReference(tuple(sorted(formats)), tuple(sorted(modes)), (narrow, wide), (low, high))


def _series_from(stored: dict[str, Any], n_channels: int) -> SeriesReference:
    entities = tuple(stored["entities"])
    shape = (len(entities), n_channels)
    counted = {"rows", "missing", "changes", "longest_run"}
    arrays = {
        name: np.array(values, dtype=np.int64 if name in counted else np.float64).reshape(shape)
        for name, values in stored["profile"].items()
    }
    cadence = np.array(stored["cadence_seconds"], dtype=np.float64).reshape(len(entities))
    return SeriesReference(entities, ProfileTable.from_arrays(arrays), cadence, stored["regular_share"])


def _plain(array: NDArray[Any]) -> list[Any]:
    """Nested lists, None for NaN."""
    if array.dtype.kind != "f":
        return list(array.tolist())
    missing = np.isnan(array)
    plain = np.where(missing, 0.0, array).astype(object)
    plain[missing] = None
    return list(plain.tolist())


def _sum(statistic: NDArray[Any]) -> NDArray[Any]:
    total: NDArray[Any] = statistic.sum(axis=0, keepdims=True)
    return total
