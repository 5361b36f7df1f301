"""Fit an image detector to a staged history; the parts serve as in `series_fitting`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from aeflow.config import ImagePrepare
from aeflow.data.image_intake import items_path
from aeflow.data.images import iter_images
from aeflow.data.intake import in_words
from aeflow.data.splits import CALIBRATION, TEST, TRAIN, VALIDATION, split_groups
from aeflow.detector.fusing import fit_fusing_of_one
from aeflow.detector.image_scores import ImageArrays, ImageNormal, as_unit, map_reconstructed, score_images
from aeflow.exceptions import DetectorError
from aeflow.models.catalog import build
from aeflow.models.contrast import contrast_of
from aeflow.models.fused import fused_networks, fusion_rule
from aeflow.numerics.calibration import Calibration, fit_calibration
from aeflow.numerics.reconstruction_error import fit_pixel_spread
from aeflow.training.items import ImageItems
from aeflow.training.loop import TrainingResult, fit_network

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from aeflow.config import Model, PipelineConfig
    from aeflow.data.intake import Intake
    from aeflow.models.autoencoder import Autoencoder
    from aeflow.models.contrast import LocalContrast
    from aeflow.training.items import TrainingItems
    from aeflow.training.loop import Progress

# A band that is reconstructed perfectly would make every later speck infinitely abnormal.
_SMALLEST_SPREAD = np.float32(1 / 255)
_SAMPLES = 8


@dataclass(frozen=True)
class ImageHistory:
    """The arrays of a history, `pixels` `(N, C, H, W)` as prepared, and for each the number of its
    image `item` `(N,)` and its `part` `(N,)` (codes of `aeflow.data.splits`)."""

    pixels: ImageArrays
    item: NDArray[np.int64]
    part: NDArray[np.int8]
    sha256: tuple[str, ...]
    groups: tuple[str | None, ...]
    names: tuple[str, ...]
    """The path of each image below the source's root."""
    folder: NDArray[np.str_]
    """The first folder of each image's path."""
    damaged: Counter[str]
    """Reason code -> images that turned out damaged while they were decoded."""

    def of(self, part: int) -> ImageArrays:
        """The arrays of one part."""
        chosen: ImageArrays = self.pixels[self.part == part]
        return chosen


@dataclass(frozen=True)
class ImageFit:
    """What fitting yields: the parts of a `Detector`, and the held-out scores it is judged by."""

    normal: ImageNormal
    network: Autoencoder
    calibration: Calibration
    training: TrainingResult
    calibration_scores: NDArray[np.float32]
    test_scores: NDArray[np.float32]
    samples: tuple[NDArray[np.float32], NDArray[np.float32]]


def prepare_history(config: PipelineConfig, intake: Intake) -> ImageHistory:
    """The staged history as arrays in memory (1 byte a value, 4 where there are 16 bits), whole groups to one part.

    Files that turn out damaged are left out and counted.

    Raises:
        DetectorError: there are no images.
    """
    staged = pq.read_table(items_path(intake), columns=["item", "sha256", "group"])
    chunks = list(iter_images(config, intake))
    damaged: Counter[str] = Counter(one.reason for chunk in chunks for one in chunk.set_aside)
    if not any(len(chunk.item) for chunk in chunks):
        raise DetectorError(
            f"the history holds no valid image to learn from; set aside: {in_words(damaged + Counter(intake.quarantined))}",
            where=f"pipeline {config.name}",
            remedy="Mend the source, or widen `history` in the config.",
        )
    sha256 = tuple(staged["sha256"].to_pylist())
    groups = tuple(staged["group"].to_pylist())
    part_of_item = split_groups(groups, sha256, config.split, config.seed)
    index = np.concatenate([chunk.item for chunk in chunks])
    pixels = np.concatenate([chunk.pixels for chunk in chunks])
    names = tuple(staged["item"].to_pylist())
    folder = np.array([name.partition("/")[0] for name in names])
    return ImageHistory(pixels, index, part_of_item[index], sha256, groups, names, folder, damaged)


