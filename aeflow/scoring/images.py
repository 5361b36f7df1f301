"""Score a staged batch of images: every image, then the cut, then evidence for what is flagged.

Evidence is made in a pass of its own over the flagged images: they are few, and the cut may need the
whole batch. Legend: N arrays, K arrays (tiles) of one image, M images, C bands, H x W pixels.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from PIL import Image

from aeflow import schemas
from aeflow.config import ImagePrepare
from aeflow.data.image_quarantine import quarantine_table
from aeflow.data.images import iter_images
from aeflow.data.ordered_map import one_ahead
from aeflow.data.tiling import stitch, to_original
from aeflow.detector.codes import encode_arrays
from aeflow.detector.image_scores import as_unit
from aeflow.memory import PORTIONS, hand_back
from aeflow.numerics.exchangeability import BulkCounts, check_exchangeability
from aeflow.numerics.reconstruction_error import worst_boxes
from aeflow.scoring.drift_meter import DriftMeter
from aeflow.scoring.judged import (
    LATE_QUARANTINE_FILE,
    NEIGHBOURS,
    SCORES_FILE,
    BatchScores,
    ScoringProgress,
    channel_shares,
    described,
    flag_id,
    lists_where,
    rows_at,
    table_writer,
    top_channel,
    write_judged_flags,
    write_verdicts,
)
from aeflow.scoring.pictures import heatmap_png, image_png

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from aeflow.config import PipelineConfig
    from aeflow.data.image_intake import StagedImage
    from aeflow.data.image_quarantine import SetAside
    from aeflow.data.images import ImageInputs
    from aeflow.data.intake import Intake
    from aeflow.detector import Detector
    from aeflow.detector.image_scores import ArrayMaps
    from aeflow.scoring.suppression import Precedent

_MAX_BOXES = 5


@dataclass(frozen=True)
class ImageScores:
    """The images of one chunk, scored: score `(M,)`, p_value `(M,)`, contributions `(M, C)`."""

    items: tuple[StagedImage, ...]
    score: NDArray[np.float32]
    p_value: NDArray[np.float64]
    contributions: NDArray[np.float32]
    set_aside: tuple[SetAside, ...]
    error_maps: tuple[NDArray[np.float32], ...] = ()
    """(height, width) of each stored image, where asked for."""


def score_items(
    detector: Detector,
    config: PipelineConfig,
    intake: Intake,
    *,
    device: torch.device,
    with_maps: bool = False,
    meter: DriftMeter | None = None,
) -> Iterator[ImageScores]:
    """Every image of the batch with its score, in the order of the staged table; the score of an image
    in tiles is that of its worst tile. with_maps: with error maps, in original pixels. `meter` is shown each
    chunk."""
    source = config.model_copy(update={"prepare": detector.config.prepare}).at(config.folder)
    for number, inputs in enumerate(iter_images(source, intake), start=1):
        if not inputs.items:
            empty = np.empty(0, dtype=np.float32)
            yield ImageScores(
                (), empty, np.empty(0), empty.reshape(0, len(config.channels)), inputs.set_aside
            )
            continue
        chunk_items = config.compute.chunk_items
        maps: ArrayMaps | None = None
        if with_maps:
            found, maps = detector.map_errors(inputs.pixels, device=device, chunk_items=chunk_items)
        else:
            found = detector.score_images(inputs.pixels, device=device, chunk_items=chunk_items)
        if meter is not None:
            meter.add_images(inputs)
        worst = worst_array(found.score, inputs.item)
        score = found.score[worst]
        in_original = (
            () if maps is None else tuple(_in_original(detector, maps, inputs, one) for one in inputs.items)
        )
        yield ImageScores(
            items=inputs.items,
            score=score,
            p_value=detector.p_values(score),
            contributions=found.contributions[worst],
            set_aside=inputs.set_aside,
            error_maps=in_original,
        )
        if number % PORTIONS == 0:
            hand_back()


def score_image_batch(
    detector: Detector,
    config: PipelineConfig,
    intake: Intake,
    folder: Path,
    *,
    device: torch.device,
    progress: Callable[[ScoringProgress], None] | None = None,
    precedents: Sequence[Precedent] = (),
) -> BatchScores:
    """Write `scores.parquet` and `flags.parquet` of the batch into `folder`, and beside it what turned
    out to be damaged."""
    schema = described(schemas.IMAGE_SCORES, "images", config.channels)
    first_pass = folder / "first-pass.parquet"
    aside: Counter[str] = Counter()
    candidates: list[_Candidate] = []
    bulk = BulkCounts()
    meter = DriftMeter(detector, rows=intake.valid, entities=1, device=device)
    scored = 0
    with (
        table_writer(first_pass, schema, passing=True) as writer,
        table_writer(folder.parent / LATE_QUARANTINE_FILE, schemas.QUARANTINE) as quarantine,
    ):
        for chunk in one_ahead(score_items(detector, config, intake, device=device, meter=meter)):
            writer.write_table(_table(chunk, config, schema))
            quarantine.write_table(quarantine_table(config, intake.batch, chunk.set_aside))
            bulk.add(chunk.p_value)
            aside.update(one.reason for one in chunk.set_aside)
            candidates += [
                _Candidate(scored + int(i), chunk.items[i].index, float(chunk.p_value[i]))
                for i in np.flatnonzero(chunk.p_value <= detector.calibration.alpha)
            ]
            scored += len(chunk.items)
            if progress is not None:
                progress(ScoringProgress(scored + aside.total(), intake.valid))

    p_values = np.array([n.p_value for n in candidates])
    cut = detector.calibration.cut(p_values, n_tested=scored, n_above=bulk.above_half)
    severity = partial(detector.calibration.severity, cut=cut)
    flagged = [n for n in candidates if n.p_value <= cut]
    rows = np.array([n.row for n in flagged], dtype=np.int64)
    facts = rows_at(first_pass, rows)
    # Boxes for every flag; pictures for the most severe, since they are what makes a report large.
    by_severity = sorted(flagged, key=lambda n: (n.p_value, n.row))
    pictured = {n.staged for n in by_severity[: config.report.max_evidence_flags]}
    evidence = _evidence(detector, config, intake, [n.staged for n in flagged], pictured, device=device)
    flags = [
        _flag(config, intake.batch, facts[n.row], severity) | evidence.get(n.staged, {}) for n in flagged
    ]
    names = np.array([flag["flag_id"] for flag in flags], dtype=object)
    write_verdicts(first_pass, folder / SCORES_FILE, schema, rows=rows, flags=names, severity=severity)
    counting, suppressed = write_judged_flags(flags, folder, "images", config, precedents)
    calibration = detector.calibration
    return BatchScores(
        scored=scored,
        not_scorable={},
        quarantined=dict(aside),
        flags=counting,
        exchangeability=check_exchangeability(bulk, calibration.normal, {}),
        false_flags_range=calibration.count_interval(scored),
        beyond_chance=calibration.beyond_chance(scored, len(flags), len(flags)),
        suppressed=suppressed,
        drift=meter.result(),
    )


def _in_original(
    detector: Detector, found: ArrayMaps, inputs: ImageInputs, image: StagedImage
) -> NDArray[np.float32]:
    """The error map of an image, one value for each of its own pixels."""
    assert isinstance(detector.config.prepare, ImagePrepare)
    mine = inputs.item == image.index
    if detector.config.prepare.fit == "tile":
        size = {"height_px": image.height_px, "width_px": image.width_px}
        return stitch(found.error_map[mine], inputs.origin[mine], **size)
    small = Image.fromarray(found.error_map[mine][0])
    return np.asarray(small.resize((image.width_px, image.height_px), Image.Resampling.BILINEAR))


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An image that could be flagged: its row in the scores and in the staged table."""

    row: int
    staged: int
    p_value: float


