"""Writing so that a reader sees the old content or the new one, and a full disk is said to be one."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from aeflow.exceptions import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def storage_errors(where: Path, doing: str, *, needed_bytes: int | None = None) -> Iterator[None]:
    """Turns an `OSError` of the block into a `StorageError`: `doing` completes "cannot ..." (such as
    "write the scores"), `needed_bytes` is what the block wanted to write, where that is known.

    Raises:
        StorageError: the disk is full, a right is missing, or another fault of the file system.
    """
    try:
        yield
    except OSError as error:
        raise _as_storage_error(error, where, doing, needed_bytes) from error


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write bytes into that takes the name `path` once the block ends well: flushed to
    the disk, then renamed. Folders above are made. After any error nothing has changed at `path`.

    Raises:
        StorageError: the disk is full, a right is missing, or another fault of the file system.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # Inside, so that a full disk is described as the unfinished file left it.
        with storage_errors(path, "write the file"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
            fsync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise


def replace_folder(built: Path, target: Path) -> None:
    """The folder `built` in the place of `target`, of the same file system, with all that is below it.

    Raises:
        StorageError: a right is missing, or another fault of the file system.
    """
    before = built.with_name(f"{built.name}.before")
    with storage_errors(target, "write the folder"):
        fsync_tree(built)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(before, ignore_errors=True)
        if target.exists():
            target.rename(before)
        built.rename(target)
        fsync_folder(target.parent)
        shutil.rmtree(before, ignore_errors=True)


def fsync_folder(folder: Path) -> None:
    """Brings the names in `folder` to the disk: after it, a rename survives a power cut."""
    _fsync(str(folder), os.O_DIRECTORY)


def fsync_tree(folder: Path) -> int:
    """Brings every file and name below `folder` to the disk; returns the files' size in bytes.

    Raises:
        OSError: something below it cannot be read or flushed.
    """
    size = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                size += fsync_tree(folder / entry.name)
            else:
                size += _fsync(entry.path)
    fsync_folder(folder)
    return size


def _fsync(path: str, flags: int = 0) -> int:
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _as_storage_error(error: OSError, where: Path, doing: str, needed_bytes: int | None) -> StorageError:
    if error.errno in _FULL:
        wanted = f"{_megabytes(needed_bytes)} are to be written and " if needed_bytes is not None else ""
        msg = f"cannot {doing}: the disk is full ({wanted}{_free(where)})"
        return StorageError(
            msg,
            where=str(where),
            remedy="Make room there or set AEFLOW_HOME to another disk; then run again.",
        )
    place = error.filename or where
    if error.errno in _FORBIDDEN:
        msg = f"cannot {doing}: {error.strerror} ({place})"
        remedy = f"Give user {_user()} the right to write there, or set AEFLOW_HOME to a folder of theirs."
        return StorageError(msg, where=str(where), remedy=remedy)
    msg = f"cannot {doing}: {error.strerror or error} ({place})"
    return StorageError(msg, where=str(where), remedy="Look at the disk and at the folder; then run again.")


def _free(where: Path) -> str:
    for folder in (where, *where.parents):
        if folder.is_dir():
            return f"{_megabytes(shutil.disk_usage(folder).free)} are free"
    return "nothing is known of its free space"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _user() -> str:
    return str(os.getuid())
