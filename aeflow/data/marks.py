"""A cheap mark of what each batch of the source is made of: another mark, and its data may have changed.

    images, tables by folder   names, sizes and times of change of the files
    tables by period           a sum over the rows of the period, whatever files they lie in, so that a
                               file that grows every night marks only the nights it grew by
    SQL                        none: a database does not tell what has changed

Files that are as they were are not read again. A mark decides nothing but where to look: the digest of
the batch, once it is taken in, does.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aeflow.config import SeriesPrepare
from aeflow.data import periods, tables
from aeflow.data.image_files import images_by_batch, root_of
from aeflow.data.series import context_points
from aeflow.data.series_intake import EVERYTHING, LOOK_BACK_BATCHES
from aeflow.data.time_formats import read_times_as
from aeflow.exceptions import SourceError
from aeflow.numerics.trailing import look_back_points

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from aeflow.config import PipelineConfig
    from aeflow.data.readings import Cells

_PERIOD_SECONDS = {"hour": 3600, "day": 86400, "week": 7 * 86400}
_MASK = (1 << 64) - 1


@dataclass
class MarkCache:
    """What was read of each file: name -> its size, its time of change, and period -> sum of its rows."""

    files: dict[str, tuple[int, int, dict[str, int]]] = field(default_factory=dict)
    reading: str = ""
    """SHA-256 of what the config says of source and batches, by which the files were read."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """File that could not be read to its end this time -> why. It is looked at anew each time; of periods that were
    read from it before, `files` still tells."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"reading": self.reading, "files": {name: list(known) for name, known in self.files.items()}}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> MarkCache:
        """The cache that was written so."""
        files = {name: (size, at, dict(sums)) for name, (size, at, sums) in value["files"].items()}
        return cls(files, value["reading"])


def batch_marks(config: PipelineConfig, cache: MarkCache) -> dict[str, str]:
    """Batch id -> its mark. Empty for a SQL source.

    Args:
        config: the pipeline.
        cache: of this pipeline's files; brought up to date, and begun anew where the config reads the
            source in another way than it was read.

    Raises:
        SourceError: the source cannot be read, nor any of its files.
    """
    reading = _reading(config)
    if cache.reading != reading:
        cache.files, cache.reading = {}, reading
    if config.kind == "images":
        root = root_of(config)
        refs = images_by_batch(config)
        return {batch: _of_files(root / ref.item for ref in found) for batch, found in refs.items()}
    if config.source.kind == "sql":
        return {}
    if config.batch.by == "period":
        return _of_periods(config, cache)
    if config.batch.by == "source":
        return {EVERYTHING: _of_files(f.path for f in tables.find_files(config))}
    return {
        folder: _of_files(f.path for f in tables.find_files(config, folder))
        for folder in tables.list_folders(config)
    }


def following(config: PipelineConfig, batches: Iterable[str], ids: list[str]) -> set[str]:
    """Those of `ids` (in order) whose first scores look back into one of `batches`."""
    if not isinstance(config.prepare, SeriesPrepare) or config.batch.by == "source":
        return set()
    reach = _reach(config, config.prepare)
    chosen = set(batches)
    return {
        later
        for place, batch in enumerate(ids)
        if batch in chosen
        for later in ids[place + 1 : place + 1 + reach]
    }


