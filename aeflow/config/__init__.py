"""One frozen, typed tree for each pipeline; see `PipelineConfig`."""

from aeflow.config.load import dump_json, find_config, json_schema, load_config
from aeflow.config.models import BASELINE, Conv2d, Kind, Lstm, Model, Pca
from aeflow.config.pipeline import PipelineConfig
from aeflow.config.source import (
    BatchRule,
    History,
    ImageSource,
    Manifest,
    Source,
    Split,
    SqlSource,
    TableSource,
)
from aeflow.config.stages import (
    Calibration,
    Checks,
    Compute,
    ImagePrepare,
    Prepare,
    Report,
    SeriesPrepare,
    Training,
)

__all__ = [
    "BASELINE",
    "BatchRule",
    "Calibration",
    "Checks",
    "Compute",
    "Conv2d",
    "History",
    "ImagePrepare",
    "ImageSource",
    "Kind",
    "Lstm",
    "Manifest",
    "Model",
    "Pca",
    "PipelineConfig",
    "Prepare",
    "Report",
    "SeriesPrepare",
    "Source",
    "Split",
    "SqlSource",
    "TableSource",
    "Training",
    "dump_json",
    "find_config",
    "json_schema",
    "load_config",
]
