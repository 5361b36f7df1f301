"""A registered detector on the local disk: downloaded once, checked each time it is used."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aeflow.exceptions import IntegrityError
from aeflow.registry.aliases import find_version
from aeflow.registry.connection import connected, model_name
from aeflow.store.claims import exclusive
from aeflow.store.digests import sha256_folder
from aeflow.store.files import atomic_file, fsync_tree, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aeflow.store.paths import Paths

DETECTOR = "detector"
"""The folder of the detector among the files of a version."""

_STAGING = "registry-"
_DAY_S = 86_400

_log = logging.getLogger(__name__)


def fetch(paths: Paths, version: int, *, digest: str | None = None) -> Path:
    """The folder of a registered detector below the home folder, downloaded unless it lies there
    already. `digest` is what the caller knows of it, from `resolve` or a receipt: give it, since a
    registry that was made anew begins again with version 1. The content is checked each time.

    Raises:
        DetectorError: there is no such version.
        IntegrityError: the registry does not hold what was registered, or not what was asked for.
        StorageError: the registry cannot be reached, or the copy cannot be written.
    """
    target = paths.detector(version)
    if _is_intact(target, digest):
        return target
    with exclusive(target.parent / ".lock"):
        if _is_intact(target, digest):  # another process was faster
            return target
        if target.exists():
            _log.warning("the copy in %s is not the registered detector: it is downloaded anew", target)
        with staging(paths) as stage, connected(paths) as client:
            from mlflow.artifacts import download_artifacts  # noqa: PLC0415

            registered = find_version(client, paths, version)
            if digest not in {None, registered.digest}:
                msg = (
                    f"version {version} of {model_name(paths)} should have the digest {digest}, "
                    f"but the registry's has {registered.digest}: it is another detector"
                )
                raise IntegrityError(msg)
            uri = f"models:/{model_name(paths)}/{version}/artifacts/{DETECTOR}"
            with storage_errors(target, "download the detector"):
                folder = Path(download_artifacts(artifact_uri=uri, dst_path=str(stage)))
                found = sha256_folder(folder)
            if found != registered.digest:
                msg = (
                    f"version {version} of {model_name(paths)} was registered with the digest "
                    f"{registered.digest}, but its files have {found}: they were changed since"
                )
                raise IntegrityError(msg)
            place(folder, target, found)
    return target


def place(folder: Path, target: Path, digest: str) -> None:
    """Make `folder`, on the same file system, the local copy at `target`, in place of one of an
    earlier registry.

    Raises:
        StorageError: it cannot be written.
    """
    with storage_errors(target, "keep a copy of the detector"):
        target.parent.mkdir(parents=True, exist_ok=True)
        fsync_tree(folder)
        if target.exists():
            target.rename(folder.parent / "stale")
        folder.rename(target)
    with atomic_file(_digest_file(target)) as file:
        file.write(digest.encode("ascii"))


@contextmanager
def staging(paths: Paths) -> Iterator[Path]:
    """A folder of this process alone on the file system of the home, gone afterwards; those that killed
    processes left more than a day ago go too.

    Raises:
        StorageError: it cannot be made.
    """
    parent = paths.home / "work" / paths.pipeline
    with storage_errors(parent, "make a working folder"):
        parent.mkdir(parents=True, exist_ok=True)
        for left in parent.glob(f"{_STAGING}*"):
            if time.time() - left.stat().st_mtime > _DAY_S:
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_STAGING, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_intact(target: Path, digest: str | None) -> bool:
    """Whether the copy at `target` has the digest, or where that is None, the one it was placed with."""
    with storage_errors(target, "read the copy of the detector"):
        if not target.is_dir():
            return False
        if digest is None:
            if not _digest_file(target).exists():
                return False
            digest = _digest_file(target).read_text(encoding="ascii")
        return sha256_folder(target) == digest


def _digest_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")
