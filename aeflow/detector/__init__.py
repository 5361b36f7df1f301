"""The detector: fit, score, judge, save, load."""

from pathlib import Path

from aeflow.detector.detector import Detector, FittedOn
from aeflow.detector.storage import BASELINE_FOLDER, calibration_digest, load, save

PYFUNC = Path(__file__).with_name("pyfunc.py")
"""The file by which MLflow runs a registered detector."""

__all__ = ["BASELINE_FOLDER", "PYFUNC", "Detector", "FittedOn", "calibration_digest", "load", "save"]