def _reach(config: PipelineConfig, prepare: SeriesPrepare) -> int:
    """How many batches after a batch its rows may bear on."""
    if config.batch.by == "folder" or prepare.cadence_seconds is None:
        return LOOK_BACK_BATCHES
    scoring = config.scoring
    points = context_points(prepare) + look_back_points(scoring.smooth_points, scoring.baseline_points)
    return int(points * prepare.cadence_seconds // _PERIOD_SECONDS[config.batch.period]) + 1


def _of_files(paths: Iterable[Path]) -> str:
    """Of names, sizes, times of change and whether they may be read; a file that is missing counts as that."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        try:
            found = path.stat()
            # Rights that come or go change neither size nor time, and yet what can be read.
            closed = "" if os.access(path, os.R_OK) else "\0closed"
            digest.update(
                f"{path}\0{found.st_size}\0{found.st_mtime_ns}{closed}\n".encode("utf-8", "surrogateescape")
            )
        except OSError:
            digest.update(f"{path}\0missing\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _reading(config: PipelineConfig) -> str:
    said = config.source.model_dump_json() + config.batch.model_dump_json()
    return hashlib.sha256(said.encode()).hexdigest()


def _of_periods(config: PipelineConfig, cache: MarkCache) -> dict[str, str]:
    known, cache.files, cache.unreadable = cache.files, {}, {}
    complaint: SourceError | OSError | None = None
    totals: dict[str, int] = {}
    for file in tables.find_files(config):
        sums: dict[str, int] = {}
        before = known.get(file.name)
        try:
            found = _readable(file.path)
            if before is not None and before[:2] == (found.st_size, found.st_mtime_ns):
                sums = before[2]
            else:
                _add_row_sums(config, file, sums)
            cache.files[file.name] = (found.st_size, found.st_mtime_ns, sums)
        except (SourceError, OSError) as error:
            cache.unreadable[file.name] = getattr(error, "problem", None) or str(error)
            complaint = complaint or error
            if before is not None:
                # Batches that were read from it stay as they are until it can be read again: scored anew now,
                # their reports would lose what they have.
                sums |= before[2]
                cache.files[file.name] = before
            elif file.name.endswith("/"):
                closed = {name: entry for name, entry in known.items() if name.startswith(file.name)}
                cache.files |= closed
                for _, _, of_file in closed.values():
                    _add(sums, of_file)
        _add(totals, sums)
    if complaint is not None and not totals:
        raise complaint
    return {batch: f"{total:016x}" for batch, total in totals.items()}


def _readable(path: Path) -> os.stat_result:
    found = path.stat()
    # Else one that was read before would pass for readable, by its size and time.
    if not os.access(path, os.R_OK):
        raise SourceError("expected a file that may be read", where=str(path))
    return found


def _add(totals: dict[str, int], sums: Mapping[str, int]) -> None:
    for batch, total in sums.items():
        totals[batch] = (totals.get(batch, 0) + total) & _MASK


def _add_row_sums(config: PipelineConfig, file: tables.TableFile, totals: dict[str, int]) -> None:
    """To `totals`, period -> sum over the hashes of its rows in the file, modulo 2^64: in whatever order they
    stand; as far as the file can be read. A row whose time cannot be read goes with the one before it; a file
    without any time that can has none."""
    source, zone = config.source, config.batch.time_zone
    assert source.kind == "table"
    assert source.time_column is not None
    wanted = [source.time_column, *source.channels]
    if source.entity_column is not None:
        wanted.append(source.entity_column)
    last: int | None = None
    for cells in tables.read_cells(file, source, list(dict.fromkeys(wanted)), zone):
        times = read_times_as(
            cells.columns[source.time_column],
            source.time_format,
            zone,
            where=f"{file.path}, {source.time_column}",
        )
        if not times.readable.any() and last is None:
            continue
        us = _filled(times.us, times.readable, last)
        last = int(us[-1])
        ids, place = _periods_of(us, config)
        sums = np.zeros(len(ids), np.uint64)
        np.add.at(sums, place, _row_hashes(cells, file.entity or ""))
        _add(totals, dict(zip(ids, sums.tolist(), strict=True)))


def _row_hashes(cells: Cells, entity: str) -> np.ndarray:
    """(R,) uint64, never 0 so that a row more is a sum more."""
    table = pd.DataFrame({name: column.to_pandas() for name, column in cells.columns.items()})
    salt = np.uint64(int.from_bytes(hashlib.sha256(entity.encode()).digest()[:8], "little"))
    with np.errstate(over="ignore"):
        mixed: np.ndarray = (pd.util.hash_pandas_object(table, index=False).to_numpy() ^ salt) | np.uint64(1)
    return mixed


def _filled(us: np.ndarray, readable: np.ndarray, last: int | None) -> np.ndarray:
    """Each time that cannot be read as the one before it; where there is none, as the first after it."""
    place = np.maximum.accumulate(np.where(readable, np.arange(len(us)), -1))
    first = int(us[np.argmax(readable)]) if last is None else last
    return np.where(place >= 0, us[np.maximum(place, 0)], first)


def _periods_of(us: np.ndarray, config: PipelineConfig) -> tuple[list[str], np.ndarray]:
    """The periods of the times, and for each time which of them: (R,) int64."""
    hours, place = np.unique(us // 3_600_000_000, return_inverse=True)
    first = [periods.id_at(periods.from_us(int(h) * 3_600_000_000), config.batch) for h in hours]
    last = [periods.id_at(periods.from_us(int(h + 1) * 3_600_000_000 - 1), config.batch) for h in hours]
    ids = sorted({*first, *last})
    number = {name: n for n, name in enumerate(ids)}
    found = np.array([number[name] for name in first])[place]
    for n, (one, other) in enumerate(zip(first, last, strict=True)):
        if one != other:  # a midnight in the middle of an hour of UTC
            edge = periods.to_us(periods.bounds(other, config.batch)[0])
            found[(place == n) & (us >= edge)] = number[other]
    return ids, found