def worst_array(score: NDArray[np.float32], item: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each image, in order, the index of its array with the highest score, `(M,)`."""
    order = np.lexsort((-score, item))
    _, first = np.unique(item[order], return_index=True)
    return order[first]


def _table(chunk: ImageScores, config: PipelineConfig, schema: pa.Schema) -> pa.Table:
    count = len(chunk.items)
    columns = {
        "item": pa.array([i.item for i in chunk.items], pa.string()),
        "sha256": pa.array([i.sha256 for i in chunk.items], pa.string()),
        "width_px": pa.array([i.width_px for i in chunk.items], pa.int32()),
        "height_px": pa.array([i.height_px for i in chunk.items], pa.int32()),
        "state": pa.array([schemas.SCORED] * count, pa.string()),
        "reason": pa.nulls(count, pa.string()),
        "score": pa.array(chunk.score),
        "p_value": pa.array(chunk.p_value),
        "severity": pa.nulls(count, pa.float32()),
        "flag": pa.nulls(count, pa.bool_()),
        "flag_id": pa.nulls(count, pa.string()),
        "channel": pa.array(top_channel(chunk.contributions, config.channels), pa.string()),
        "contributions": lists_where(np.ones(count, dtype=bool), chunk.contributions),
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _evidence(
    detector: Detector,
    config: PipelineConfig,
    intake: Intake,
    staged: list[int],
    pictured: set[int],
    *,
    device: torch.device,
) -> dict[int, dict[str, Any]]:
    """Boxes of the worst regions of each flagged image, and pictures of some, by staged row."""
    source = config.model_copy(update={"prepare": detector.config.prepare}).at(config.folder)
    found: dict[int, dict[str, Any]] = {}
    if not staged:
        return found
    for inputs in iter_images(source, intake, only=staged):
        for image in inputs.items:
            mine = inputs.item == image.index
            found[image.index] = _evidence_of(
                detector, inputs, mine, image, config.compute.chunk_items, image.index in pictured, device
            )
    return found


def _evidence_of(
    detector: Detector,
    inputs: ImageInputs,
    mine: NDArray[np.bool_],
    image: StagedImage,
    chunk_items: int,
    with_pictures: bool,
    device: torch.device,
) -> dict[str, Any]:
    prepare = detector.config.prepare
    assert isinstance(prepare, ImagePrepare)
    arrays, origin = inputs.pixels[mine], inputs.origin[mine]
    scored, scores = detector.map_errors(arrays, device=device, chunk_items=chunk_items)
    if prepare.fit == "tile":
        size = {"height_px": image.height_px, "width_px": image.width_px}
        shown, expected = (stitch(a, origin, **size) for a in (as_unit(arrays), scores.reconstruction))
        error_map = stitch(scores.error_map, origin, **size)
        whole = np.array([[0, 0, image.width_px, image.height_px]])
    else:
        shown, expected, error_map, whole = (
            as_unit(arrays[0]),
            scores.reconstruction[0],
            scores.error_map[0],
            origin[:1],
        )
    boxes, shares = worst_boxes(error_map, max_boxes=_MAX_BOXES)
    height, width = error_map.shape
    in_original = to_original(boxes, np.repeat(whole, len(boxes), axis=0), height_px=height, width_px=width)
    evidence: dict[str, Any] = {
        "boxes": [
            {"x_px": x, "y_px": y, "width_px": w, "height_px": h, "share": float(share)}
            for (x, y, w, h), share in zip(in_original.tolist(), shares, strict=True)
        ]
    }
    if detector.code_space is not None:
        # Of an image in tiles that of the tile which decides its score.
        worst = arrays[[int(np.argmax(scored.score))]]
        codes = encode_arrays(
            detector.image_normal, detector.network, worst, device=device, chunk_items=chunk_items
        )
        evidence["signature"] = detector.code_space.signatures(codes)[0]
        if detector.exemplars is not None and with_pictures:
            evidence["neighbours"] = detector.exemplars.nearest(evidence["signature"], NEIGHBOURS)
    if with_pictures:
        evidence |= {
            "image_png": image_png(shown),
            "reconstruction_png": image_png(expected),
            "heatmap_png": heatmap_png(error_map),
        }
    return evidence


def _flag(
    config: PipelineConfig,
    batch: str,
    row: dict[str, Any],
    severity: Callable[[NDArray[np.float64]], NDArray[np.float32]],
) -> dict[str, Any]:
    return {
        "flag_id": flag_id(config.name, batch, "", row["item"]),
        "pipeline": config.name,
        "batch": batch,
        "entity": "",
        "item": row["item"],
        "sha256": row["sha256"],
        "score": row["score"],
        "p_value": row["p_value"],
        "severity": float(severity(np.array([row["p_value"]]))[0]),
        "channels": channel_shares(config.channels, np.array(row["contributions"], dtype=np.float32)),
    }
