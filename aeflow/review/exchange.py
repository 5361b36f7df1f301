"""Verdicts in and out: every flag as a file that people fill in and give back, in one of several forms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pyarrow.compute as pc
import pyarrow.parquet as pq

from aeflow.config import load_config
from aeflow.exceptions import SourceError
from aeflow.numerics.proportion import wilson_interval
from aeflow.report.receipt import read_receipt
from aeflow.report.reviewed import bound_verdicts
from aeflow.report.stored import FLAGS_FILE, SCORES_FILE, reading
from aeflow.review.exchange_coco import read_dataset, write_dataset
from aeflow.review.exchange_label_studio import read_tasks, write_tasks
from aeflow.review.verdict_file import Flag, Known, read_verdicts, write_verdicts
from aeflow.settings import home_for
from aeflow.store.paths import Paths
from aeflow.store.verdicts import Standing, Verdict, identity, open_verdicts, standing
from aeflow.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_COLUMNS = ["flag_id", "batch", "entity", "item", "start", "end", "severity", "channels"]
_NAMED_CHANNELS = 3


class Form(StrEnum):
    """The forms of a file."""

    CSV = "csv"
    LABEL_STUDIO = "label-studio"
    COCO = "coco"


@dataclass(frozen=True)
class Reviewed:
    """How far the review is. flags: of the published reports; reviewed: those of which somebody said
    something, true, false, unsure and disputed among them."""

    pipeline: str
    flags: int
    reviewed: int
    true: int
    false: int
    unsure: int
    disputed: int

    @property
    def precision(self) -> tuple[float, float, float] | None:
        """The share of true ones among those called true or false, and its 95 % interval (Wilson)."""
        judged = self.true + self.false
        return (self.true / judged, *wilson_interval(self.true, judged)) if judged else None

    def sentence(self) -> str:
        """For a person."""
        precision = ""
        if self.precision is not None:
            share, low, high = self.precision
            precision = f" Precision {share:.0%}, 95 % interval {low:.0%} to {high:.0%}."
        return (
            f"{self.pipeline}: {self.reviewed} of {counted(self.flags, 'flag')} reviewed: {self.true} true, "
            f"{self.false} false, {self.unsure} unsure, {self.disputed} disputed.{precision}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        names = ("precision", "precision_low", "precision_high")
        return asdict(self) | dict(zip(names, self.precision or (None, None, None), strict=True))


def count_reviewed(config: Path) -> Reviewed:
    """What was said so far of the flags that are published now.

    Raises:
        StorageError: a report or the database cannot be read.
    """
    paths = _paths(config)
    holds = standing(bound_verdicts(paths, open_verdicts(paths).all()))
    flags = published_flags(paths, ZoneInfo("UTC"))
    counts = dict.fromkeys(Standing, 0)
    for flag in flags:
        if flag in holds:
            counts[holds[flag]] += 1
    return Reviewed(
        pipeline=paths.pipeline,
        flags=len(flags),
        reviewed=sum(counts.values()),
        true=counts[Standing.TRUE],
        false=counts[Standing.FALSE],
        unsure=counts[Standing.UNSURE],
        disputed=counts[Standing.DISPUTED],
    )


def export_verdicts(config: Path, file: Path, form: Form = Form.CSV) -> int:
    """Write every published flag and all that was said of it, or of what it was in an earlier report; as CSV,
    one of which a newer report has nothing any more, too, if anything was said of it.

    Returns:
        The number of rows, tasks or images.

    Raises:
        SourceError: the form is not for flags of this kind.
        StorageError: a report or the database cannot be read, or the file not be written.
    """
    paths = _paths(config)
    zone = ZoneInfo(load_config(config).batch.time_zone)
    flags = published_flags(paths, zone, with_regions=form is not Form.CSV)
    said = _by_flag(bound_verdicts(paths, open_verdicts(paths).all()))
    if form is Form.LABEL_STUDIO:
        return write_tasks(file, flags.values(), said)
    if form is Form.COCO:
        return write_dataset(file, paths.pipeline, flags.values(), said)
    return write_verdicts(file, [*flags.values(), *_gone(flags, said)], said)


def import_verdicts(
    config: Path, file: Path, form: Form = Form.CSV, *, reviewer: str, now: datetime | None = None
) -> int:
    """Append the verdicts in the file, all or none; those that are kept already are passed over.

    Returns:
        How many are new.

    Raises:
        SourceError: the file cannot be read, or a row of it not be understood.
        StorageError: a report or the database cannot be read or written.
    """
    paths = _paths(config)
    store = open_verdicts(paths)
    flags = published_flags(paths, ZoneInfo("UTC"))
    kept = store.all()
    bound = bound_verdicts(paths, kept)
    # A file may be older than the report, and name a flag as it was, or newer, and name it as it is.
    said = _by_flag(list(dict.fromkeys([*kept, *bound])))
    flags |= {flag.flag_id: flag for flag in _gone(flags, said)}
    readers = {Form.CSV: read_verdicts, Form.LABEL_STUDIO: read_tasks, Form.COCO: read_dataset}
    found = readers[form](file, Known(flags, said, reviewer, now or datetime.now(UTC)))
    known = {identity(verdict) for verdict in bound}
    return store.add([verdict for verdict in found if identity(verdict) not in known])


def form_of(file: Path, named: str | None) -> Form:
    """The form that was named, or that the file's ending tells.

    Raises:
        SourceError: it is none of them, or not clear.
    """
    if named is None and file.suffix.lower() != ".json":
        return Form.CSV
    if named not in set(Form):
        came = "nothing, and JSON may be either of two" if named is None else repr(named)
        raise SourceError(
            f"expected --format {', '.join(Form)}; got {came}", where=str(file), remedy="Name the format."
        )
    return Form(named)


def published_flags(paths: Paths, zone: ZoneInfo, *, with_regions: bool = False) -> dict[str, Flag]:
    """Every flag of every published report by its id, batches in their order, the severest first.
    with_regions: of images also their regions and sizes.

    Raises:
        StorageError: a report cannot be read.
    """
    found: dict[str, Flag] = {}
    for batch in paths.published():
        report = paths.report(batch)
        version = read_receipt(report).detector_version
        with reading(report / FLAGS_FILE):
            columns = [*_COLUMNS, "boxes"] if with_regions else _COLUMNS
            rows = pq.read_table(report / FLAGS_FILE, columns=columns, partitioning=None).to_pylist()
            images = with_regions and any(row["item"] for row in rows)
            sizes = _sizes(report / SCORES_FILE) if images else {}
        found |= {row["flag_id"]: _flag(row, zone, version, sizes) for row in rows}
    return found


def _sizes(scores: Path) -> dict[str, tuple[int, int]]:
    """Flag id -> width and height of its image."""
    columns = ["flag_id", "width_px", "height_px"]
    flagged = pc.is_valid(pc.field("flag_id"))
    rows = pq.read_table(scores, columns=columns, filters=flagged, partitioning=None).to_pylist()
    return {row["flag_id"]: (row["width_px"], row["height_px"]) for row in rows}


def _flag(row: dict[str, Any], zone: ZoneInfo, version: int, sizes: Mapping[str, tuple[int, int]]) -> Flag:
    size = sizes.get(row["flag_id"], (0, 0))
    channels = [
        f"{c['channel']} {c['share']:.0%}" for c in (row["channels"] or [])[:_NAMED_CHANNELS] if c["share"]
    ]
    return Flag(
        flag_id=row["flag_id"],
        batch=row["batch"],
        entity=row["entity"] or "",
        item=row["item"] or "",
        start=row["start"].astimezone(zone).isoformat() if row["start"] else "",
        end=row["end"].astimezone(zone).isoformat() if row["end"] else "",
        severity=f"{row['severity']:.1f}",
        channels="; ".join(channels),
        detector_version=version,
        boxes=tuple(
            (box["x_px"], box["y_px"], box["width_px"], box["height_px"], box["share"])
            for box in row.get("boxes") or ()
        ),
        width_px=size[0],
        height_px=size[1],
    )


def _gone(flags: dict[str, Flag], said: dict[str, list[Verdict]]) -> list[Flag]:
    return [
        Flag(flag, of[0].batch, "", "", "", "", "", "", of[0].detector_version or 0)
        for flag, of in said.items()
        if flag not in flags
    ]


def _by_flag(said: list[Verdict]) -> dict[str, list[Verdict]]:
    by_flag: dict[str, list[Verdict]] = {}
    for verdict in said:
        by_flag.setdefault(verdict.flag_id, []).append(verdict)
    return by_flag


def _paths(config: Path) -> Paths:
    return Paths(home_for(config), load_config(config).name)
