"""Register a trained detector: one run with its figures, one version with its files."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from aeflow.exceptions import InputError
from aeflow.registry.connection import (
    DIGEST_TAG,
    DetectorRef,
    connected,
    experiment_name,
    has_server,
    is_missing,
    model_name,
)
from aeflow.registry.download import DETECTOR, place, staging
from aeflow.store.claims import exclusive
from aeflow.store.digests import sha256_folder
from aeflow.store.files import storage_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlflow import MlflowClient

    from aeflow.config import Kind
    from aeflow.store.paths import Paths

BASELINE = "baseline"
"""The folder of the baseline among the files of a version."""

# What MLflow takes in one call, and in one column.
_ENTRIES_PER_CALL = 100
_METRICS_PER_CALL = 1000
_DESCRIPTION_CHARACTERS = 5000
_DATASET_DIGEST_CHARACTERS = 36

_AXES = {"images": "(N, C, H, W)", "series": "(N, T, C)"}


@dataclass(frozen=True)
class TrainingData:
    """What a detector was fitted on."""

    name: str
    digest: str
    rows: int
    """Rows, or images."""
    source: str
    """Where it came from: a path, a glob, or a query's file."""


def register(
    paths: Paths,
    detector_folder: Path,
    *,
    python_model: Path,
    kind: Kind,
    input_example: np.ndarray[Any, Any],
    data: TrainingData,
    model_card: str,
    baseline_folder: Path | None = None,
    params: Mapping[str, object] | None = None,
    metrics: Mapping[str, float | Sequence[float]] | None = None,
    figures: Mapping[str, bytes] | None = None,
    pages: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> DetectorRef:
    """Register the detector saved in `detector_folder`, and the baseline that it has to beat, as the
    next version; returns which one. No alias is moved. The local copy that `fetch` uses is laid down.

    `python_model` is the file of the MLflow model class (models from code); `input_example` is
    float32, `(N, C, H, W)` for images or `(N, T, C)` for series, N >= 1; `model_card` is Markdown;
    `figures` maps a name to the bytes of a PNG, `pages` a file's name to its text. A metric that is a sequence is logged step by step.

    Raises:
        InputError: the example has not the shape of its kind, or a folder is missing.
        StorageError: the registry cannot be reached or written.
    """
    _check(kind, input_example, [detector_folder, *([baseline_folder] if baseline_folder else [])])
    with staging(paths) as stage:
        with storage_errors(stage, "copy the detector"):
            # The copies bear the names that the files keep in the registry, and change no more.
            parts = {DETECTOR: shutil.copytree(detector_folder, stage / DETECTOR)}
            if baseline_folder is not None:
                parts[BASELINE] = shutil.copytree(baseline_folder, stage / BASELINE)
            digest = sha256_folder(parts[DETECTOR])
            described = _write_description(
                stage / "run", figures or {}, {**(pages or {}), "model_card.md": model_card}
            )
        all_tags = {**(tags or {}), "aeflow.pipeline": paths.pipeline, DIGEST_TAG: digest}
        with connected(paths) as client:
            import mlflow  # noqa: PLC0415

            with mlflow.start_run(experiment_id=_experiment(client, paths), tags=all_tags) as run:
                run_id: str = run.info.run_id
                _log_params(client, run_id, params or {})
                _log_metrics(client, run_id, metrics or {})
                _log_data(client, run_id, data)
                client.log_artifacts(run_id, str(described))
                model = mlflow.pyfunc.log_model(
                    name=model_name(paths),
                    python_model=str(python_model),
                    artifacts={name: str(folder) for name, folder in parts.items()},
                    signature=_signature(input_example.shape[1:]),
                    input_example=input_example,
                    pip_requirements=_requirements(),
                )
                _ensure_model(client, paths)
                # With its tags in one step: a version never exists without its digest.
                created = client.create_model_version(
                    model_name(paths),
                    source=model.model_uri,
                    run_id=run_id,
                    model_id=model.model_id,
                    tags=all_tags,
                    description=model_card[:_DESCRIPTION_CHARACTERS],
                )
        ref = DetectorRef(version=int(created.version), digest=digest)
        target = paths.detector(ref.version)
        with exclusive(target.parent / ".lock"):
            place(parts[DETECTOR], target, digest)
    return ref


def _check(kind: Kind, example: np.ndarray[Any, Any], folders: list[Path]) -> None:
    axes = _AXES[kind]
    if example.dtype != np.float32 or example.ndim != axes.count(",") + 1 or not len(example):
        msg = f"expected a float32 example {axes} of {kind} with N >= 1, got {example.dtype} {example.shape}"
        raise InputError(msg, where="input_example")
    for folder in folders:
        if not folder.is_dir():
            msg = "expected the folder of a saved detector, and there is none"
            raise InputError(msg, where=str(folder))


def _write_description(folder: Path, figures: Mapping[str, bytes], pages: Mapping[str, str]) -> Path:
    (folder / "figures").mkdir(parents=True)
    for name, png in figures.items():
        (folder / "figures" / f"{name}.png").write_bytes(png)
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def _experiment(client: MlflowClient, paths: Paths) -> str:
    """The id of the pipeline's experiment, made on first use. The files of a registry that is used without
    a server, embedded or another database, lie in the home folder; a server decides for itself."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    found = client.get_experiment_by_name(experiment_name(paths))
    if found is not None:
        return str(found.experiment_id)
    place_of_files = None if has_server(paths) else paths.artifacts.resolve().as_uri()
    try:
        return str(client.create_experiment(experiment_name(paths), artifact_location=place_of_files))
    except MlflowException:
        found = client.get_experiment_by_name(experiment_name(paths))
        if found is None:
            raise
        return str(found.experiment_id)  # another process was faster


def _ensure_model(client: MlflowClient, paths: Paths) -> None:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        client.get_registered_model(model_name(paths))
    except MlflowException as error:
        if not is_missing(error):
            raise
        try:
            client.create_registered_model(model_name(paths), tags={"aeflow.pipeline": paths.pipeline})
        except MlflowException as second:
            if second.error_code != "RESOURCE_ALREADY_EXISTS":  # unless another process was faster
                raise


def _log_params(client: MlflowClient, run_id: str, params: Mapping[str, object]) -> None:
    from mlflow.entities import Param  # noqa: PLC0415

    entries = [Param(key, str(value)) for key, value in params.items()]
    for start in range(0, len(entries), _ENTRIES_PER_CALL):
        client.log_batch(run_id, params=entries[start : start + _ENTRIES_PER_CALL])


def _log_metrics(client: MlflowClient, run_id: str, metrics: Mapping[str, float | Sequence[float]]) -> None:
    """One call for a thousand values: one call each would take some milliseconds each."""
    from mlflow.entities import Metric  # noqa: PLC0415

    # MLflow wants a time with each value; the step tells all there is to tell.
    entries = [
        Metric(key, float(value), 0, step)
        for key, given in metrics.items()
        for step, value in enumerate([given] if isinstance(given, (int, float)) else given)
    ]
    for start in range(0, len(entries), _METRICS_PER_CALL):
        client.log_batch(run_id, metrics=entries[start : start + _METRICS_PER_CALL])


def _log_data(client: MlflowClient, run_id: str, data: TrainingData) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag  # noqa: PLC0415

    dataset = Dataset(
        name=data.name,
        digest=data.digest[:_DATASET_DIGEST_CHARACTERS],
        source_type="local",
        source=json.dumps({"uri": data.source}),
        profile=json.dumps({"rows": data.rows, "sha256": data.digest}),
    )
    context = InputTag("mlflow.data.context", "training")
    client.log_inputs(run_id, datasets=[DatasetInput(dataset, [context])])


def _signature(item_shape: tuple[int, ...]) -> Any:
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import Schema, TensorSpec  # noqa: PLC0415

    return ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *item_shape))]))


def _requirements() -> list[str]:
    """What a server needs to load the model, pinned to what is installed; given, since MLflow would
    take seconds to find it out. aeflow itself is left out where it runs from its sources. A build's
    local part (`+cpu`) is no version of an index."""
    pinned = []
    for name in ("aeflow", "mlflow", "numpy", "safetensors", "torch"):
        with contextlib.suppress(PackageNotFoundError):
            pinned.append(f"{name}=={version(name).split('+')[0]}")
    return pinned
