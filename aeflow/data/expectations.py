"""What is expected of a batch, made from the config and what the history taught: plain values, no
engine. `suite` runs them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.data.grades import OUTSIDE_SHARE
from aeflow.data.image_intake import ITEMS
from aeflow.data.observed_cadence import REGULAR
from aeflow.data.reference import widened
from aeflow.data.sampled_table import SeriesColumns

if TYPE_CHECKING:
    from aeflow.config import PipelineConfig
    from aeflow.data.reference import ImageReference, Reference, SeriesReference

ROWS_FACTOR = 2.0
"""A batch may hold half of the fewest rows to twice the most of the history: wide enough for holidays,
narrow enough for a file that came twice or ended half-way."""
MIN_BATCHES = 3
"""Fewer batches do not show how much their sizes differ."""
OUT_OF_ORDER_FACTOR = 2.0
"""So many times the share of late rows in the history; with none there, none is expected."""
CADENCE_LOSS = 0.9
"""Of the regular steps of the history so many are expected again; the rest are gaps."""
MOSTLY = 1 - OUTSIDE_SHARE


@dataclass(frozen=True)
class Expectation:
    """One expectation of Great Expectations.

    kind: name of its class, such as ExpectColumnValuesToBeBetween.
    column: the column that it is about; empty for the whole table.
    words: what is expected, for a person.
    arguments: those of the class, beside the column.
    """

    kind: str
    column: str
    words: str
    arguments: dict[str, Any] = field(default_factory=dict)


def expect_of_account(config: PipelineConfig, reference: Reference | None) -> tuple[Expectation, ...]:
    """About the whole batch, whatever part of its rows is looked at: a table of one row with the columns
    `rows`, `quarantined_share` and `out_of_order_share`."""
    fewest, most = 1, None
    out_of_order = None
    if reference is not None:
        out_of_order = OUT_OF_ORDER_FACTOR * reference.out_of_order_share
        rows = reference.rows_per_batch
        if rows is not None and rows.batches >= MIN_BATCHES:
            fewest = max(1, int(rows.fewest / ROWS_FACTOR))
            most = int(rows.most * ROWS_FACTOR)
    expected = [
        _figure("rows", fewest, most),
        _figure("quarantined_share", 0.0, config.checks.max_quarantined_share),
    ]
    if config.kind == "series" and out_of_order is not None:
        expected.append(_figure("out_of_order_share", 0.0, out_of_order))
    return tuple(expected)


def expect_of_series(config: PipelineConfig, reference: Reference | None) -> tuple[Expectation, ...]:
    """About the rows, in the columns of `sampled_table.sample_series`."""
    names = SeriesColumns.beside(config.channels)
    every = [names.entity, names.time, names.step_seconds, names.step_cadences, *config.channels]
    series = None if reference is None else reference.series
    null_share = config.checks.max_null_share
    return (
        _columns(every),
        _of_type(names.entity, "str", "text"),
        _of_type(names.time, "Timestamp", "a UTC time"),
        _not_null(names.entity),
        _not_null(names.time),
        Expectation(
            "ExpectCompoundColumnsToBeUnique",
            "",
            "one row for each entity and time",
            {"column_list": [names.entity, names.time]},
        ),
        Expectation(
            "ExpectColumnValuesToBeBetween",
            names.step_seconds,
            "more than 0: an entity's rows are in time order",
            {"min_value": 0.0, "strict_min": True},
        ),
        *([] if series is None else _near_cadence(names, series)),
        *(_of_type(channel, "float64", "a number") for channel in config.channels),
        *(_not_null(channel, 1 - null_share) for channel in config.channels),
        *([] if series is None else _in_ranges(config, series)),
    )


def expect_of_images(config: PipelineConfig, reference: Reference | None) -> tuple[Expectation, ...]:
    """About the files, in the columns of `image_intake.ITEMS`."""
    images = None if reference is None else reference.images
    return (
        _columns(ITEMS.names),
        _not_null("item"),
        Expectation("ExpectColumnValuesToBeUnique", "item", "each image once"),
        Expectation(
            "ExpectColumnValuesToBeBetween",
            "bytes",
            "more than 0",
            {"min_value": 0, "strict_min": True},
        ),
        *([] if images is None else _stored_alike(images, config.checks.range_margin)),
    )


def _near_cadence(names: SeriesColumns, series: SeriesReference) -> list[Expectation]:
    if np.isnan(series.cadence_seconds).all():
        return []
    return [_between(names.step_cadences, *REGULAR, CADENCE_LOSS * series.regular_share)]


def _in_ranges(config: PipelineConfig, series: SeriesReference) -> list[Expectation]:
    """A channel that had no value in the history has no range."""
    low, high = widened(series.pooled.minimum[0], series.pooled.maximum[0], config.checks.range_margin)
    return [
        _between(channel, float(low[c]), float(high[c]), MOSTLY)
        for c, channel in enumerate(config.channels)
        if not np.isnan(low[c])
    ]


def _stored_alike(images: ImageReference, margin: float) -> list[Expectation]:
    expected = []
    for column, known in (("format", images.formats), ("mode", images.modes)):
        words = f"{' or '.join(known)} in {MOSTLY:.0%}"
        arguments = {"value_set": list(known), "mostly": MOSTLY}
        expected.append(Expectation("ExpectColumnValuesToBeInSet", column, words, arguments))
    for column, extremes in (("width_px", images.width_px), ("height_px", images.height_px)):
        low, high = widened(np.array([float(extremes[0])]), np.array([float(extremes[1])]), margin)
        expected.append(_between(column, float(low[0]), float(high[0]), MOSTLY))
    return expected


def _columns(names: list[str]) -> Expectation:
    words = f"exactly {', '.join(names)}"
    return Expectation(
        "ExpectTableColumnsToMatchSet", "", words, {"column_set": list(names), "exact_match": True}
    )


def _of_type(column: str, type_: str, words: str) -> Expectation:
    return Expectation("ExpectColumnValuesToBeOfType", column, words, {"type_": type_})


def _not_null(column: str, mostly: float = 1.0) -> Expectation:
    words = "never missing" if mostly == 1.0 else f"there in {mostly:.0%} of the rows"
    return Expectation("ExpectColumnValuesToNotBeNull", column, words, {"mostly": mostly})


def _figure(column: str, low: float, high: float | None) -> Expectation:
    """About the one value of a column: its maximum, which is observed as a value, not as a count."""
    arguments = {"min_value": low, "max_value": high}
    return Expectation("ExpectColumnMaxToBeBetween", column, _range(low, high), arguments)


def _between(column: str, low: float, high: float, mostly: float) -> Expectation:
    words = _range(low, high) + ("" if mostly == 1.0 else f" in {mostly:.0%}")
    arguments = {"min_value": low, "max_value": high, "mostly": mostly}
    return Expectation("ExpectColumnValuesToBeBetween", column, words, arguments)


def _range(low: float, high: float | None) -> str:
    return f"{low:.6g} or more" if high is None else f"{low:.6g} to {high:.6g}"
