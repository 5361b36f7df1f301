"""The registered form of a detector for MLflow: models-from-code, no pickle.

`mlflow models serve` and `mlflow.pyfunc.load_model` run this file. Scores are those of `aeflow score`
for the same arrays, with the scaling of entities that the detector has not seen; evidence, events and
the promise need the pipeline.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import torch
from mlflow.pyfunc import PythonModel

from aeflow.data.series import SeriesInputs
from aeflow.detector.storage import load
from aeflow.models.autoencoder import check_items

if TYPE_CHECKING:
    from aeflow.detector.detector import Detector


class DetectorModel(PythonModel):  # type: ignore[misc]
    """Scores arrays: images `(N, C, H, W)` in 0..1, or windows `(N, T, C)` in the channels' units with
    NaN where missing."""

    def load_context(self, context: Any) -> None:
        """Load the detector that was registered."""
        self._detector = load(Path(context.artifacts["detector"]))

    def predict(
        self,
        context: Any,  # noqa: ARG002
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> np.ndarray:
        """The scores `(N,)` float32, higher is more abnormal; of windows, that of their last point."""
        detector: Detector = self._detector
        device, chunk = torch.device("cpu"), detector.config.compute.chunk_items
        items = np.asarray(model_input, dtype=np.float32)
        images = detector.config.kind == "images"
        # Of windows NaN is what is missing; of images nothing is.
        known = items if images else np.where(np.isnan(items), np.float32(0), items)
        check_items(torch.from_numpy(known), detector.network.item_shape)
        if images:
            return detector.score_images(items, device=device, chunk_items=chunk).score
        return detector.score_series(_as_inputs(items), device=device, chunk_items=chunk).score


def _as_inputs(windows: np.ndarray) -> SeriesInputs:
    """Windows `(N, T, C)` laid end to end, each scored by its own last point."""
    count, window, channels = windows.shape
    flat = windows.reshape(count * window, channels)
    return SeriesInputs.without_rows(
        entities=("",),
        window=window,
        values=flat,
        observed=~np.isnan(flat),
        grid_entity=np.zeros(len(flat), dtype=np.int32),
        # So far apart that none looks back on another.
        grid_slot=np.arange(len(flat)) + np.repeat(np.arange(count) * 2**32, window),
        ends=np.arange(1, count + 1) * window - 1,
    )


mlflow.models.set_model(DetectorModel())
