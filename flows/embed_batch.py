"""The codes of a batch's items: a table, nearest neighbours, maps, and classes read from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aeflow.data.labels import key_in_words, parse_key, read_classes
from aeflow.exceptions import InputError, SourceError
from aeflow.numerics.codes import active_units
from aeflow.numerics.projection import FEWEST, Projection, project
from aeflow.report.latent_map import ByClass, ByScore, latent_map
from aeflow.report.receipt import read_receipt
from aeflow.representations.class_reading import drawn_evenly, learn_reading, write_final
from aeflow.representations.embedding_table import (
    EMBEDDINGS_FILE,
    embeddings_schema,
    nearest_rows,
    portions,
    rows_of,
    write_codes,
)
from aeflow.representations.encoding import is_variational
from aeflow.scoring import SCORES_FILE
from flows.side_task import of_items, side_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from aeflow.data.labels import Key
    from aeflow.numerics.codes import CodeMoments
    from aeflow.representations.class_reading import Accuracy
    from flows.side_task import SideTask

_MOST_POINTS = 3_000  # on a map: more cover one another, and t-SNE takes minutes
_NEIGHBOURS = 5


class Colour(StrEnum):
    """What the colours of a map stand for."""

    SCORE = auto()
    CLASS = auto()


@dataclass(frozen=True)
class Neighbours:
    """The nearest items of one, itself first: item and distance of standardised codes."""

    item: str
    nearest: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Embedded:
    """What came of it. items: those with a code; left_out: those without; active: numbers of the code that
    carry something; drawn: items on each map."""

    pipeline: str
    batch: str
    version: int
    folder: Path
    items: int
    left_out: int
    code_size: int
    active: int
    maps: tuple[str, ...]
    drawn: int
    neighbours: tuple[Neighbours, ...]
    accuracy: Accuracy | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"folder": str(self.folder)}


def embed_batch(
    config: Path,
    batch: str,
    *,
    version: int | None = None,
    maps: Sequence[Projection] = (),
    colour: Colour = Colour.SCORE,
    classes: Path | None = None,
    neighbours: Sequence[str] = (),
    progress: Callable[[float, str], None] | None = None,
) -> Embedded:
    """Write the code of every item of a batch, and what else is asked for.

    Args:
        config: the pipeline's YAML file.
        batch: which batch.
        version: of the detector; None: the champion.
        maps: which to draw.
        colour: of the maps.
        classes: a file of classes; they are read from the codes by a linear classifier.
        neighbours: items whose nearest ones to find: an image's path, or `[ENTITY@]TIME`.
        progress: told how far the encoding is.

    Raises:
        UserError: see `aeflow.exceptions`: what has to be mended is in the message.
    """
    if colour is Colour.CLASS and classes is None:
        raise InputError("a map coloured by class needs --classes FILE", where="aeflow embed")
    with side_task(config, "embedding", version=version) as task:
        pipeline, detector = task.config, task.detector
        zone = pipeline.batch.time_zone
        named = read_classes(classes, pipeline.kind, time_zone=zone) if classes else None
        wanted = [parse_key(text, pipeline.kind, time_zone=zone) for text in neighbours]
        staged = task.stage(batch)
        first_pass = task.work / "first-pass.parquet"
        facts = {
            "batch": batch,
            "detector_version": str(task.ref.version),
            "detector_digest": task.ref.digest,
        }
        schema = embeddings_schema(pipeline, detector.network.code_size, facts)
        told = _published_scores(task, batch) if colour is Colour.SCORE and maps else None

        tell = of_items(progress, staged.valid)

        moments = write_codes(
            detector,
            pipeline,
            staged,
            first_pass,
            schema,
            device=task.device,
            with_scores=bool(maps) and colour is Colour.SCORE and told is None,
            progress=tell,
        )
        known = _rows_with_codes(first_pass)
        seed = detector.config.seed
        drawn = drawn_evenly(known, _MOST_POINTS, seed)
        if maps and known.size < FEWEST:
            raise InputError(
                f"expected at least {FEWEST} items with a code to draw a map of, got {known.size}",
                where=f"batch {batch}",
            )
        if maps:
            places = _Places(batch, known.size, drawn, seed)
            _draw_maps(
                task, first_pass, moments, places, maps, named if colour is Colour.CLASS else None, told
            )
        found = _neighbours(task, first_pass, moments, wanted)
        reading = (
            None if named is None else learn_reading(first_pass, named, reach_us=_reach(task), seed=seed)
        )
        accuracy = write_final(first_pass, task.build / EMBEDDINGS_FILE, schema, reading)
        folder = task.paths.embeddings(batch)
        task.deliver(folder)
        return Embedded(
            pipeline=pipeline.name,
            batch=batch,
            version=task.ref.version,
            folder=folder,
            items=known.size,
            left_out=staged.rows_in - known.size,
            code_size=detector.network.code_size,
            active=active_units(moments.variance, variational=is_variational(detector.network)),
            maps=tuple(_map_file(how, colour) for how in maps),
            drawn=drawn.size if maps else 0,
            neighbours=found,
            accuracy=accuracy,
        )


def _rows_with_codes(first_pass: Path) -> NDArray[np.int64]:
    known, begin = [np.empty(0, dtype=np.int64)], 0
    for portion in portions(first_pass):
        known.append(begin + np.flatnonzero(portion.known))
        begin += len(portion.keys)
    return np.concatenate(known)


def _reach(task: SideTask) -> int | None:
    """How far a window reaches back, in microseconds; None for images."""
    context = task.detector.context
    if context.cadence_seconds is None:
        return None
    return round(context.points * context.cadence_seconds * 1e6)


def _map_file(how: Projection, colour: Colour) -> str:
    return f"map-{how}-{colour}.png"


@dataclass(frozen=True)
class _Places:
    """Which rows of how many are drawn."""

    batch: str
    items: int
    drawn: NDArray[np.int64]
    seed: int

    def note(self) -> str:
        if self.drawn.size == self.items:
            return f"all {self.items:,} items"
        return f"{self.drawn.size:,} of {self.items:,} items, drawn evenly"


def _draw_maps(
    task: SideTask,
    first_pass: Path,
    moments: CodeMoments,
    places: _Places,
    maps: Sequence[Projection],
    classes: Mapping[Key, str] | None,
    published: Path | None,
) -> None:
    some = rows_of(first_pass, places.drawn)
    codes = moments.standardised(some.code)
    colour = Colour.SCORE
    colouring: ByScore | ByClass = _by_score(some.keys, some.score, published)
    if classes is not None:
        colour, colouring = Colour.CLASS, ByClass([classes.get(key) for key in some.keys])
    for how in maps:
        image = latent_map(
            project(codes, how, seed=places.seed),
            colouring,
            title=f"{task.config.name}, batch {places.batch}: codes of detector {task.ref.version}, {_NAMES[how]}",
            note=places.note(),
        )
        (task.build / _map_file(how, colour)).write_bytes(image)


_NAMES = {
    Projection.PCA: "principal axes",
    Projection.TSNE: "t-SNE",
    Projection.UMAP: "UMAP",
}


def _published_scores(task: SideTask, batch: str) -> Path | None:
    """The scores of the batch's report, if this very detector made it."""
    report = task.paths.report(batch)
    if not report.is_dir() or read_receipt(report).detector_version != task.ref.version:
        return None
    return report / SCORES_FILE


