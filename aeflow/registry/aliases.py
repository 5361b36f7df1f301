"""Which versions there are, and which of them bears an alias."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aeflow.exceptions import DetectorError
from aeflow.registry.connection import (
    CHAMPION,
    DIGEST_TAG,
    TRAIN,
    DetectorRef,
    connected,
    embedded_file,
    is_missing,
    model_name,
    reference,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlflow import MlflowClient

    from aeflow.store.paths import Paths

_log = logging.getLogger(__name__)
_BUSY_SECONDS = 60


@dataclass(frozen=True)
class VersionInfo:
    """One registered version. `metrics` are the last values of its training run."""

    version: int
    digest: str
    """SHA-256 of the detector folder's manifest."""
    aliases: tuple[str, ...]
    created: datetime
    metrics: dict[str, float]
    tags: dict[str, str]
    run_id: str


def resolve(paths: Paths, alias: str = CHAMPION) -> DetectorRef | None:
    """The version that bears the alias at this moment; None where none does.

    Raises:
        StorageError: the registry cannot be reached.
        DetectorError: the version was not registered by aeflow.
    """
    file = embedded_file(paths)
    if file is not None and not file.exists():
        return None
    if file is not None:
        try:
            return _read_alias(file, model_name(paths), alias)
        except sqlite3.Error as error:
            _log.debug("MLflow is asked for the alias, its tables being others than expected: %s", error)
    return _ask_alias(paths, alias)


def set_alias(paths: Paths, alias: str, version: int) -> None:
    """The alias points to the version from now on.

    Raises:
        DetectorError: there is no such version.
        StorageError: the registry cannot be reached or written.
    """
    with connected(paths) as client:
        find_version(client, paths, version)
        client.set_registered_model_alias(model_name(paths), alias, str(version))


def versions(paths: Paths) -> list[VersionInfo]:
    """Every registered version of the pipeline, oldest first; none where nothing was trained.

    Raises:
        StorageError: the registry cannot be reached.
        DetectorError: a version was not registered by aeflow.
    """
    file = embedded_file(paths)
    if file is not None and not file.exists():
        return []
    with connected(paths) as client:
        found, token = [], None
        while True:
            page = client.search_model_versions(f"name = '{model_name(paths)}'", page_token=token)
            found += page
            token = page.token
            if not token:
                break
        # A version that was searched for does not tell its aliases; its model does.
        aliases = client.get_registered_model(model_name(paths)).aliases if found else {}
        infos = [_info(client, v, aliases) for v in found]
    return sorted(infos, key=lambda i: i.version)


def find(paths: Paths, version: int) -> DetectorRef:
    """The reference to a registered version.

    Raises:
        DetectorError: there is no such version, or it was not registered by aeflow.
        StorageError: the registry cannot be reached.
    """
    with connected(paths) as client:
        return find_version(client, paths, version)


def find_version(client: MlflowClient, paths: Paths, version: int) -> DetectorRef:
    """The reference to a registered version.

    Raises:
        DetectorError: there is no such version, or it was not registered by aeflow.
    """
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        found = client.get_model_version(model_name(paths), str(version))
    except MlflowException as error:
        if not is_missing(error):
            raise
        msg = f"there is no registered version {version}"
        raise DetectorError(
            msg, where=model_name(paths), remedy=f"aeflow models CONFIG lists them. {TRAIN}"
        ) from error
    return reference(model_name(paths), found.version, found.tags.get(DIGEST_TAG))


def _read_alias(file: Path, model: str, alias: str) -> DetectorRef | None:
    """What MLflow would answer, in milliseconds instead of seconds. A test keeps the two alike.

    Raises:
        sqlite3.Error: the tables are not those of the MLflow that this was written for.
    """
    query = """
        SELECT a.version, t.value FROM registered_model_aliases a
        LEFT JOIN model_version_tags t
          ON t.workspace = a.workspace AND t.name = a.name AND t.version = a.version AND t.key = :tag
        WHERE a.workspace = 'default' AND a.name = :model AND a.alias = :alias
    """
    address = f"file:{quote(str(file.resolve()))}?mode=ro"
    connection = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)
    try:
        found = connection.execute(query, {"tag": DIGEST_TAG, "model": model, "alias": alias}).fetchone()
    finally:
        connection.close()
    return None if found is None else reference(model, *found)


def _ask_alias(paths: Paths, alias: str) -> DetectorRef | None:
    with connected(paths) as client:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        try:
            found = client.get_model_version_by_alias(model_name(paths), alias)
        except MlflowException as error:
            if is_missing(error):
                return None
            raise
    return reference(model_name(paths), found.version, found.tags.get(DIGEST_TAG))


def _info(client: MlflowClient, found: Any, aliases: Mapping[str, str]) -> VersionInfo:
    ref = reference(found.name, found.version, found.tags.get(DIGEST_TAG))
    return VersionInfo(
        version=ref.version,
        digest=ref.digest,
        aliases=tuple(sorted(a for a, v in aliases.items() if int(v) == ref.version)),
        created=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        metrics=dict(client.get_run(found.run_id).data.metrics),
        tags=dict(found.tags),
        run_id=found.run_id,
    )
