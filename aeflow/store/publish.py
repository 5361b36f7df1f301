"""A finished report comes in the place of the one before, whole or not at all.

Two renames do it: the report that is there goes to the revisions, the new one takes its place. A
process killed between them leaves no report; `recover`, run first by every run, brings the old one
back. So a reader finds the old report, the new one, or for an instant none, and never a part of one.

One process at a time publishes a batch: hold its claim (see `claims`).
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aeflow.exceptions import InputError
from aeflow.store.digests import manifest, sha256_manifest
from aeflow.store.files import atomic_file, fsync_folder, fsync_tree, storage_errors

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Published", "atomic_file", "current_revision", "publish", "recover"]

_REVISION = re.compile(r"rev=([1-9][0-9]*)")


@dataclass(frozen=True)
class Published:
    """What came of publishing."""

    revision: int
    """1 for the first report of a batch, one more with each change."""
    changed: bool
    """False: the same bytes were there already, and nothing was touched."""
    digest: str
    """SHA-256 of the report's manifest (`digests.sha256_folder`)."""


def publish(built: Path, target: Path, revisions: Path) -> Published:
    """Make the complete folder `built` the report at `target`, on the same file system; a report of
    other content that is there moves to `revisions/rev=<n>`.

    With a change `built` is gone afterwards. Without one, and after an error, it stays where it is.

    Raises:
        InputError: `built` is no folder, is empty, or holds a link.
        StorageError: the disk is full, a right is missing, or the two lie on different file systems;
            the report that was there is there still.
    """
    if not built.is_dir():
        msg = "expected a finished report folder, and there is none"
        raise InputError(msg, where=str(built))
    with storage_errors(target, "publish the report"):
        content = manifest(built)
        size = fsync_tree(built)
        present = manifest(target) if target.is_dir() else None
    if not content:
        msg = "expected a finished report folder, got an empty one"
        raise InputError(msg, where=str(built))
    digest = sha256_manifest(content)
    if content == present:
        return Published(revision=_next_revision(revisions), changed=False, digest=digest)
    with storage_errors(target, "publish the report", needed_bytes=size):
        target.parent.mkdir(parents=True, exist_ok=True)
        if present is None:
            _move(built, target)
        else:
            revisions.mkdir(parents=True, exist_ok=True)
            _replace(built, target, revisions / f"rev={_next_revision(revisions)}")
    return Published(revision=_next_revision(revisions), changed=True, digest=digest)


def recover(target: Path, revisions: Path) -> bool:
    """Undo a publishing that was killed half-way: where there is no report at `target`, but an
    earlier one, that one comes back. True if it did. Run first by every run of the batch.

    Raises:
        StorageError: the folders cannot be read or written.
    """
    with storage_errors(target, "bring back the report of an interrupted run"):
        kept = _revisions(revisions)
        if target.exists() or not kept:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        _move(revisions / f"rev={kept[-1]}", target)
        return True


def current_revision(target: Path, revisions: Path) -> int | None:
    """The number of the report at `target`; None where there is none."""
    return _next_revision(revisions) if target.is_dir() else None


def _replace(built: Path, target: Path, kept: Path) -> None:
    try:
        _move(target, kept)
        _move(built, target)
    except OSError:
        # Should this fail as well, `recover` does it with the next run.
        with contextlib.suppress(OSError):
            if not target.exists():
                _move(kept, target)
        raise


def _move(source: Path, target: Path) -> None:
    source.rename(target)
    fsync_folder(target.parent)
    fsync_folder(source.parent)


def _revisions(revisions: Path) -> list[int]:
    if not revisions.is_dir():
        return []
    found = (_REVISION.fullmatch(p.name) for p in revisions.iterdir())
    return sorted(int(m[1]) for m in found if m)


def _next_revision(revisions: Path) -> int:
    """The report in place has the number after the last one that was replaced."""
    kept = _revisions(revisions)
    return kept[-1] + 1 if kept else 1