def _by_score(keys: tuple[Key, ...], score: NDArray[np.float32], published: Path | None) -> ByScore:
    if published is None:
        return ByScore(score, np.zeros(len(keys), dtype=bool))
    place = {key: number for number, key in enumerate(keys)}
    found = np.full(len(keys), np.nan, dtype=np.float32)
    flagged = np.zeros(len(keys), dtype=bool)
    with pq.ParquetFile(published, pre_buffer=False) as file:
        names = ["item"] if "item" in file.schema_arrow.names else ["entity", "timestamp"]
        for batch in file.iter_batches(columns=[*names, "score", "flag"]):
            first = batch.column(names[0]).to_pylist()
            every: Sequence[Key] = (
                first
                if len(names) == 1
                else list(zip(first, batch.column(names[1]).cast(pa.int64()).to_pylist(), strict=True))
            )
            scores, flags = batch.column("score").to_pylist(), batch.column("flag").to_pylist()
            for key, value, flag in zip(every, scores, flags, strict=True):
                number = place.get(key)
                if number is not None and value is not None:
                    found[number], flagged[number] = value, bool(flag)
    return ByScore(found, flagged)


def _neighbours(
    task: SideTask, first_pass: Path, moments: CodeMoments, wanted: Sequence[Key]
) -> tuple[Neighbours, ...]:
    """The nearest items of those that are asked for."""
    if not wanted:
        return ()
    at: dict[Key, int] = {}
    asked, begin = set(wanted), 0
    for portion in portions(first_pass):
        known = portion.known
        at |= {key: begin + n for n, key in enumerate(portion.keys) if key in asked and known[n]}
        begin += len(portion.keys)
    missing = [key_in_words(key) for key in wanted if key not in at]
    if missing:
        raise SourceError(
            f"expected items of the batch that have a code, got {', '.join(missing)}",
            where=f"pipeline {task.config.name}",
            remedy="Images are named by their path below the source's root, time points as [ENTITY@]TIME.",
        )
    order = sorted(wanted, key=lambda key: at[key])
    queries = rows_of(first_pass, np.array([at[key] for key in dict.fromkeys(order)], dtype=np.int64))
    reach = _reach(task)
    # Windows that share points are alike for that alone: of those that overlap only the nearest is told.
    points = 1 if reach is None else 2 * task.detector.context.points
    nearest = nearest_rows(first_pass, queries.code, moments, count=(_NEIGHBOURS + 1) * points)
    rows = np.unique(nearest.row[nearest.row >= 0])
    keys = dict(zip(rows.tolist(), rows_of(first_pass, rows).keys, strict=True))
    found = {}
    for number, key in enumerate(queries.keys):
        chosen: list[tuple[Key, float]] = [(key, 0.0)]
        for row, distance in zip(
            nearest.row[number].tolist(), nearest.distance[number].tolist(), strict=True
        ):
            if row >= 0 and len(chosen) <= _NEIGHBOURS and not _overlap(keys[row], chosen, reach):
                chosen.append((keys[row], distance))
        found[key] = Neighbours(key_in_words(key), tuple((key_in_words(k), d) for k, d in chosen))
    return tuple(found[key] for key in wanted)


def _overlap(key: Key, chosen: Sequence[tuple[Key, float]], reach_us: int | None) -> bool:
    """Whether an item is one of those chosen, or its window overlaps one of theirs."""
    if reach_us is None:
        return any(key == other for other, _ in chosen)
    return any(key[0] == other[0] and abs(int(key[1]) - int(other[1])) < reach_us for other, _ in chosen)
