"""CSV and Parquet files: which of them make up a batch, and their rows as they came."""

from __future__ import annotations

import difflib
import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aeflow.data.csv_text import CsvFile, open_bytes
from aeflow.data.readings import Cells, read_times
from aeflow.exceptions import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aeflow.config import PipelineConfig, TableSource

CHUNK_ROWS = 65_536
_SUFFIXES = {"csv": (".csv", ".csv.gz", ".txt", ".txt.gz"), "parquet": (".parquet", ".parq", ".pq")}
_READ_BYTES = 1 << 20  # Parquet pages are fetched in such portions, however large a row group is
_DAY_US = 86_400_000_000  # no zone is further than this from UTC
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class TableFile:
    """One file of a table source."""

    path: Path
    name: str
    """Path below the source's root, with slashes."""
    entity: str | None
    """With source.entity_from_path: the path below the batch folder, without suffixes."""
    partitions: dict[str, str | None]
    """Columns from folders such as machine=a (hive partitions)."""


def list_folders(config: PipelineConfig) -> list[str]:
    """The first-level folders of the source that hold a file of its format, sorted.

    Raises:
        SourceError: the source is not there or cannot be listed.
    """
    _, names = _all_files(config)
    return sorted({name.split("/", 1)[0] for name in names if "/" in name})


def find_files(config: PipelineConfig, folder: str | None = None) -> list[TableFile]:
    """The files of the source, or of one batch folder, in canonical order.

    Raises:
        SourceError: the source is not there, cannot be listed, or holds no file of its format.
    """
    root, names = _all_files(config)
    prefix = f"{folder}/" if folder is not None else ""
    files = [_table_file(root, name, prefix, config) for name in names if name.startswith(prefix)]
    # By entity first: files that are one entity each are then read in the order of the staged rows.
    return sorted(files, key=lambda f: (f.entity or "", f.name))


def read_cells(
    file: TableFile,
    source: TableSource,
    wanted: Sequence[str],
    zone: str,
    *,
    span_us: tuple[int, int] | None = None,
) -> Iterator[Cells]:
    """The rows of a file in its order, in chunks. A column that the file lacks costs its rows, but not their
    place in time: its cells are null, and `Cells.lacking` says so.

    Args:
        file: one of `find_files`.
        source: how to read it.
        wanted: names of columns or hive partitions.
        zone: IANA name, for times without an offset.
        span_us: [first, last) time that is needed; rows that surely lie outside may be skipped.

    Raises:
        SourceError: the file cannot be read to its end, or lacks the column of times, or has it twice.
    """
    if source.format == "parquet":
        yield from _read_parquet(file, source, wanted, zone, span_us)
        return
    csv = CsvFile.look(file.path, delimiter=source.delimiter, header=source.header)
    if csv.columns:
        own, lacking = _own_columns(file, csv.columns, wanted, source.time_column)
        for cells in csv.read(own):
            yield _completed(cells, file, wanted, lacking)


def _read_parquet(
    file: TableFile, source: TableSource, wanted: Sequence[str], zone: str, span_us: tuple[int, int] | None
) -> Iterator[Cells]:
    try:
        with open_bytes(file.path) as opened:
            parquet = pq.ParquetFile(opened, buffer_size=_READ_BYTES, pre_buffer=False)
            own, lacking = _own_columns(file, parquet.schema_arrow.names, wanted, source.time_column)
            own, lacking = _without_nested(parquet.schema_arrow, own, lacking, source.time_column)
            row, skipped = 0, None
            for group in range(parquet.num_row_groups):
                rows_of_group = parquet.metadata.row_group(group).num_rows
                seen = _group_span(parquet, group, source.time_column, zone) if span_us else None
                if span_us and seen and (seen[1] < span_us[0] - _DAY_US or seen[0] >= span_us[1] + _DAY_US):
                    skipped = (min(skipped[0], seen[0]), max(skipped[1], seen[1])) if skipped else seen
                    row += rows_of_group
                    continue
                for batch in parquet.iter_batches(
                    CHUNK_ROWS, row_groups=[group], columns=own, use_threads=False
                ):
                    columns = {name: batch.column(name) for name in own}
                    numbers = row + 1 + np.arange(batch.num_rows)
                    yield _completed(Cells(numbers, columns, {}, skipped), file, wanted, lacking)
                    row, skipped = row + batch.num_rows, None
            if skipped:
                empty = {name: pa.nulls(0, parquet.schema_arrow.field(name).type) for name in own}
                yield _completed(Cells(np.arange(0), empty, {}, skipped), file, wanted, lacking)
    except (pa.ArrowException, OSError) as error:
        msg = f"expected a whole Parquet file: {' '.join(str(error).split())[:200]}"
        raise SourceError(
            msg, where=str(file.path), remedy="Is it damaged or still being written?"
        ) from error


def _group_span(
    parquet: pq.ParquetFile, group: int, time_column: str | None, zone: str
) -> tuple[int, int] | None:
    """First and last time (microseconds, UTC) of a row group, if its statistics are sure of both."""
    if time_column not in parquet.schema_arrow.names:
        return None
    kind = parquet.schema_arrow.field(time_column).type
    index = parquet.schema.names.index(time_column) if time_column in parquet.schema.names else -1
    if not pa.types.is_timestamp(kind) or index < 0:
        return None
    found = parquet.metadata.row_group(group).column(index).statistics
    if found is None or not found.has_min_max or not found.has_null_count or found.null_count:
        return None
    low, high = (
        pa.array([edge]).cast(pa.timestamp("us", kind.tz), safe=False) for edge in (found.min, found.max)
    )
    times = read_times(pa.concat_arrays([low, high]), zone, where=str(time_column))
    return (int(times.us[0]), int(times.us[1])) if times.readable.all() else None


