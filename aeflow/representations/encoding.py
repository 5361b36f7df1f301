"""Items to codes: the encoder by itself, over a staged batch, in fixed memory.

Legend: N arrays or windows, M images, R rows, D numbers of a code, T points, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aeflow.config import SeriesPrepare
from aeflow.data.images import iter_images
from aeflow.data.series import iter_series
from aeflow.detector.codes import encode_arrays, encode_windows
from aeflow.detector.series_scores import SeriesNormal
from aeflow.models.autoencoder import Trained
from aeflow.models.bottleneck import VariationalBottleneck

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import NDArray

    from aeflow.config import PipelineConfig
    from aeflow.data.images import ImageInputs
    from aeflow.data.intake import Intake
    from aeflow.data.series import SeriesInputs
    from aeflow.detector import Detector
    from aeflow.models.autoencoder import Autoencoder


@dataclass(frozen=True)
class ImageCodes:
    """The images of one chunk and their codes `(M, D)` float32."""

    inputs: ImageInputs
    code: NDArray[np.float32]


@dataclass(frozen=True)
class RowCodes:
    """The rows of one chunk; code `(R, D)` float32, that of the window which ends at the row; NaN where
    there is no whole window."""

    inputs: SeriesInputs
    code: NDArray[np.float32]


def encode_images(
    detector: Detector, config: PipelineConfig, intake: Intake, *, device: torch.device
) -> Iterator[ImageCodes]:
    """Every image of the batch with its code, in the order of the staged table; the code of an image in
    tiles is the mean of its tiles' codes."""
    source = config.model_copy(update={"prepare": detector.config.prepare}).at(config.folder)
    for inputs in iter_images(source, intake):
        codes = encode_arrays(
            detector.image_normal,
            detector.network,
            inputs.pixels,
            device=device,
            chunk_items=config.compute.chunk_items,
        )
        yield ImageCodes(inputs, mean_by_image(codes, inputs))


def encode_rows(
    detector: Detector, intake: Intake, *, device: torch.device, chunk_items: int
) -> Iterator[RowCodes]:
    """Every row of the batch with the code of the window that ends there, in the order of the rows."""
    prepare, normal = detector.config.prepare, detector.normal
    assert isinstance(prepare, SeriesPrepare)
    assert isinstance(normal, SeriesNormal)
    for inputs in iter_series(intake.rows_path, prepare, normal.cadences):
        codes = encode_windows(normal, detector.network, inputs, device=device, chunk_items=chunk_items)
        nothing = np.full((1, detector.network.code_size), np.nan, dtype=np.float32)
        # -1, the last, stands for rows without a window.
        yield RowCodes(inputs, np.concatenate([codes, nothing])[inputs.row_window])


def is_variational(network: Autoencoder) -> bool:
    """Whether its codes are distributions, held to the standard normal one."""
    return isinstance(network, Trained) and isinstance(network.bottleneck, VariationalBottleneck)


def mean_by_image(values: NDArray[np.float32], inputs: ImageInputs) -> NDArray[np.float32]:
    """`(M, ...)`: the mean of the values `(N, ...)` of each image's arrays, images in order."""
    if not len(values):
        return values
    first = np.flatnonzero(np.diff(inputs.item, prepend=-1))
    count = np.diff(first, append=len(values))
    total = np.add.reduceat(values.astype(np.float64), first, axis=0)
    return (total / count.reshape(-1, *[1] * (values.ndim - 1))).astype(np.float32)
