"""The pictures of a training run, as they are logged with the registered detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aeflow.report.figures import image_samples, learning_curves, score_histogram, series_samples

if TYPE_CHECKING:
    from aeflow.detector.fitting import Fitted

_MAX_CHANNELS = 8


def training_figures(fitted: Fitted) -> dict[str, bytes]:
    """Name -> PNG: learning curves (where there are epochs), scores with the cut, reconstructions."""
    detector, history = fitted.detector, fitted.training.history
    figures = {
        "scores": score_histogram(
            fitted.calibration_scores, fitted.test_scores, cut=detector.calibration.threshold
        )
    }
    if history:
        figures["learning_curves"] = learning_curves(
            [r.epoch for r in history], [r.train_loss for r in history], [r.validation_loss for r in history]
        )
    originals, expected = fitted.samples
    if detector.config.kind == "images":
        figures["reconstructions"] = image_samples(originals, expected)
    else:
        some = slice(0, _MAX_CHANNELS)
        figures["reconstructions"] = series_samples(
            originals[..., some], expected[..., some], detector.config.channels[some]
        )
    return figures
