"""The codes of a batch's items: a table, nearest neighbours, maps, and classes read from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.config import SeriesPrepare
from aeflow.data.labels import key_in_words, parse_key, read_classes
from aeflow.exceptions import SourceError
from aeflow.numerics.codes import active_units
from aeflow.representations.class_reading import learn_reading, write_final
from aeflow.representations.embedding_table import (
    EMBEDDINGS_FILE,
    embeddings_schema,
    nearest_rows,
    portions,
    rows_of,
    write_codes,
)
from aeflow.representations.encoding import is_variational
from flows.embedding_maps import Colour, draw_maps, plan_maps, rows_with_codes
from flows.side_task import of_items, side_task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aeflow.data.labels import Key
    from aeflow.numerics.codes import CodeMoments
    from aeflow.numerics.projection import Projection
    from aeflow.representations.class_reading import Accuracy
    from flows.side_task import SideTask

_NEIGHBOURS = 5


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
        chosen = plan_maps(task, batch, maps, colour, named)
        tell = of_items(progress, staged.valid)

        moments = write_codes(
            detector,
            pipeline,
            staged,
            first_pass,
            schema,
            device=task.device,
            with_scores=chosen.needs_scores,
            progress=tell,
        )
        drawn = draw_maps(task, batch, first_pass, moments, chosen)
        known = int(rows_with_codes(first_pass).size)
        found = _neighbours(task, first_pass, moments, wanted)
        reading = (
            None
            if named is None
            else learn_reading(first_pass, named, reach_us=_reach(task), seed=detector.config.seed)
        )
        accuracy = write_final(first_pass, task.build / EMBEDDINGS_FILE, schema, reading)
        folder = task.paths.embeddings(batch)
        task.deliver(folder)
        return Embedded(
            pipeline=pipeline.name,
            batch=batch,
            version=task.ref.version,
            folder=folder,
            items=known,
            left_out=staged.rows_in - known,
            code_size=detector.network.code_size,
            active=active_units(moments.variance, variational=is_variational(detector.network)),
            maps=chosen.files,
            drawn=drawn,
            neighbours=found,
            accuracy=accuracy,
        )


def _reach(task: SideTask) -> int | None:
    """How far a window reaches back, in microseconds; None for images."""
    cadence = task.detector.context.cadence_seconds
    return None if cadence is None else round(_window_points(task) * cadence * 1e6)


def _window_points(task: SideTask) -> int:
    """Of a window whose code is told; scores may look further back than it."""
    prepare = task.detector.config.prepare
    return prepare.window_points if isinstance(prepare, SeriesPrepare) else 1


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
    points = 1 if reach is None else 2 * _window_points(task)
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
