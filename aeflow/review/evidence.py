"""What made a flag, read from its report's folder when a person looks at it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from markupsafe import Markup

from aeflow.exceptions import IntegrityError
from aeflow.report.flag_cards import plotted_channels, series_card
from aeflow.report.pictures import heat_overlay
from aeflow.report.series_plot import plot_numbers, series_plot
from aeflow.report.stored import FLAGS_FILE, SCORES_FILE
from aeflow.report.survey import described_by
from aeflow.report.traces import read_traces
from aeflow.review.normal import normal_stretch
from aeflow.store.files import storage_errors
from aeflow.wording import moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aeflow.report.flag_cards import Card
    from aeflow.review.catalogue import Catalogue, Night

PICTURES = {"original": "image_png", "expected": "reconstruction_png", "heat": "heatmap_png"}
"""What a picture is called in an address -> its column in `flags.parquet`."""
_COLUMNS = (
    "flag_id",
    "pipeline",
    "item",
    "entity",
    "start",
    "peak",
    "end",
    "points",
    "score",
    "p_value",
    "severity",
    "channels",
    "boxes",
    "suppressed_by",
    "suppressed_reason",
    "suppressed_until",
)
_HEAT_BYTES = 200_000
_POINTS = 900  # of a plot: more than it has pixels


@dataclass(frozen=True)
class Evidence:
    """The row of a flag in `flags.parquet` without its pictures, and for an image the size of the original.

    pictured: whether pictures are stored of it: a report keeps those of its most severe flags.
    neighbours: of the normal images most like it the name and how far apart the codes are; two normal ones
        are seldom more than 1 apart.
    """

    row: dict[str, Any]
    pictured: bool
    width_px: int = 0
    height_px: int = 0
    neighbours: tuple[tuple[str, float], ...] = ()

    @property
    def shares(self) -> list[dict[str, Any]]:
        """The channels, largest share first."""
        return self.row["channels"] or []


@dataclass(frozen=True)
class Beside:
    """A plot to compare an event with, its numbers, and in words when it was."""

    when: str
    plot: Markup
    plot_numbers: str


def read_evidence(night: Night, row: int) -> Evidence:
    """The evidence of the flag in that row of the night's `flags.parquet`.

    Raises:
        StorageError: a file cannot be read.
        IntegrityError: a file is not what it should be.
    """
    stored = _row(night, row, _COLUMNS)
    if night.kind == "series":
        return Evidence(stored, pictured=False)
    scores = night.folder / SCORES_FILE
    with storage_errors(scores, "read the size of the image"):
        wanted = pc.field("flag_id") == night.flag_id[row]
        found = pq.read_table(scores, columns=["width_px", "height_px"], filters=wanted, partitioning=None)
    if len(found) != 1:
        msg = f"{scores} does not know the flag {night.flag_id[row]}; score the batch again"
        raise IntegrityError(msg)
    size = found.to_pylist()[0]
    shown = _row(night, row, ["image_png", "neighbours"])
    return Evidence(
        stored,
        shown["image_png"] is not None,
        **size,
        neighbours=tuple((n["item"], n["distance"]) for n in _with_pictures(shown["neighbours"])),
    )


def read_picture(night: Night, row: int, name: str) -> bytes | None:
    """The PNG of one of `PICTURES`; the heatmap coloured, to lay over the image. None: none is stored.

    Raises:
        StorageError, IntegrityError: it cannot be read.
    """
    content: bytes | None = _row(night, row, [PICTURES[name]])[PICTURES[name]]
    if content is None or name != "heat":
        return content
    overlay = heat_overlay(content, _HEAT_BYTES, where=f"flag {night.flag_id[row]}")
    return base64.b64decode(overlay.uri.partition(",")[2])


def read_neighbour(night: Night, row: int, number: int) -> bytes | None:
    """The WebP picture of one of the `neighbours` of a flag, counted from 0; None where there is none.

    Raises:
        StorageError, IntegrityError: it cannot be read.
    """
    found = _with_pictures(_row(night, row, ["neighbours"])["neighbours"])
    return found[number]["picture"] if 0 <= number < len(found) else None


def read_card(
    night: Night, row: int, evidence: Evidence, channels: Sequence[str], *, context_points: int, zone: str
) -> Card:
    """The card of an event as the report has it, with a plot of the event and its surroundings: a panel for
    each of the channels, or where none is named for those that explain most of the score.

    Raises:
        StorageError, IntegrityError: the scores cannot be read, or do not know the flag.
    """
    scores, flag = night.folder / SCORES_FILE, night.flag_id[row]
    shown = tuple(channels) or plotted_channels(evidence.row)
    with storage_errors(scores, "read the scores"):
        traces = read_traces(
            scores,
            {flag: shown},
            described_by(scores)[1],
            context_points=context_points,
            max_points=_POINTS,
        )
    if flag not in traces:
        msg = f"{scores} does not know the flag {flag}; score the batch again"
        raise IntegrityError(msg)
    return series_card(1, evidence.row, traces[flag], zone)


def read_normal(
    catalogue: Catalogue,
    place: int,
    evidence: Evidence,
    channels: Sequence[str],
    *,
    context_points: int,
    zone: str,
) -> Beside | None:
    """What the entity does when nothing is flagged, drawn as the event is; None where no report holds it.

    Raises:
        StorageError, IntegrityError: a report cannot be read.
    """
    stored = evidence.row
    found = normal_stretch(
        catalogue,
        place,
        stored["start"],
        stored["end"],
        tuple(channels) or plotted_channels(stored),
        context_points=context_points,
    )
    if found is None:
        return None
    trace = found.trace
    first = moment(datetime.fromtimestamp(int(trace.time_us[0]) // 1_000_000, UTC), zone)
    when = {0: "another time of the same batch", 1: "the day before"}.get(
        found.days, f"{found.days} days before"
    )
    label = f"{', '.join(trace.channels)} of {catalogue.names[place]} from {first} on, without a flag"
    widths = {part["channel"]: part.get("tolerance") for part in evidence.shares}
    tolerance = np.array([widths.get(name) for name in trace.channels], dtype=np.float64)
    return Beside(
        when=f"{when}, from {first} on",
        plot=Markup(series_plot(trace, None, zone=zone, label=label, tolerance=tolerance)),  # noqa: S704 - plots escape
        plot_numbers=plot_numbers(trace, zone=zone, tolerance=tolerance),
    )


def _with_pictures(neighbours: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    return [neighbour for neighbour in neighbours or [] if neighbour["picture"] is not None]


def _row(night: Night, row: int, columns: Sequence[str]) -> dict[str, Any]:
    """One row of the table, of which only the row group that holds it is read; None for a column that
    reports of its time did not have."""
    path: Path = night.folder / FLAGS_FILE
    with storage_errors(path, "read the flag"):
        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                there = [name for name in columns if name in file.schema_arrow.names]
                for group in range(file.num_row_groups):
                    rows = file.metadata.row_group(group).num_rows
                    if row < rows:
                        found = file.read_row_group(group, columns=there).slice(row, 1)
                        stored: dict[str, Any] = found.to_pylist()[0]
                        return {name: stored.get(name) for name in columns}
                    row -= rows
        except pa.ArrowException as error:
            msg = f"{path} cannot be read ({error}); score the batch again"
            raise IntegrityError(msg) from error
    msg = f"{path} has fewer flags than before; score the batch again"
    raise IntegrityError(msg)
