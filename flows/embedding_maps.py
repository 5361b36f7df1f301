"""Maps of a batch's codes: which items are drawn, and what their colours stand for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aeflow.exceptions import InputError
from aeflow.numerics.projection import FEWEST, Projection, project
from aeflow.report.latent_map import ByClass, ByScore, ByVerdict, latent_map
from aeflow.report.receipt import read_receipt
from aeflow.report.reviewed import bound_verdicts
from aeflow.representations.class_reading import drawn_evenly
from aeflow.representations.embedding_table import portions, rows_of
from aeflow.scoring import SCORES_FILE
from aeflow.store.verdicts import open_verdicts, standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aeflow.data.labels import Key
    from aeflow.numerics.codes import CodeMoments
    from flows.side_task import SideTask

_MOST_POINTS = 3_000  # on a map: more cover one another, and t-SNE takes minutes
_NAMES = {
    Projection.PCA: "principal axes",
    Projection.TSNE: "t-SNE",
    Projection.UMAP: "UMAP",
}


class Colour(StrEnum):
    """What the colours of a map stand for."""

    SCORE = auto()
    CLASS = auto()
    VERDICT = auto()


@dataclass(frozen=True)
class Maps:
    """The maps that are asked for. classes: of items, for the colour CLASS; published: the scores of the
    batch's report, where the colour is read from it; verdicts: what holds of items of flags."""

    kinds: tuple[Projection, ...]
    colour: Colour
    classes: Mapping[Key, str] | None = None
    published: Path | None = None
    verdicts: Mapping[Key, str] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the pictures."""
        return tuple(f"map-{kind}-{self.colour}.png" for kind in self.kinds)

    @property
    def needs_scores(self) -> bool:
        """Whether the items have to be scored to be coloured."""
        return bool(self.kinds) and self.colour is Colour.SCORE and self.published is None


def plan_maps(
    task: SideTask,
    batch: str,
    kinds: Sequence[Projection],
    colour: Colour,
    classes: Mapping[Key, str] | None,
) -> Maps:
    """What the maps need, looked up before the work begins.

    Raises:
        InputError: there are no classes, no report or no verdicts to colour by.
    """
    if colour is Colour.CLASS and classes is None:
        raise InputError("a map coloured by class needs --classes FILE", where="aeflow embed")
    if not kinds:
        return Maps((), colour)
    if colour is Colour.CLASS:
        return Maps(tuple(kinds), colour, classes=classes)
    if colour is Colour.SCORE:
        return Maps(tuple(kinds), colour, published=_scores_of_this_detector(task, batch))
    published = task.paths.report(batch) / SCORES_FILE
    if not published.is_file():
        raise InputError(
            "expected a published report, since verdicts are about its flags, and there is none",
            where=f"pipeline {task.config.name}, batch {batch}",
            remedy="Score the batch, and review its flags.",
        )
    verdicts = _verdicts_of_items(task, published)
    if all(held == _NOT_REVIEWED for held in verdicts.values()):
        raise InputError(
            "expected a verdict on a flag of the batch, and there is none",
            where=f"pipeline {task.config.name}, batch {batch}",
            remedy="Review its flags: aeflow verdicts CONFIG --export FILE, fill in, --import FILE.",
        )
    return Maps(tuple(kinds), colour, verdicts=verdicts)


def draw_maps(task: SideTask, batch: str, first_pass: Path, moments: CodeMoments, maps: Maps) -> int:
    """Draw them into the build folder.

    Returns:
        The number of items on each.

    Raises:
        InputError: too few items have a code.
    """
    if not maps.kinds:
        return 0
    known = rows_with_codes(first_pass)
    if known.size < FEWEST:
        raise InputError(
            f"expected at least {FEWEST} items with a code to draw a map of, got {known.size}",
            where=f"batch {batch}",
        )
    seed = task.detector.config.seed
    drawn = _drawn(first_pass, known, maps.verdicts or {}, seed)
    some = rows_of(first_pass, drawn)
    codes = moments.standardised(some.code)
    note = (
        f"all {known.size:,} items"
        if drawn.size == known.size
        else f"{drawn.size:,} of {known.size:,} items, drawn evenly"
        + (" beside those of flags" if maps.verdicts else "")
    )
    colouring = _colouring(maps, some.keys, some.score)
    for kind, file in zip(maps.kinds, maps.files, strict=True):
        image = latent_map(
            project(codes, kind, seed=seed),
            colouring,
            title=f"{task.config.name}, batch {batch}: codes of detector {task.ref.version}, {_NAMES[kind]}",
            note=note,
        )
        (task.build / file).write_bytes(image)
    return int(drawn.size)


def rows_with_codes(first_pass: Path) -> NDArray[np.int64]:
    """The numbers of the rows that have a code."""
    known, begin = [np.empty(0, dtype=np.int64)], 0
    for portion in portions(first_pass):
        known.append(begin + np.flatnonzero(portion.known))
        begin += len(portion.keys)
    return np.concatenate(known)


_NOT_REVIEWED = "not reviewed"


def _drawn(
    first_pass: Path, known: NDArray[np.int64], flagged: Mapping[Key, str], seed: int
) -> NDArray[np.int64]:
    """Rows to draw: those of flags first, which are few, and of the others as many as there is room for."""
    if not flagged:
        return drawn_evenly(known, _MOST_POINTS, seed)
    at, begin = [], 0
    for portion in portions(first_pass):
        at += [begin + n for n, key in enumerate(portion.keys) if key in flagged]
        begin += len(portion.keys)
    mine = drawn_evenly(np.intersect1d(known, np.array(at, dtype=np.int64)), _MOST_POINTS // 2, seed)
    others = drawn_evenly(np.setdiff1d(known, np.array(at, dtype=np.int64)), _MOST_POINTS - mine.size, seed)
    return np.sort(np.concatenate([mine, others]))


def _colouring(maps: Maps, keys: Sequence[Key], score: NDArray[np.float32]) -> ByScore | ByClass | ByVerdict:
    if maps.colour is Colour.CLASS:
        return ByClass([(maps.classes or {}).get(key) for key in keys])
    if maps.colour is Colour.VERDICT:
        return ByVerdict([(maps.verdicts or {}).get(key) for key in keys])
    return _by_score(keys, score, maps.published)


def _verdicts_of_items(task: SideTask, published: Path) -> dict[Key, str]:
    """What holds of each item that belongs to a flag."""
    holds = standing(bound_verdicts(task.paths, open_verdicts(task.paths).all()))
    return {
        key: str(holds.get(flag, _NOT_REVIEWED))
        for key, flag in _items(published, ("flag_id",))
        if flag is not None
    }


def _scores_of_this_detector(task: SideTask, batch: str) -> Path | None:
    """The scores of the batch's report, if this very detector made it."""
    report = task.paths.report(batch)
    if not report.is_dir() or read_receipt(report).detector_version != task.ref.version:
        return None
    return report / SCORES_FILE


