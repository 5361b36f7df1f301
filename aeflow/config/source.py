"""Where the data lies, what one batch of it is, and which part is history to learn from."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from aeflow.config.base import Section

EPOCH_UNITS_US = {
    "epoch_seconds": 1e6,
    "epoch_milliseconds": 1e3,
    "epoch_microseconds": 1.0,
    "epoch_nanoseconds": 1e-3,
}
"""Formats of times as numbers since 1970 -> microseconds in one of them."""


def is_time_format(form: str) -> bool:
    """Whether `form` may be a `time_format`: a unit of numbers since 1970, or a pattern."""
    return form in EPOCH_UNITS_US or "%" in form


def known_zone(name: str) -> str:
    """The name itself, if it is that of an IANA time zone.

    Raises:
        ValueError: it is none.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        msg = f"{name!r} is not an IANA time zone such as UTC or Europe/Berlin"
        raise ValueError(msg) from error
    return name


class Manifest(Section):
    """A CSV that lists the images. `item`, `batch` and `group` are patterns over its columns,
    such as "{class}/{file}"."""

    path: str
    """The CSV, relative to the source's root."""
    item: str = "{item}"
    """The image's path below the root."""
    batch: str | None = None
    """The batch an image belongs to; needed with `batch.by: manifest`."""
    group: str | None = None
    """Images that show the same thing (one tile, one part): a split never parts them."""


class ImageSource(Section):
    """A folder of PNG, JPEG, TIFF or BMP files."""

    kind: Literal["images"] = "images"
    root: str
    """The folder, relative to this file."""
    include: tuple[str, ...] = ("**/*.png", "**/*.jpg", "**/*.jpeg", "**/*.tif", "**/*.tiff", "**/*.bmp")
    """Globs below the root, matched without regard to case; the first that fits counts."""
    exclude: tuple[str, ...] = ()
    """Globs that are left out (masks, thumbnails)."""
    manifest: Manifest | None = None
    """A CSV below the root that lists the images, instead of `include`."""
    max_pixels: int = Field(default=100_000_000, ge=1)
    """A larger image is set aside unopened: decompression bombs are small files."""


