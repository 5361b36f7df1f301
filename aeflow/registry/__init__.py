"""Registered detectors, kept by MLflow: the only package that imports it.

A detector is one version of the model `aeflow-<pipeline>`; the run that made it lies in the
experiment `aeflow/<pipeline>`. The version's files hold the whole detector folder as it was
(safetensors and JSON, no pickle), and its tag `aeflow.digest` the SHA-256 of that folder's manifest.

MLflow takes some seconds to import and to open its database, so nothing here imports it before it
must: an alias of the embedded registry is read from its SQLite file, and a detector that lies in the
home folder is used from there.
"""

from aeflow.registry.aliases import VersionInfo, find, resolve, set_alias, versions
from aeflow.registry.connection import CHALLENGER, CHAMPION, PREVIOUS, DetectorRef
from aeflow.registry.download import fetch
from aeflow.registry.registration import TrainingData, register

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "PREVIOUS",
    "DetectorRef",
    "TrainingData",
    "VersionInfo",
    "fetch",
    "find",
    "register",
    "resolve",
    "set_alias",
    "versions",
]