def _by_score(keys: Sequence[Key], score: NDArray[np.float32], published: Path | None) -> ByScore:
    if published is None:
        return ByScore(score, np.zeros(len(keys), dtype=bool))
    place = {key: number for number, key in enumerate(keys)}
    found = np.full(len(keys), np.nan, dtype=np.float32)
    flagged = np.zeros(len(keys), dtype=bool)
    for key, value, flag in _items(published, ("score", "flag")):
        number = place.get(key)
        if number is not None and value is not None:
            found[number], flagged[number] = value, bool(flag)
    return ByScore(found, flagged)


def _items(published: Path, columns: tuple[str, ...]) -> Iterator[tuple]:  # type: ignore[type-arg]
    """Key and values of each row of a report's scores."""
    with pq.ParquetFile(published, pre_buffer=False) as file:
        names = ["item"] if "item" in file.schema_arrow.names else ["entity", "timestamp"]
        for batch in file.iter_batches(columns=[*names, *columns]):
            first = batch.column(names[0]).to_pylist()
            keys: Sequence[Key] = (
                first
                if len(names) == 1
                else list(zip(first, batch.column(names[1]).cast(pa.int64()).to_pylist(), strict=True))
            )
            yield from zip(keys, *(batch.column(name).to_pylist() for name in columns), strict=True)
