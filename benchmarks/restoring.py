"""How close what was spoiled is brought to the clean image: PSNR.

A network is trained with the very corruption, on images of all classes, and restores the spoiled test
set; beside it what needs no training. PSNR is that of pixels in 0..1, the mean over the images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import median_filter
from torch.nn import functional

from aeflow.config import CutOut, Downsampling, GaussianNoise, MaskingNoise
from aeflow.models.corruption import corrupt
from aeflow.numerics.image_quality import psnr
from benchmarks.cells import Cell
from benchmarks.labelled import data_set
from benchmarks.one_class import IMAGE_SETS
from benchmarks.trained import MANY_IMAGES, portions, train
from benchmarks.variants import Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from aeflow.config import Corruption

IMAGES = 10_000
"""That the network learns from."""
_LEAST = 200
_MEDIAN_PX = 3
_FACTOR = 2


def _as_it_came(spoiled: Tensor, mean_image: Tensor) -> Tensor:  # noqa: ARG001 - one signature for all
    return spoiled


def _median(spoiled: Tensor, mean_image: Tensor) -> Tensor:  # noqa: ARG001
    return torch.from_numpy(
        median_filter(spoiled.numpy(), size=(1, 1, _MEDIAN_PX, _MEDIAN_PX), mode="nearest")
    )


def _bicubic(spoiled: Tensor, mean_image: Tensor) -> Tensor:  # noqa: ARG001
    small = spoiled[:, :, ::_FACTOR, ::_FACTOR]
    return functional.interpolate(small, size=spoiled.shape[2:], mode="bicubic", align_corners=False)


def _mean_image(spoiled: Tensor, mean_image: Tensor) -> Tensor:
    return mean_image.expand_as(spoiled)


@dataclass(frozen=True)
class Task:
    """corruption: what is to be undone. plain: what undoes it without training, by name. known: it is
    known which pixels were spoiled, and only they are replaced."""

    corruption: Corruption
    plain: dict[str, Callable[[Tensor, Tensor], Tensor]]
    known: bool = False


_NOISE = {"as it came": _as_it_came, "median filter": _median}
TASKS = {
    "20 % masking noise": Task(MaskingNoise(share=0.2), _NOISE),
    "Gaussian noise of 0.2": Task(GaussianNoise(deviation=0.2), _NOISE),
    "2 x super-resolution": Task(
        Downsampling(factor=_FACTOR), {"nearest (as it came)": _as_it_came, "bicubic": _bicubic}
    ),
    "inpainting": Task(
        CutOut(count=1, side_share=0.3),
        {"mean fill (as it came)": _as_it_came, "mean image": _mean_image},
        known=True,
    ),
}
# A code that is to give the image back sharply needs room: it is four times the default.
RESTORERS = (Variant("conv2d, code of 256", "images", "conv2d", {"code_size": 256}),)


def cells(seed: int, scale: float) -> Iterator[Cell]:
    """Every task on both sets: without training, and by the networks."""
    for data in IMAGE_SETS:
        for name, task in TASKS.items():
            spoiled = task.corruption.model_dump_json()
            for method in task.plain:
                yield Cell("restore", data, name, method, "", seed, scale, spoiled)
            for variant in RESTORERS:
                setting = f"{spoiled} {variant.in_yaml} {IMAGES} {MANY_IMAGES.model_dump_json()}"
                yield Cell("restore", data, name, variant.name, "", seed, scale, setting)


def measure(cell: Cell) -> dict[str, float]:
    """PSNR of a cell of `cells`."""
    data, task = data_set(cell.data), TASKS[cell.task]
    order = np.random.default_rng(cell.own_seed).permutation(len(data.train.x))
    learnt = data.train.x[order[: max(_LEAST, round(IMAGES * cell.scale))]]
    test = data.test.x[:: max(1, round(1 / cell.scale))]
    clean = torch.cat(list(portions(test)))
    draw = torch.Generator().manual_seed(cell.own_seed)
    spoiled, _ = corrupt(clean, None, (task.corruption,), draw)
    cost: dict[str, float] = {}
    if cell.method in task.plain:
        mean_image = torch.from_numpy(learnt.mean(axis=0, dtype=np.float64).astype(np.float32) / 255)
        restored = task.plain[cell.method](spoiled, mean_image)
    else:
        variant = next(v for v in RESTORERS if v.name == cell.method)
        training = MANY_IMAGES.model_copy(update={"corruption": (task.corruption,)})
        trained = train(variant, learnt, training, seed=cell.own_seed)
        with torch.inference_mode():
            restored = torch.cat([trained.network(part).items for part in portions(spoiled.numpy())])
        cost = trained.cost
    if task.known:
        restored = torch.where(spoiled == clean, clean, restored)
    return {"psnr": mean_psnr(restored, clean)} | cost


def mean_psnr(restored: Tensor, clean: Tensor) -> float:
    """The mean over images `(N, C, H, W)` in 0..1 of their peak signal-to-noise ratio, in dB; what was
    restored is brought into 0..1 first."""
    errors = (restored.clamp(0, 1) - clean).double().square().flatten(1).mean(dim=1)
    return float(psnr(errors.numpy()).mean())