def _own_columns(
    file: TableFile, columns: Sequence[str], wanted: Sequence[str], time_column: str | None
) -> tuple[list[str], str]:
    """Those of `wanted` that stand in the file itself, each once; and what is wrong with the others."""
    missing = [name for name in wanted if name not in columns and name not in file.partitions]
    twice = [name for name in wanted if columns.count(name) > 1]
    lacking = []
    if missing:
        present = [*columns, *file.partitions]
        close = difflib.get_close_matches(missing[0], present, n=1)
        hint = f"; the nearest to {missing[0]!r} is {close[0]!r}" if close else ""
        lacking.append(
            f"expected {_listed(missing)} among the columns, but there are only {_listed(present)}{hint}"
        )
    if twice:
        lacking.append(f"expected each column once, but {_listed(twice)} comes twice")
    if time_column in {*missing, *twice}:
        remedy = "Mend the file, or the names under source."
        raise SourceError("; ".join(lacking), where=str(file.path), remedy=remedy)
    return [name for name in wanted if columns.count(name) == 1], "; ".join(lacking)


def _without_nested(
    schema: pa.Schema, own: Sequence[str], lacking: str, time_column: str | None
) -> tuple[list[str], str]:
    """As `_own_columns` gives them, less columns of lists or structs: such a cell is no reading."""
    nested = [name for name in own if pa.types.is_nested(schema.field(name).type) and name != time_column]
    told = [f"expected one value a row, but {_listed(nested)} holds lists or structs"] if nested else []
    return [name for name in own if name not in nested], "; ".join([*filter(None, [lacking]), *told])


def _completed(cells: Cells, file: TableFile, wanted: Sequence[str], lacking: str) -> Cells:
    """With the columns that stand in the folders' names, and nulls for those that stand nowhere."""
    columns = dict(cells.columns)
    for name in wanted:
        if name not in columns:
            value = pa.scalar(file.partitions.get(name), pa.string())
            columns[name] = pa.repeat(value, len(cells.row))
    return Cells(cells.row, columns, cells.malformed, cells.skipped_us, lacking)


def _all_files(config: PipelineConfig) -> tuple[Path, list[str]]:
    """The source's root, and the files below it that it means, with slashes, sorted."""
    source = config.source
    assert source.kind == "table"
    path = config.folder / Path(source.path).expanduser()
    if path.is_file():
        return path.parent, [path.name]
    if path.is_dir():
        found, closed = _walk(path)
        names = [n for n in found if n.lower().endswith(_SUFFIXES[source.format]) and not _hidden(n)]
        names += [n for n in closed if not _hidden(n)]
        if not names:
            kinds = ", ".join(_SUFFIXES[source.format])
            msg = f"expected {source.format} files ({kinds}), but among {len(found)} files there is none"
            raise SourceError(msg, where=str(path), remedy="Check source.path and source.format.")
        return path, sorted(names)
    if glob.has_magic(str(path)):
        fixed = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
        root = Path(*path.parts[:fixed])
        hits = root.glob("/".join(path.parts[fixed:]))
        names = sorted(hit.relative_to(root).as_posix() for hit in hits if hit.is_file())
        if names:
            return root, names
        raise SourceError(
            "expected files that match, but none does", where=str(path), remedy="Check source.path."
        )
    msg = "expected a file, a folder or a glob, but there is nothing"
    raise SourceError(msg, where=str(path), remedy="Check source.path; it starts at the config's folder.")


def _walk(root: Path) -> tuple[list[str], list[str]]:
    """Every file below `root`, with slashes; and every folder that may not be listed, with one at its end:
    what it holds must not be lost without a word. A link that leads back to a folder on the way to it is not
    followed.

    Raises:
        SourceError: `root` itself may not be listed.
    """
    closed: list[str] = []

    def note(error: OSError) -> None:
        folder = Path(error.filename)
        if folder == root:
            msg = f"expected a folder that can be listed: {error.strerror}"
            raise SourceError(msg, where=str(root), remedy="Check its rights.") from error
        closed.append(f"{folder.relative_to(root).as_posix()}/")

    files = []
    for folder, below, names in os.walk(root, onerror=note, followlinks=True):
        here = Path(folder)
        below[:] = [n for n in below if not ((here / n).is_symlink() and _leads_back(root, here / n))]
        files += [(here / name).relative_to(root).as_posix() for name in names]
    return files, closed


def _leads_back(root: Path, link: Path) -> bool:
    """Whether a link below `root` leads to a folder that its own path goes through, by links too."""
    target = link.resolve()
    way = (folder for folder in link.parents if folder.is_relative_to(root))
    return any(folder.resolve().is_relative_to(target) for folder in way)


def _hidden(name: str) -> bool:
    """Files that other tools leave beside the data: _SUCCESS, .part."""
    return any(part.startswith((".", "_")) for part in name.split("/"))


def _table_file(root: Path, name: str, prefix: str, config: PipelineConfig) -> TableFile:
    source = config.source
    assert source.kind == "table"
    below = name.removeprefix(prefix)
    bare = below[:-3] if below.lower().endswith(".gz") else below
    entity = Path(bare).with_suffix("").as_posix() if source.entity_from_path else None
    pairs = (folder.split("=", 1) for folder in name.split("/")[:-1] if "=" in folder)
    partitions = {key: None if value == _NO_PARTITION else unquote(value) for key, value in pairs}
    return TableFile(root / name, name, entity, partitions)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown
