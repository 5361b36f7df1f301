"""A CSV that lists images: one row an image, its path, batch and group made of the row's cells."""

from __future__ import annotations

import csv
import difflib
import string
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from aeflow.exceptions import ConfigError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aeflow.config import Manifest

_Pattern = tuple[tuple[str, str | None], ...]
"""(text, column whose cell follows it) of each part."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the manifest."""

    item: str
    """Path below the root, normalised; the file need not exist."""
    batch: str | None
    """None where the manifest has no batch pattern."""
    group: str | None
    """None where the manifest has no group pattern, or it gives an empty text."""


def read_manifest(root: Path, manifest: Manifest) -> Iterator[Entry]:
    """The rows of the CSV `manifest.path` below `root`, in their order.

    Raises:
        ConfigError: a pattern is malformed or names a column that the CSV does not have.
        SourceError: the CSV cannot be read, a row has too few or too many cells, an item is no path
            below the root, or a batch cannot name a folder.
    """
    path = root / manifest.path
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = tuple(reader.fieldnames or ())
            item = _parse("item", manifest.item, columns, path)
            batch = None if manifest.batch is None else _parse("batch", manifest.batch, columns, path)
            group = None if manifest.group is None else _parse("group", manifest.group, columns, path)
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if None in row or None in row.values():
                    came = "more" if None in row else "fewer"
                    msg = f"expected {len(columns)} cells, as the header has, got {came}"
                    raise SourceError(msg, where=where)
                yield Entry(
                    item=_path_below(_fill(item, row), where),
                    batch=None if batch is None else _folder_name(_fill(batch, row), where),
                    group=None if group is None else _fill(group, row) or None,
                )
    except OSError as error:
        msg = f"the manifest cannot be read: {error.strerror}"
        remedy = f"Mend source.manifest.path ({manifest.path!r}) in the config."
        raise SourceError(msg, where=str(path), remedy=remedy) from error
    except (csv.Error, UnicodeDecodeError) as error:
        msg = f"expected a CSV in UTF-8: {error}"
        raise SourceError(msg, where=str(path)) from error


def _parse(key: str, pattern: str, columns: tuple[str, ...], path: Path) -> _Pattern:
    where = f"source.manifest.{key}"
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        msg = f"expected a pattern such as '{{class}}/{{file}}', got {pattern!r} ({error})"
        raise ConfigError(msg, where=where) from error
    for _, column, spec, conversion in parts:
        if spec or conversion:
            msg = f"expected plain column names in braces, got {pattern!r}"
            raise ConfigError(msg, where=where)
        if column is not None and column not in columns:
            close = difflib.get_close_matches(column, columns, n=1, cutoff=0)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            msg = f"the pattern {pattern!r} names the column {column!r}, which {path} does not have"
            remedy = f"{hint}Its columns: {', '.join(columns) or 'none, the file is empty'}."
            raise ConfigError(msg, where=where, remedy=remedy)
    return tuple((text, column) for text, column, _, _ in parts)


def _fill(pattern: _Pattern, row: dict[str, str]) -> str:
    return "".join(text + (row[column] if column is not None else "") for text, column in pattern)


def _path_below(name: str, where: str) -> str:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        msg = f"expected a path below the source's root, without '..', got {name!r}"
        raise SourceError(msg, where=where)
    return str(path)


def _folder_name(batch: str, where: str) -> str:
    if batch in {"", ".", ".."} or "/" in batch or not batch.isprintable():
        msg = f"expected a batch id that can name a folder (not empty, without /), got {batch!r}"
        raise SourceError(msg, where=where, remedy="Change source.manifest.batch, or the manifest.")
    return batch
