"""The detector: fit, score, judge, save, load."""

from aeflow.detector.detector import Detector, FittedOn
from aeflow.detector.storage import calibration_digest, digest, load, save

__all__ = ["Detector", "FittedOn", "calibration_digest", "digest", "load", "save"]