class TableSource(Section):
    """CSV or Parquet files, wide (one column a channel), of one or many entities in long form."""

    kind: Literal["table"] = "table"
    path: str
    """A file, a folder or a glob, relative to this file."""
    format: Literal["csv", "parquet"] = "csv"
    """csv may be packed as .gz."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | Literal["whitespace"] = ","
    """Between the cells of a CSV line. whitespace: any run of blanks and tabs."""
    decimal: Literal[".", ","] = "."
    """The decimal sign of numbers in a CSV."""
    header: bool = True
    """False: the columns are named c01, c02, ..."""
    time_column: str | None = None
    """None: the rows carry no time; they are numbered from `first_time` in steps of the cadence."""
    time_format: str | None = None
    """None: timestamps, or ISO 8601 text such as 2026-11-20 06:00:00. epoch_seconds, epoch_milliseconds,
    epoch_microseconds, epoch_nanoseconds: numbers since 1970, UTC. Else a pattern such as "%d.%m.%Y %H:%M:%S"
    (as Python's strptime; %f: fractions of a second, %z: offset from UTC)."""
    first_time: datetime = datetime(2000, 1, 1)  # noqa: DTZ001 - in the pipeline's zone, as all naive times
    """Time of the first row where rows carry none."""
    entity_column: str | None = None
    """The column that names the machine, line or series of a row. None: there is only one."""
    entity_from_path: bool = False
    """True: each file is one entity, named by its path below the batch folder, without suffix."""
    channels: tuple[str, ...] = Field(min_length=1)
    """The columns that are scored, in this order."""

    @field_validator("time_format")
    @classmethod
    def _known_format(cls, form: str | None) -> str | None:
        if form is not None and not is_time_format(form):
            msg = f"expected {', '.join(EPOCH_UNITS_US)} or a pattern such as %d.%m.%Y %H:%M:%S, got {form!r}"
            raise ValueError(msg)
        return form

    @model_validator(mode="after")
    def _decimal_is_no_delimiter(self) -> Self:
        if self.decimal == self.delimiter:
            msg = f"decimal and delimiter are both {self.decimal!r}: one of them is another"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _one_origin_of_entities(self) -> Self:
        if self.entity_column and self.entity_from_path:
            msg = "entity_column and entity_from_path exclude each other: keep one"
            raise ValueError(msg)
        if len(set(self.channels)) != len(self.channels):
            msg = f"channels names a column twice: {sorted({c for c in self.channels if self.channels.count(c) > 1})}"
            raise ValueError(msg)
        return self


class SqlSource(Section):
    """A query with bound parameters `:start` and `:end`, on DuckDB, SQLite or PostgreSQL."""

    kind: Literal["sql"] = "sql"
    query: str
    """The .sql file, relative to this file."""
    url: str
    """duckdb:///file.duckdb, sqlite:///file.db or postgresql://user@host/db. `${NAME}` is taken from
    the environment, so that no password stands in a file."""
    time_column: str
    """The column of the times."""
    entity_column: str | None = None
    """The column that names the machine, line or series of a row. None: there is only one."""
    channels: tuple[str, ...] = Field(min_length=1)
    """The columns that are scored, in this order."""


Source = Annotated[ImageSource | TableSource | SqlSource, Field(discriminator="kind")]


class BatchRule(Section):
    """What one batch is."""

    by: Literal["period", "folder", "manifest", "source"]
    """period: the rows of one hour, day or week; folder: one folder below the root; manifest: its
    batch pattern; source: everything is one batch, called "all"."""
    period: Literal["hour", "day", "week"] = "day"
    """With by: period. Days and weeks begin at midnight in `time_zone`; hours are counted in UTC."""
    time_zone: str = "UTC"
    """The zone in which days begin and times without an offset are read."""

    _zone = field_validator("time_zone")(known_zone)


class History(Section):
    """The batches to learn from, taken as normal. Everything given here narrows the choice."""

    batches: tuple[str, ...] = ()
    """Batch ids or globs of ids. Empty: all."""
    first: str | None = None
    """The first batch id, inclusive, in the order of ids."""
    last: str | None = None
    """The last batch id, inclusive."""
    first_rows: int | None = Field(default=None, ge=1)
    """Series: only this many rows at the beginning of each entity."""
    first_share: float | None = Field(default=None, gt=0, le=1)
    """Series: only this share of each entity's rows, from the beginning."""

    @field_validator("batches", mode="before")
    @classmethod
    def _dates_as_ids(cls, value: object) -> object:
        return [_date_as_id(v) for v in value] if isinstance(value, list | tuple) else value

    @field_validator("first", "last", mode="before")
    @classmethod
    def _date_as_id(cls, value: object) -> object:
        return _date_as_id(value)


def _date_as_id(value: object) -> object:
    """YAML reads 2026-11-20 as a date; a batch id is text."""
    return value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value


class Split(Section):
    """How the history is shared out. Series: consecutive blocks in time, per entity; images: whole
    groups, drawn by the seed."""

    train: float = Field(default=0.6, gt=0, lt=1)
    """Fits the scaler and the weights."""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Stops the training early and fits the spread of the errors."""
    calibration: float = Field(default=0.2, gt=0, lt=1)
    """Fits what turns scores into flags; seen by nothing else."""
    test: float = Field(default=0.1, ge=0, lt=1)
    """Measures the detector for the promotion; seen by nothing else."""
    stretches: int = Field(default=1, ge=1)
    """Series: the rows of each entity are cut into so many stretches of one length, each of which is shared out.
    1: the newest rows test. More: a change on the way is in every part; a retraining takes one a batch."""

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        total = self.train + self.validation + self.calibration + self.test
        if abs(total - 1) > 1e-9:
            msg = f"train + validation + calibration + test must be 1, not {total:g}"
            raise ValueError(msg)
        return self
