"""Cells of a table, text or typed, become times and numbers; a cell that cannot is a fault of its row.

Text is read strictly and the same everywhere. Times: ISO 8601 (also with a blank or slashes), to the
microsecond, without an offset in the pipeline's zone. Numbers: decimal sign, exponent, inf. Missing:
empty, NaN, NA, N/A, null, None in any case.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aeflow.exceptions import SourceError

_MISSING = pa.array(["", "nan", "-nan", "+nan", "na", "n/a", "null", "none"])
_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?$|^[+-]?inf(inity)?$"
_CLOCK = r"(([01][0-9]|2[0-3])(:[0-5][0-9](:[0-5][0-9](\.[0-9]+)?)?)?)"
_DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_NAIVE = rf"^{_DATE}([T ]{_CLOCK})?$"
_OFFSET = rf"^{_DATE}[T ]{_CLOCK}(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$"
# Nanoseconds of 64 bits, which other tools turn our times into, end there.
_FIRST_US, _LAST_US = -9_214_560_000_000_000, 9_214_646_400_000_000  # 1678-01-01, 2262-01-01


@dataclass(frozen=True)
class Cells:
    """Consecutive rows of one file or query, as they came."""

    row: np.ndarray
    """(R,) int64: 1-based number of the data row; a header and blank lines are not counted."""
    columns: dict[str, pa.Array]
    """Column -> (R,) text or typed cells; null where the row is malformed."""
    malformed: dict[int, str] = field(default_factory=dict)
    """Position in the chunk -> what is wrong with the line."""
    skipped_us: tuple[int, int] | None = None
    """First and last time of rows that were left unread just before these."""
    lacking: str = ""
    """Which wanted columns the file does not have (their cells are null), in words; "" where it has all."""

    def at(self, index: np.ndarray) -> Cells:
        """The rows at these positions, rising."""
        columns = {name: column.take(pa.array(index)) for name, column in self.columns.items()}
        place = {int(index[at]): int(at) for at in np.flatnonzero(np.isin(index, list(self.malformed)))}
        malformed = {place[p]: wrong for p, wrong in self.malformed.items() if p in place}
        return Cells(self.row[index], columns, malformed, self.skipped_us, self.lacking)


@dataclass(frozen=True)
class Times:
    """R times, UTC."""

    us: np.ndarray
    """(R,) int64 microseconds since 1970; 0 where not readable."""
    readable: np.ndarray
    """(R,) bool."""
    local: np.ndarray
    """(R,) bool: came without an offset and was read in the pipeline's zone."""
    ambiguous: np.ndarray
    """(R,) bool: the local time occurs twice (`us` is the first) or not at all (`us` is near)."""

    def at(self, index: np.ndarray) -> Times:
        """The times at these positions."""
        return Times(self.us[index], self.readable[index], self.local[index], self.ambiguous[index])


def read_times(column: pa.Array, zone: str, *, where: str) -> Times:
    """The times of a column of timestamps, dates or text.

    Args:
        column: (R,).
        zone: IANA name, in which times without an offset are read.
        where: the file and column, for the message.

    Raises:
        SourceError: the column has another type, such as a number.
    """
    kind = column.type
    if pa.types.is_null(kind):
        column = column.cast(pa.string())
    elif pa.types.is_dictionary(kind):
        return read_times(column.cast(kind.value_type), zone, where=where)
    if pa.types.is_timestamp(kind):
        local = np.full(len(column), kind.tz is None)
        instants = column.cast(pa.timestamp("us", kind.tz), safe=False)
        return _times(instants.cast(pa.timestamp("us"), safe=False) if kind.tz else instants, local, zone)
    if pa.types.is_date(kind):
        return _times(column.cast(pa.timestamp("us")), np.ones(len(column), bool), zone)
    if not _is_text(column.type):
        msg = f"expected timestamps or ISO 8601 text, got {kind}"
        remedy = "Numbers since 1970 have no unit: turn them into timestamps in the query or the file."
        raise SourceError(msg, where=where, remedy=remedy)
    return _read_time_text(column.cast(pa.string()), zone)


