"""Times that are no ISO 8601 text: numbers since 1970, and text by a pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aeflow.config import EPOCH_UNITS_US
from aeflow.data.readings import Times, read_names, read_numbers, read_times

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLAUSIBLE_US = (631_152_000_000_000, 4_102_444_800_000_000)  # 1990 to 2100
# Of those that differ in the order of day and month alone, a sample with a day above 12 tells.
_PATTERNS = tuple(
    f"{day}{clock}"
    for day in ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d")
    for clock in (" %H:%M:%S", " %H:%M", " %H:%M:%S.%f", " %I:%M:%S %p", " %I:%M %p", "")
)


def read_times_as(column: pa.Array, form: str | None, zone: str, *, where: str) -> Times:
    """The times of a column. Where it holds timestamps or dates as such, `form` has nothing to say.

    Args:
        column: (R,).
        form: `source.time_format`; None: as `read_times` takes them.
        zone: IANA name, in which times without an offset are read.
        where: the file and column, for the message.

    Raises:
        SourceError: the column has a type that cannot be read so.
    """
    if form is None or pa.types.is_temporal(column.type):
        return read_times(column, zone, where=where)
    if form in EPOCH_UNITS_US:
        return read_times(_since_1970(column, EPOCH_UNITS_US[form], where), zone, where=where)
    return read_times(_by_pattern(read_names(column, where=where), form), zone, where=where)


def find_epoch_unit(values: np.ndarray) -> str | None:
    """The unit in which numbers `(R,)` float64 are times of the years 1990 to 2100; None if in none, or if
    they fall as often as they rise. NaN are passed over."""
    given = values[~np.isnan(values)]
    if given.size < 2 or (np.diff(given) < 0).mean() > 0.5:
        return None
    for form, unit in EPOCH_UNITS_US.items():
        us = given * unit
        if _PLAUSIBLE_US[0] <= us.min() and us.max() < _PLAUSIBLE_US[1]:
            return form
    return None


def find_patterns(cells: pa.Array, *, where: str, misfits: float) -> Sequence[str]:
    """The patterns by which all but a share `misfits` of the text cells `(R,)` are times; two if the order
    of day and month is not clear from them."""
    text = read_names(cells, where=where)
    present = int(pc.sum(text.is_valid()).as_py() or 0)
    found = [p for p in _PATTERNS if _by_pattern(text, p).null_count <= len(text) - (1 - misfits) * present]
    return found if present else []


def _since_1970(column: pa.Array, unit_us: float, where: str) -> pa.Array:
    """Instants; null where the cell is no number, or none that a time can be made of."""
    values, _ = read_numbers(column, where=where)
    us = np.rint(values * unit_us)
    good = np.abs(us) < 2**62
    return pa.array(np.where(good, us, 0).astype(np.int64), mask=~good).cast(pa.timestamp("us", "UTC"))


def _by_pattern(text: pa.StringArray, pattern: str) -> pa.Array:
    """Timestamps, with a zone if the pattern has one; null where a cell is not of it. Arrow's own reading
    makes March 3 of February 31."""
    import pandas as pd  # noqa: PLC0415 - most sources have no use for it

    offset = "%z" in pattern
    texts = pd.Series(text.to_pylist(), dtype="str")
    times = pd.to_datetime(texts, format=pattern, errors="coerce", utc=offset)
    clock = (times.dt.tz_convert(None) if offset else times).to_numpy()
    return pa.array(clock, pa.timestamp("us"), from_pandas=True).cast(
        pa.timestamp("us", "UTC" if offset else None)
    )
