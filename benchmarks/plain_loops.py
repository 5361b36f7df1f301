"""What a person would write in ten lines: the same network on data that lie in memory.

These loops are the limit of the machine that aeflow is measured against. Nothing is checked, nothing
is stored. Legend: N items, B items of a chunk.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import mse_loss

from aeflow import detector as detectors
from aeflow import registry
from aeflow.config import SeriesPrepare, load_config
from aeflow.data.images import iter_images
from aeflow.data.series import iter_series
from aeflow.data.take_in import take_in
from aeflow.detector.image_scores import as_unit
from aeflow.detector.series_scores import SeriesNormal, Windows, network_input

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from aeflow.config import PipelineConfig
    from aeflow.detector import Detector
    from aeflow.models.autoencoder import Autoencoder
    from aeflow.store.paths import Paths


def load_detector(paths: Paths) -> Detector:
    """The champion of a pipeline."""
    ref = registry.resolve(paths)
    assert ref is not None
    return detectors.load(registry.fetch(paths, ref.version, digest=ref.digest))


def items_in_memory(
    config: Path, batch: str, detector: Detector, folder: Path, *, count: int
) -> tuple[Tensor, Tensor | None]:
    """The first `count` items of a batch as the network sees them, `(N, *item_shape)`, and their mask."""
    pipeline = load_config(config)
    intake = take_in(pipeline, batch, folder, context=detector.context)
    if pipeline.kind == "images":
        chunks = islice(iter_images(pipeline, intake), -(-count // pipeline.compute.chunk_items))
        return torch.cat([torch.from_numpy(as_unit(chunk.pixels)) for chunk in chunks])[:count], None
    assert isinstance(pipeline.prepare, SeriesPrepare)
    assert isinstance(detector.normal, SeriesNormal)
    inputs = next(iter(iter_series(intake.rows_path, pipeline.prepare, detector.normal.cadences)))
    codes = detector.normal.codes(inputs.entities)[inputs.grid_entity]
    scaled = network_input(detector.network, detector.normal.scale.apply(inputs.values, codes))
    return Windows.of(scaled, inputs.observed, inputs.ends[:count], inputs.window, torch.device("cpu"))[:]


def score_plainly(network: Autoencoder, x: Tensor, observed: Tensor | None, *, chunk: int) -> None:
    """Reconstruct all items and take the squared error of each."""
    with torch.inference_mode():
        for begin in range(0, len(x), chunk):
            part = x[begin : begin + chunk]
            mask = None if observed is None else observed[begin : begin + chunk]
            (network(part, mask).items - part).square().flatten(1).mean(dim=1)


def train_plainly(network: Autoencoder, x: Tensor, config: PipelineConfig, *, items: int) -> float:
    """Items a second of an epoch of `items` items, drawn at random."""
    training = config.training
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    network.train()
    begun = time.perf_counter()
    numbers = torch.cat([torch.randperm(len(x)) for _ in range(-(-items // len(x)))])[:items]
    for begin in range(0, items, training.batch_size):
        part = x[numbers[begin : begin + training.batch_size]]
        optimizer.zero_grad()
        loss = mse_loss(network(part).items, part)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return items / (time.perf_counter() - begun)