def read_numbers(column: pa.Array, *, where: str, decimal: str = ".") -> tuple[np.ndarray, np.ndarray]:
    """Values (R,) float64, NaN where missing or not readable, and whether each is bad text (R,) bool.

    Args:
        column: (R,).
        where: the file and column, for the message.
        decimal: the decimal sign of text, a point or a comma; the other one makes bad text.

    Raises:
        SourceError: the column's type holds no numbers (lists, times).
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return read_numbers(column.cast(kind.value_type), where=where, decimal=decimal)
    if _is_text(kind):
        text = column.cast(pa.string())
        return _read_number_text(text if decimal == "." else _with_points(text, decimal))
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan), np.zeros(len(column), bool)
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or _castable(kind)):
        raise SourceError(f"expected a channel of numbers, got {kind}", where=where)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    return _floats(column.cast(pa.float64(), safe=False)), np.zeros(len(column), bool)


def read_names(column: pa.Array, *, where: str) -> pa.StringArray:
    """Names of entities (R,), blanks around them removed, null where missing or empty.

    Raises:
        SourceError: the column cannot be written as text.
    """
    try:
        names = pc.utf8_trim_whitespace(column.cast(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SourceError(f"expected entities as text or integers, got {column.type}", where=where) from error
    return pc.if_else(pc.equal(names, ""), pa.scalar(None, pa.string()), names)


def _with_points(text: pa.StringArray, decimal: str) -> pa.StringArray:
    """A point for the decimal sign; what had a point before, such as 1.234,5, is no number."""
    foreign = pc.match_substring(text, ".")
    return pc.if_else(foreign, "a point", pc.replace_substring(text, decimal, "."))


def _read_number_text(text: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    try:
        values = _floats(text.cast(pa.float64()))
        # Arrow takes nan(7) for a number too: the exact rule decides wherever a cell is not finite.
        if np.isfinite(values).all():
            return values, np.zeros(len(values), bool)
    except pa.ArrowInvalid:
        pass
    clean = pc.utf8_lower(pc.utf8_trim_whitespace(text))
    given = pc.and_(pc.is_valid(clean), pc.invert(pc.is_in(clean, value_set=_MISSING)))
    good = pc.and_(given, pc.match_substring_regex(clean, _NUMBER)).fill_null(fill_value=False)
    values = _floats(pc.if_else(good, clean, pa.scalar(None, pa.string())).cast(pa.float64()))
    return values, _mask(pc.and_not(given, good))


def _read_time_text(text: pa.StringArray, zone: str) -> Times:
    for offset in (False, True):  # most files are of one form throughout
        try:
            parsed = text.cast(pa.timestamp("us", "UTC" if offset else None))
            return _times(parsed.cast(pa.timestamp("us")), np.full(len(text), not offset), zone)
        except pa.ArrowInvalid:
            continue
    clean = pc.utf8_trim_whitespace(text)
    for pattern, form in (
        (r"^([0-9]{4})/([0-9]{2})/([0-9]{2})", r"\1-\2-\3"),
        (r"([0-9])\s*(z|UTC|utc)$", r"\1Z"),
        (r"(:[0-9]{2}(?:\.[0-9]+)?)\s+([+-][0-9]{2}:?[0-9]{2})$", r"\1\2"),
        (r"(\.[0-9]{6})[0-9]+", r"\1"),
    ):
        clean = pc.replace_substring_regex(clean, pattern, form)
    is_local = pc.match_substring_regex(clean, _NAIVE).fill_null(fill_value=False)
    is_offset = pc.match_substring_regex(clean, _OFFSET).fill_null(fill_value=False)
    none = pa.scalar(None, pa.string())
    local = _cast_what_can(pc.if_else(is_local, clean, none), pa.timestamp("us"))
    fixed = _cast_what_can(pc.if_else(is_offset, clean, none), pa.timestamp("us", "UTC"))
    return _times(pc.coalesce(local, fixed.cast(pa.timestamp("us"))), _mask(is_local), zone)


def _times(instants: pa.Array, local: np.ndarray, zone: str) -> Times:
    """From times on the clock; those that are not local are on the clock of UTC."""
    readable = _mask(instants.is_valid())
    ambiguous = np.zeros(len(local), bool)
    us = _microseconds(instants)
    if zone != "UTC" and (local & readable).any():
        clock = pc.if_else(pa.array(local & readable), instants, pa.scalar(None, instants.type))
        early, late = (
            _microseconds(pc.assume_timezone(clock, zone, ambiguous=side, nonexistent=side))
            for side in ("earliest", "latest")
        )
        us = np.where(local, early, us)
        ambiguous = local & (early != late)
    readable &= (us >= _FIRST_US) & (us < _LAST_US)
    return Times(np.where(readable, us, 0), readable, local & readable, ambiguous & readable)


def _cast_what_can(text: pa.StringArray, kind: pa.DataType) -> pa.Array:
    """Cast; null where a cell has the right form but no such day exists (February 30)."""
    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        if len(text) == 1:
            return pa.nulls(1, kind)
    half = len(text) // 2
    return pa.concat_arrays([_cast_what_can(text[:half], kind), _cast_what_can(text[half:], kind)])


def _microseconds(times: pa.Array) -> np.ndarray:
    return np.asarray(times.cast(pa.int64()).fill_null(0))


def _floats(column: pa.Array) -> np.ndarray:
    return np.asarray(column.fill_null(np.nan))


def _mask(flags: pa.Array) -> np.ndarray:
    return np.array(flags)  # a copy: Arrow's own is read-only


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _castable(kind: pa.DataType) -> bool:
    return bool(pa.types.is_boolean(kind) or pa.types.is_decimal(kind))
