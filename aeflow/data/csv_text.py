"""CSV as text: every data line is a row, and a line that does not fit is a row that says so.

A block of lines without quotes (nearly all data of sensors) goes through Arrow's parser; one with
quotes through Python's, where an opening quote that is never closed spoils its own line only.
Blank lines are no rows. A file of zero bytes has no columns and no rows.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv

from aeflow.data.readings import Cells
from aeflow.exceptions import AccountingError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_BOM = b"\xef\xbb\xbf"
_BLOCK_BYTES = 4 << 20
_MAX_LINE_BYTES = 16 << 20
_MAX_QUOTED_LINES = 100  # a quoted cell that spans more lines was never closed
_WHITESPACE = "whitespace"
_LOOK_LINES = 1000  # from so many lines the number of columns is taken where there is no header


def open_bytes(path: Path) -> BinaryIO:
    """The file's content, unpacked if its name ends in .gz. All sources are opened here.

    Raises:
        SourceError: it does not exist, is a folder, or may not be read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        msg = f"expected a file that can be read: {error.strerror}"
        raise SourceError(msg, where=str(path), remedy="Check the path and the rights.") from error
    return gzip.GzipFile(fileobj=file) if path.suffix.lower() == ".gz" else file  # type: ignore[return-value]


@dataclass(frozen=True)
class CsvFile:
    """One CSV file: its columns are known, its lines are read on demand."""

    path: Path
    columns: tuple[str, ...]
    """In the order of the file; empty for a file of zero bytes."""
    delimiter: str
    header: bool
    runs: bool = False
    """Any run of blanks and tabs parts two cells: each is read as one `delimiter`."""

    @classmethod
    def look(cls, path: Path, *, delimiter: str, header: bool) -> CsvFile:
        """Read the first lines.

        Raises:
            SourceError: the file cannot be opened or unpacked, or is no UTF-8 text; or the delimiter is
                not ASCII.
        """
        if not delimiter.isascii():
            msg = f"expected an ASCII delimiter such as , or ;, got {delimiter!r}"
            raise SourceError(msg, where=str(path), remedy="Mend source.delimiter.")
        runs = delimiter == _WHITESPACE
        if runs:
            delimiter = "\t"
        with open_bytes(path) as file:
            block = next(_blocks(file, path), b"").removeprefix(_BOM)
        if runs:
            block = _runs_as_tabs(block)
        lines = [line for line in block.split(b"\n")[:_LOOK_LINES] if line.strip(b"\r")]
        if not lines:
            return cls(path, (), delimiter, header, runs)
        first = _header(lines[0], delimiter, path)
        names = first if header else numbered_columns(_usual_width(lines, delimiter) or len(first))
        return cls(path, tuple(names), delimiter, header, runs)

    def read(self, wanted: Sequence[str], *, block_bytes: int = _BLOCK_BYTES) -> Iterator[Cells]:
        """The data lines in the order of the file, one block after the other.

        Args:
            wanted: columns of the file to keep.
            block_bytes: about how much of the file is read at once; changes no row.

        Raises:
            SourceError: the file cannot be read or unpacked, or holds an endless line.
        """
        keep = {name: self.columns.index(name) for name in wanted}
        row, open_lines, header = 0, b"", self.header
        with open_bytes(self.path) as file:
            for number, block in enumerate(_blocks(file, self.path, block_bytes)):
                lines = block if number else block.removeprefix(_BOM)
                lines = open_lines + (_runs_as_tabs(lines) if self.runs else lines)
                if header:
                    lines, header = _without_first_line(lines)
                # Arrow takes a lone carriage return for the end of a line; Python's parser refuses it.
                if b'"' in lines or lines.count(b"\r") != lines.count(b"\r\n"):
                    text, open_lines = self._read_quoted(lines, keep, row, last=False)
                else:
                    text, open_lines = self._read_plain(lines, keep, row), b""
                row += len(text.row)
                yield text
        if open_lines:
            yield self._read_quoted(open_lines, keep, row, last=True)[0]

    def _read_plain(self, lines: bytes, keep: dict[str, int], row: int) -> Cells:
        """Lines without a quote: the number of delimiters tells which fit."""
        text = lines if lines.endswith(b"\n") else lines + b"\n"
        data = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero(data == ord("\n"))
        starts = np.concatenate([[0], ends[:-1] + 1])
        delimiters = np.flatnonzero(data == ord(self.delimiter))
        width = np.searchsorted(delimiters, ends) - np.searchsorted(delimiters, starts) + 1
        filled = ends - starts > (data[ends - 1] == ord("\r"))
        starts, ends, width = starts[filled], ends[filled], width[filled]
        fits = width == len(self.columns)
        malformed = {
            int(i): self._complaint(text[starts[i] : ends[i]].decode("utf-8", "replace"), int(width[i]))
            for i in np.flatnonzero(~fits)
        }
        cells = self._parse(text, keep, expected=int(fits.sum()))
        if malformed:
            place = pa.array(np.cumsum(fits) - 1, mask=~fits)
            cells = {name: column.take(place) for name, column in cells.items()}
        return Cells(row + 1 + np.arange(len(fits)), cells, malformed)

    def _parse(self, text: bytes, keep: dict[str, int], *, expected: int) -> dict[str, pa.StringArray]:
        if not expected:
            return {name: pa.array([], pa.string()) for name in keep}
        names = [f"c{i}" for i in range(len(self.columns))]
        table = pv.read_csv(
            pa.BufferReader(text),
            # One block: Arrow must not cut a line that is longer than its own.
            read_options=pv.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 1),
            parse_options=pv.ParseOptions(
                delimiter=self.delimiter, quote_char=False, invalid_row_handler=lambda _: "skip"
            ),
            convert_options=pv.ConvertOptions(
                column_types={names[i]: pa.binary() for i in keep.values()},
                include_columns=[names[i] for i in keep.values()],
            ),
        )
        if table.num_rows != expected:
            msg = f"{self.path}: {expected} lines have the columns of the file, but {table.num_rows} were parsed"
            raise AccountingError(msg)
        return {name: _decode(table.column(names[i]).combine_chunks()) for name, i in keep.items()}

    def _read_quoted(
        self, block: bytes, keep: dict[str, int], row: int, *, last: bool
    ) -> tuple[Cells, bytes]:
        """Lines with quotes. Also returns the lines of a cell that is still open at the end of the
        block, which belong before the next one; none if it is the last."""
        lines = block.decode("utf-8", "replace").removesuffix("\n").split("\n")
        records: list[list[str] | None] = []
        malformed: dict[int, str] = {}
        for at, used, record in self._records(lines):
            at_the_end = at + used >= len(lines)
            if record is None and at_the_end and not last:
                return self._collect(records, malformed, keep, row), "\n".join(lines[at:]).encode() + b"\n"
            if record is None or len(record) != len(self.columns):
                malformed[len(records)] = self._complaint(lines[at], None if record is None else len(record))
                records.append(None)
            else:
                records.append(record)
        return self._collect(records, malformed, keep, row), b""

    def _records(self, lines: list[str]) -> Iterator[tuple[int, int, list[str] | None]]:
        """Index of the first line, number of lines looked at, and cells of each record (None: not CSV).
        After a record that does not fit, reading goes on at its second line."""
        at = 0
        while at < len(lines):
            reader = csv.reader(_few_lines(lines, at), delimiter=self.delimiter, strict=True)
            try:
                record: list[str] | None = next(reader)
            except csv.Error:
                record = None
            used = max(reader.line_num, 1)
            if record != []:
                yield at, used, record
            at += used if record is not None and len(record) == len(self.columns) else 1

    def _collect(
        self, records: list[list[str] | None], malformed: dict[int, str], keep: dict[str, int], row: int
    ) -> Cells:
        cells = {
            name: pa.array([None if r is None else r[i] for r in records], pa.string())
            for name, i in keep.items()
        }
        return Cells(row + 1 + np.arange(len(records)), cells, malformed)

    def _complaint(self, line: str, width: int | None) -> str:
        came = "quotes that do not close" if width is None else f"{width} columns"
        return f"{came} instead of {len(self.columns)} columns: {line.rstrip(chr(13))[:80]!r}"


