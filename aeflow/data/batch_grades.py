"""Grades of a staged series, over every row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aeflow.data.grades import grade_channels, summarise
from aeflow.data.reference import widened
from aeflow.data.row_chunks import iter_row_chunks
from aeflow.exceptions import IntegrityError
from aeflow.numerics.profile import ChannelProfile

if TYPE_CHECKING:
    from aeflow.config import Checks
    from aeflow.data.grades import ChannelGrade
    from aeflow.data.intake import Intake
    from aeflow.data.reference import SeriesReference


def grade_batch(checks: Checks, intake: Intake, series: SeriesReference | None) -> tuple[ChannelGrade, ...]:
    """The worst grade of each channel, in one pass and memory that grows with entities x channels only.
    Empty without a valid row.

    Args:
        checks: the shares and margins of the config.
        intake: the staged batch.
        series: what the history taught; None: only missing values are graded.

    Raises:
        IntegrityError: the staged rows have other entities than the account says.
        StorageError: they cannot be read.
    """
    channels, entities = intake.channels, intake.entities
    history = low = high = None
    if series is not None:
        history = series.profile_of(entities)
        low, high = widened(history.minimum, history.maximum, checks.range_margin)
    profile = ChannelProfile(len(channels))
    outside = np.zeros((len(entities), len(channels)), dtype=np.int64)
    for chunk in iter_row_chunks(intake):
        if chunk.entities != entities[: len(chunk.entities)]:
            msg = (
                f"the account of batch {intake.batch} does not name the entities of its staged rows in order"
            )
            raise IntegrityError(msg)
        profile.feed(chunk.values, chunk.entity)
        if low is None or high is None:
            continue
        for entity, rows in chunk.runs():
            values = chunk.values[rows]
            # A comparison with NaN is False: neither a missing value nor an unknown range counts.
            outside[entity] += ((values < low[entity]) | (values > high[entity])).sum(axis=0)
    grades = grade_channels(profile.result(), outside, history, max_null_share=checks.max_null_share)
    return summarise(grades, channels, entities)
