"""What makes a row unfit to score, decided on columns of rows in canonical order.

The first rule in `FAULTS` that a row breaks names its reason. A row set aside is as if it had never
come: it makes no later row a duplicate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aeflow.data.periods import from_us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FAULTS = (
    "",
    "unreadable_file",
    "malformed_row",
    "missing_column",
    "no_entity",
    "bad_timestamp",
    "ambiguous_local_time",
    "bad_number",
    "mixed_time_zone",
    "not_finite",
    "no_value",
    "out_of_limits",
    "duplicate_timestamp",
    "confirmed_abnormal",
    "flagged",
)
"""Reason codes by number; 0 is a row that is fit. Up to `bad_number` they are found while reading; the last
two are of rows that are fit and only not learnt from (`left_out`)."""

_LARGEST = float(np.finfo(np.float32).max)
"""Values are scored and stored as float32: a larger number would be an infinity there."""

CODE = {reason: number for number, reason in enumerate(FAULTS)}


@dataclass(frozen=True)
class Rows:
    """R rows sorted by entity, time, file, row."""

    entity: np.ndarray
    """(R,) int: number of the entity."""
    time_us: np.ndarray
    """(R,) int64: microseconds since 1970, UTC."""
    values: np.ndarray
    """(R, C) float64, NaN where missing."""
    fault: np.ndarray
    """(R,) int8: number in `FAULTS`."""


@dataclass(frozen=True)
class LastKept:
    """The last row that was not set aside: what the next chunk has to know."""

    entity: int = -1
    time_us: int = 0


@dataclass(frozen=True)
class RowRules:
    """The rules of one pipeline."""

    channels: tuple[str, ...]
    low: np.ndarray
    """(C,) float64: below it a value is out of limits; -inf without a limit."""
    high: np.ndarray
    """(C,) float64."""
    time_zone: str = "UTC"

    @classmethod
    def of(
        cls, channels: Sequence[str], limits: Mapping[str, tuple[float, float]], time_zone: str
    ) -> RowRules:
        """The rules for these channels, with the limits of the config."""
        pairs = [limits.get(channel, (-np.inf, np.inf)) for channel in channels]
        return cls(
            tuple(channels), np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs]), time_zone
        )

    def judge(self, rows: Rows, last: LastKept) -> tuple[np.ndarray, LastKept]:
        """The fault of each row, (R,) int8, and what the next chunk has to know.

        Args:
            rows: with the faults that were found while reading.
            last: what the chunk before gave; `LastKept()` at first.
        """
        fault = rows.fault.copy()
        for reason, broken in (
            ("not_finite", self._too_large(rows.values).any(axis=1)),
            ("no_value", np.isnan(rows.values).all(axis=1)),
            ("out_of_limits", self._outside(rows.values).any(axis=1)),
        ):
            fault[broken & (fault == 0)] = CODE[reason]
        fit = np.flatnonzero(fault == 0)
        if not fit.size:
            return fault, last
        entity, time = rows.entity[fit], rows.time_us[fit]
        again = (entity == np.append(last.entity, entity[:-1])) & (time == np.append(last.time_us, time[:-1]))
        fault[fit[again]] = CODE["duplicate_timestamp"]
        return fault, LastKept(int(entity[-1]), int(time[-1]))

    def explain(self, fault: int, values: np.ndarray, time_us: int) -> tuple[str, str]:
        """The rule in words with its limit, and what came ("" where only the reader knows).

        Args:
            fault: number in `FAULTS`, not 0.
            values: (C,) float64 of the row.
            time_us: of the row.
        """
        reason = FAULTS[fault]
        if reason == "not_finite":
            i = int(np.flatnonzero(self._too_large(values))[0])
            return (
                f"a channel holds a number of at most {_LARGEST:.2g} or nothing",
                f"{self.channels[i]} = {values[i]:g}",
            )
        if reason == "no_value":
            return "at least one channel has a value", f"all {len(self.channels)} channels are missing"
        if reason == "out_of_limits":
            i = int(np.flatnonzero(self._outside(values))[0])
            name = self.channels[i]
            return f"{self.low[i]:g} <= {name} <= {self.high[i]:g}", f"{name} = {values[i]:.9g}"
        time = from_us(time_us).isoformat()
        if reason == "duplicate_timestamp":
            return "an entity has one row for each time", f"another row of {time} was kept"
        if reason == "mixed_time_zone":
            rule = "where most times of a file have an offset, each has one"
            return rule, f"no offset; in {self.time_zone} it would be {time}"
        return _RULES[reason].format(zone=self.time_zone), ""

    @staticmethod
    def _too_large(values: np.ndarray) -> np.ndarray:
        too_large: np.ndarray = np.abs(values) > _LARGEST
        return too_large

    def _outside(self, values: np.ndarray) -> np.ndarray:
        outside: np.ndarray = (values < self.low) | (values > self.high)
        return outside


_RULES = {
    "unreadable_file": "a file can be read to its end as the config says",
    "missing_column": "a file has every column that the config names, once",
    "malformed_row": "a line has the columns of the file",
    "no_entity": "a row names its entity",
    "bad_timestamp": "the time is ISO 8601 and lies between 1678 and 2261",
    "ambiguous_local_time": "a time without an offset occurs exactly once in {zone}",
    "bad_number": "a channel holds a number or nothing",
    "confirmed_abnormal": "nothing is learnt from what was confirmed to be abnormal",
    "flagged": "nothing is learnt from what is flagged, unless it was called false",
}
