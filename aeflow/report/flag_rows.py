"""Rows of `flags.parquet`, a few at a time: their pictures are large."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from aeflow.exceptions import IntegrityError
from aeflow.report.stored import reading
from aeflow.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

_ROWS_WITH_PICTURES = 16
_ROWS = 1_024
_PICTURES = ("image_png", "reconstruction_png", "heatmap_png")


def flag_rows(
    flags: Path, columns: Sequence[str] | None = None, *, suppressed: bool = False, limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of flags that count, or of those that are suppressed, the most severe first.

    Args:
        flags: the file.
        columns: to read; None: all.
        suppressed: those instead.
        limit: at most so many; None: all.

    Raises:
        StorageError, IntegrityError: the file cannot be read.
    """
    light = columns is not None and not set(_PICTURES) & set(columns)
    with reading(flags), pq.ParquetFile(flags, pre_buffer=False) as file:
        wanted = None if columns is None else list(dict.fromkeys([*columns, "suppressed"]))
        batches = file.iter_batches(_ROWS if light else _ROWS_WITH_PICTURES, columns=wanted)
        aside = ((pc.fill_null(b.column("suppressed"), fill_value=False), b) for b in batches)
        chosen = (b.filter(is_aside if suppressed else pc.invert(is_aside)) for is_aside, b in aside)
        yield from islice((row for batch in chosen for row in batch.to_pylist()), limit)


def expect_scored(found: Collection[str], flagged: Sequence[str], scores: Path) -> None:
    """Refuse flags that the scores do not know.

    Raises:
        IntegrityError: there are such.
    """
    lost = [name for name in flagged if name not in found]
    if lost:
        msg = f"{scores} does not know {counted(len(lost), 'flag')}, {lost[:5]} first; score the batch again"
        raise IntegrityError(msg)