def numbered_columns(count: int) -> list[str]:
    """c01, c02, ...: the names of `count` columns without a header."""
    digits = max(2, len(str(count)))
    return [f"c{i:0{digits}d}" for i in range(1, count + 1)]


def _runs_as_tabs(lines: bytes) -> bytes:
    """Lines with one tab for each run of blanks and tabs, and none at their ends."""
    return re.sub(rb"(?m)^\t|\t(?=\r?$)", b"", re.sub(rb"[ \t]+", b"\t", lines))


def _few_lines(lines: list[str], at: int) -> Iterator[str]:
    for i in range(at, min(at + _MAX_QUOTED_LINES, len(lines))):
        yield lines[i] + "\n"


def _blocks(file: BinaryIO, path: Path, block_bytes: int = _BLOCK_BYTES) -> Iterator[bytes]:
    """The file in pieces that end with a line."""
    rest = b""
    try:
        while piece := file.read(block_bytes):
            cut = piece.rfind(b"\n") + 1
            if cut:
                yield rest + piece[:cut] if rest else piece[:cut]
                rest = piece[cut:]
            else:
                rest += piece
            if len(rest) > _MAX_LINE_BYTES:
                msg = f"expected lines of text, but one has more than {_MAX_LINE_BYTES >> 20} MiB"
                raise SourceError(msg, where=str(path), remedy="Is it a CSV file?")
    except (OSError, EOFError, zlib.error) as error:
        msg = f"the file cannot be read to its end: {error}"
        raise SourceError(msg, where=str(path), remedy="Is it damaged or still being written?") from error
    if rest:
        yield rest


def _without_first_line(lines: bytes) -> tuple[bytes, bool]:
    """What follows the first line that is not blank; and whether there was none yet."""
    while lines:
        line, _, lines = lines.partition(b"\n")
        if line.removeprefix(_BOM).strip(b"\r"):
            return lines, False
    return lines, True


def _header(line: bytes, delimiter: str, path: Path) -> list[str]:
    try:
        # Zero bytes are valid UTF-8 and a sure sign of UTF-16 or of no text at all.
        text = line.replace(b"\0", b"\xff").decode("utf-8").rstrip("\r")
        return [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]
    except (UnicodeError, csv.Error, StopIteration) as error:
        msg = f"expected a header line in UTF-8 text: {error}"
        raise SourceError(msg, where=str(path), remedy="Save the file as CSV in UTF-8.") from error


def _usual_width(lines: list[bytes], delimiter: str) -> int:
    """How many columns most lines have: the first one may be the damaged one."""
    widths = Counter(line.count(delimiter.encode()) + 1 for line in lines if b'"' not in line)
    return widths.most_common(1)[0][0] if widths else 0


def _decode(column: pa.BinaryArray) -> pa.StringArray:
    """Text; a cell that is no UTF-8 keeps what can be read, so that it is one bad cell and no failure."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([cell.decode("utf-8", "replace") for cell in column.to_pylist()], pa.string())
