"""Labels for an evaluation: a CSV or Parquet file of items or time points and what they are.

Images: `item` (path below the source's root), `label` (0/1), optional `mask` (path of a mask image,
relative to the labels file). Series: `timestamp`, `label`, optional `entity`. Both: optional `batch`,
where one item or time occurs in several. A file of classes has a column `class`, any text, in place of `label`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from aeflow.data.readings import read_times
from aeflow.exceptions import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aeflow.config import Kind


Key: TypeAlias = str | tuple[str, int]
"""Of an item: an image's path below the source's root, or entity and microseconds since 1970."""


@dataclass(frozen=True)
class Labels:
    """N labelled items: key `(N,)` (an image's path, or (entity, microseconds)), label `(N,)` bool,
    batch `(N,)` or None where the file names none; masks: key -> path."""

    keys: tuple[str, ...] | tuple[tuple[str, int], ...]
    label: NDArray[np.bool_]
    batches: tuple[str, ...] | None
    masks: dict[str, Path]


def read_labels(path: Path, kind: Kind, *, time_zone: str) -> Labels:
    """The labels in the file.

    Raises:
        SourceError: it cannot be read, a column is missing, a label is neither 0 nor 1, or an item has both.
    """
    table = _read(path)
    _expect_columns(table, ("item" if kind == "images" else "timestamp", "label"), path)
    label = pd.to_numeric(table["label"], errors="coerce")
    bad = ~label.isin([0, 1])
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise SourceError(
            f"expected labels 0 or 1, got {str(table['label'].iloc[row])!r} ({int(bad.sum())} such rows)",
            where=f"{path}, row {row + 1}",
        )
    batches = tuple(table["batch"].astype(str)) if "batch" in table.columns else None
    truth = label.to_numpy().astype(bool)
    if kind == "images":
        items = tuple(table["item"].astype(str))
        _refuse_contradictions(items, batches, truth, path)
        return Labels(items, truth, batches, _masks(table, path))
    times = _times(table, path, time_zone)
    _refuse_contradictions(times, batches, truth, path)
    return Labels(times, truth, batches, {})


def _refuse_contradictions(
    keys: Sequence[Key], batches: Sequence[str] | None, truth: NDArray[np.bool_], path: Path
) -> None:
    first: dict[tuple[Key, str], bool] = {}
    named = batches if batches is not None else [""] * len(keys)
    both = [
        key
        for key, batch, label in zip(keys, named, truth.tolist(), strict=True)
        if first.setdefault((key, batch), label) != label
    ]
    if both:
        raise SourceError(
            f"expected one label for each item, got 0 and 1 for {key_in_words(both[0])} "
            f"({len(both)} such rows)",
            where=str(path),
            remedy="Keep the row that is right.",
        )


def read_classes(path: Path, kind: Kind, *, time_zone: str) -> dict[Key, str]:
    """The class of each item in the file: key (an image's path, or (entity, microseconds)) -> class. Rows
    without a class are passed over.

    Raises:
        SourceError: it cannot be read, a column is missing, an item has two classes, or all have the same.
    """
    table = _read(path)
    _expect_columns(table, ("item" if kind == "images" else "timestamp", "class"), path)
    table = table[table["class"].notna()]
    keys: Sequence[Key] = (
        table["item"].astype(str).tolist() if kind == "images" else _times(table, path, time_zone)
    )
    found: dict[Key, str] = {}
    for key, name in zip(keys, table["class"].astype(str), strict=True):
        if found.setdefault(key, name) != name:
            raise SourceError(
                f"expected one class of {key}, got {found[key]!r} and {name!r}", where=str(path)
            )
    if len(set(found.values())) < 2:
        raise SourceError(f"expected two classes or more, got {sorted(set(found.values()))}", where=str(path))
    return found


def parse_key(text: str, kind: Kind, *, time_zone: str) -> Key:
    """The item that a person names: an image's path, or `[ENTITY@]TIME`.

    Raises:
        SourceError: the time cannot be read.
    """
    if kind == "images":
        return text
    entity, _, time = text.rpartition("@")
    times = read_times(pa.array([time]), time_zone, where=text)
    if not times.readable.all():
        raise SourceError(
            f"expected [ENTITY@]TIME, got {text!r}", remedy="Such as 2026-11-20T03:00:00+01:00."
        )
    return (entity, int(times.us[0]))


def key_in_words(key: Key) -> str:
    """An item as `parse_key` reads it."""
    if isinstance(key, str):
        return key
    entity, time_us = key
    time = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=time_us)
    return f"{entity}@{time.isoformat()}" if entity else time.isoformat()


def read_mask(path: Path) -> NDArray[np.bool_]:
    """A mask image `(H, W)`: True where it is not black.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L")) > 127
    except OSError as error:
        raise SourceError(f"the mask cannot be read: {error}", where=str(path)) from error


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(
            path,
            dtype=dict.fromkeys(("item", "entity", "timestamp", "batch", "mask", "class"), str),
        )
    except (OSError, ValueError) as error:
        raise SourceError(
            f"the labels cannot be read: {error}",
            where=str(path),
            remedy="Give a CSV with a header, or Parquet.",
        ) from error


def _expect_columns(table: pd.DataFrame, needed: tuple[str, ...], path: Path) -> None:
    for name in needed:
        if name not in table.columns:
            close = difflib.get_close_matches(name, list(table.columns), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise SourceError(
                f"expected the columns {', '.join(needed)}; {name!r} is missing{hint}",
                where=str(path),
                remedy=f"It has: {', '.join(table.columns)}.",
            )


def _masks(table: pd.DataFrame, path: Path) -> dict[str, Path]:
    if "mask" not in table.columns:
        return {}
    rows = zip(table["item"].astype(str), table["mask"], strict=True)
    return {item: path.parent / str(mask) for item, mask in rows if isinstance(mask, str) and mask}


def _times(table: pd.DataFrame, path: Path, time_zone: str) -> tuple[tuple[str, int], ...]:
    times = read_times(pa.Array.from_pandas(table["timestamp"]), time_zone, where=f"{path}, timestamp")
    if not times.readable.all():
        row = int(np.flatnonzero(~times.readable)[0])
        raise SourceError(
            f"expected a time, got {table['timestamp'].iloc[row]!r}", where=f"{path}, row {row + 1}"
        )
    entities = table["entity"].astype(str) if "entity" in table.columns else [""] * len(table)
    return tuple(zip(entities, times.us.tolist(), strict=True))