def fit_images(
    config: PipelineConfig,
    model: Model,
    history: ImageHistory,
    *,
    items_per_batch: float,
    device: torch.device,
    fingerprint: str = "",
    checkpoint: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> ImageFit:
    """Fit `model` (the config's own, or the baseline) to `history`.

    Raises:
        DetectorError: a part of the history holds no image.
    """
    assert isinstance(config.prepare, ImagePrepare)
    _check_parts(config, history)
    network = build(model, config.item_shape, seed=config.seed)
    contrast = contrast_of(config.prepare)
    result = fit_network(
        network,
        shown_items(history.of(TRAIN), contrast),
        shown_items(history.of(VALIDATION), contrast),
        training=config.training,
        seed=config.seed,
        device=device,
        checkpoint=checkpoint,
        fingerprint=fingerprint,
        progress=progress,
    )
    network.eval()
    chunk = config.compute.chunk_items
    normal = _fit_normal(network, history.of(VALIDATION), contrast, config, device)

    def scores(part: int) -> NDArray[np.float32]:
        found = score_images(
            normal, network, history.of(part), config.error, device=device, chunk_items=chunk
        )
        return best_of_items(found.score, history.item[history.part == part])

    calibration_scores = scores(CALIBRATION)
    calibration = fit_calibration_of_images(config, calibration_scores, history, items_per_batch)
    some = history.of(VALIDATION)[:_SAMPLES]
    shown = map_reconstructed(
        lambda one: one.expected, normal, network, some, config.error, device=device, chunk_items=chunk
    )
    samples = as_unit(some), np.concatenate(shown)
    return ImageFit(normal, network, calibration, result, calibration_scores, scores(TEST), samples)


def fit_calibration_of_images(
    config: PipelineConfig, scores: NDArray[np.float32], history: ImageHistory, items_per_batch: float
) -> Calibration:
    """The calibration by the scores `(M,)` of the images that calibrate, in their order."""
    promise = config.calibration
    return fit_calibration(
        scores,
        rule=promise.rule,
        false_flags_per_batch=promise.false_flags_per_batch,
        false_discovery_rate=promise.false_discovery_rate,
        storey=promise.storey,
        items_per_batch=items_per_batch,
        group=_group_codes(history, np.unique(history.item[history.part == CALIBRATION])),
    )


def best_of_items(score: NDArray[np.float32], item: NDArray[np.int64]) -> NDArray[np.float32]:
    """The highest score of the arrays (tiles) of each image, in the order of images."""
    _, number = np.unique(item, return_inverse=True)
    highest = np.full(number.max(initial=-1) + 1, -np.inf, dtype=np.float32)
    np.maximum.at(highest, number, score)
    return highest


def _group_codes(history: ImageHistory, items: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The group of each image `(M,)` as a number, those without one each for itself; None if none has any."""
    names = [history.groups[i] for i in items.tolist()]
    if not any(name is not None for name in names):
        return None
    known = {name: code for code, name in enumerate(sorted({n for n in names if n is not None}))}
    alone = len(known) + np.arange(len(names))
    return np.array(
        [alone[at] if name is None else known[name] for at, name in enumerate(names)], dtype=np.int64
    )


def shown_items(pixels: ImageArrays, contrast: LocalContrast | None) -> TrainingItems:
    """Arrays as a network that sees them so is trained on them."""
    items = ImageItems(pixels)
    return items if contrast is None else items.seen_as(lambda x, observed: (contrast.look(x).seen, observed))


def _fit_normal(
    network: Autoencoder,
    pixels: ImageArrays,
    contrast: LocalContrast | None,
    config: PipelineConfig,
    device: torch.device,
) -> ImageNormal:
    """What is usual of the errors on the held-out `pixels`, of the network or of each that is fused."""
    networks, rule = fused_networks(network), fusion_rule(network)
    plain = ImageNormal(
        np.ones((1, pixels.shape[1]), dtype=np.float32), contrast, smooth_px=config.scoring.smooth_px
    )
    of_each = [
        replace(plain, spread=_spread(plain, one, pixels, config, device)[np.newaxis]) for one in networks
    ]
    normal = replace(plain, spread=np.concatenate([one.spread for one in of_each]))
    if rule is None:
        return normal
    chunk = config.compute.chunk_items
    scores = [
        score_images(usual, one, pixels, config.error, device=device, chunk_items=chunk).score
        for usual, one in zip(of_each, networks, strict=True)
    ]
    return replace(normal, fusing=fit_fusing_of_one(rule, scores))


def _spread(
    normal: ImageNormal,
    network: Autoencoder,
    pixels: ImageArrays,
    config: PipelineConfig,
    device: torch.device,
) -> NDArray[np.float32]:
    """Square root of the mean error of each band `(C,)`, or of each pixel `(C, H, W)` as it is configured, in
    portions of fixed memory."""
    of_pixels = config.scoring.spread == "pixel"
    totals = map_reconstructed(
        lambda one: one.error.sum(axis=0 if of_pixels else (0, 2, 3), dtype=np.float64),
        normal,
        network,
        pixels,
        config.error,
        device=device,
        chunk_items=config.compute.chunk_items,
    )
    total = np.sum(totals, axis=0)
    if of_pixels:
        return fit_pixel_spread(total, len(pixels), least=float(_SMALLEST_SPREAD))
    spread = np.sqrt(total / (pixels.size / pixels.shape[1]))
    floored: NDArray[np.float32] = np.maximum(spread, _SMALLEST_SPREAD).astype(np.float32)
    return floored


def _check_parts(config: PipelineConfig, history: ImageHistory) -> None:
    for name, part in (("train", TRAIN), ("validation", VALIDATION), ("calibration", CALIBRATION)):
        if not (history.part == part).any():
            raise DetectorError(
                f"the {name} part of the history holds no image ({len(history.sha256)} images in all)",
                where=f"pipeline {config.name}",
                remedy="Give more history, or a larger share in `split`.",
            )
