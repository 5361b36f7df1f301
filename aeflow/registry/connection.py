"""How the registry is reached, and what a pipeline's things are called in it."""

from __future__ import annotations

import logging
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeflow import settings
from aeflow.exceptions import DetectorError, StorageError
from aeflow.store.claims import exclusive
from aeflow.store.files import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient

    from aeflow.store.paths import Paths

DIGEST_TAG = "aeflow.digest"
CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS = "previous"
TRAIN = "Train one: aeflow train CONFIG."


@dataclass(frozen=True)
class DetectorRef:
    """One registered detector, exactly: what a run records instead of an alias."""

    version: int
    digest: str
    """SHA-256 of the detector folder's manifest."""


def model_name(paths: Paths) -> str:
    """The registered model of the pipeline."""
    return f"aeflow-{paths.pipeline}"


def experiment_name(paths: Paths) -> str:
    """The experiment that holds the pipeline's training runs."""
    return f"aeflow/{paths.pipeline}"


def embedded_file(paths: Paths) -> Path | None:
    """The SQLite file of the registry; None where it is a server or another database."""
    settings.prepare_environment(paths.home)
    uri = settings.registry_uri() or ""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def has_server(paths: Paths) -> bool:
    """Whether an MLflow server keeps the registry, and not a database that this process uses itself."""
    settings.prepare_environment(paths.home)
    return (settings.registry_uri() or "").startswith("http")


@contextmanager
def connected(paths: Paths) -> Iterator[MlflowClient]:
    """A client whose database exists.

    Raises:
        StorageError: the registry cannot be reached or written, in the block too.
    """
    file = embedded_file(paths)
    from mlflow import MlflowClient  # noqa: PLC0415
    from mlflow.exceptions import MlflowException  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    for name in ("mlflow", "alembic"):  # importing MLflow sets its own level
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with storage_errors(file or paths.home, "use the model registry"):
            if file is not None and not file.exists():
                _make_database(file)
            yield MlflowClient()
    except (MlflowException, SQLAlchemyError) as error:
        msg = f"the model registry cannot be read or written: {error}"
        where = str(file) if file else "MLFLOW_TRACKING_URI"
        remedy = "Look whether it is reachable and its disk has room; then run again."
        raise StorageError(msg, where=where, remedy=remedy) from error


def _make_database(file: Path) -> None:
    """The embedded registry's empty database. MLflow needs seconds and many steps for it, fails where
    two processes do it at once, and never mends what a killed one left: so it is made aside, by one
    process at a time, and renamed when it is whole."""
    from mlflow import MlflowClient  # noqa: PLC0415

    with exclusive(file.with_name(f"{file.name}.lock")):
        if file.exists():  # another process was faster
            return
        for left in file.parent.glob(f".{file.name}.*.part*"):
            left.unlink()
        unfinished = file.with_name(f".{file.name}.{uuid.uuid4().hex}.part")
        MlflowClient(tracking_uri=f"sqlite:///{unfinished}").search_experiments(max_results=1)
        unfinished.replace(file)


def is_missing(error: Exception) -> bool:
    """Whether MLflow says that there is no such thing, rather than that something is broken. It calls
    an alias that nothing bears an invalid value."""
    code = getattr(error, "error_code", "")
    return code == "RESOURCE_DOES_NOT_EXIST" or (
        code == "INVALID_PARAMETER_VALUE" and "alias" in str(error) and "not found" in str(error)
    )


def reference(model: str, version: Any, digest: str | None) -> DetectorRef:
    """The reference to a version whose tag holds `digest`.

    Raises:
        DetectorError: there is no tag, so aeflow did not register the version.
    """
    if not digest:
        msg = f"version {version} has no tag {DIGEST_TAG}: it was not registered by aeflow"
        raise DetectorError(msg, where=model, remedy=TRAIN)
    return DetectorRef(version=int(version), digest=digest)
