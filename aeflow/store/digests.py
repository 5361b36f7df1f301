"""What a file or a folder holds, as one SHA-256 in hexadecimal."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from aeflow.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def sha256_bytes(content: bytes) -> str:
    """The SHA-256 of `content`: 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content, read in fixed memory.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest(folder: Path) -> dict[str, str]:
    """Every file below `folder`: its name relative to it (with `/`) -> its SHA-256, sorted by name.
    Empty folders do not count.

    Raises:
        InputError: something below it is neither a file nor a folder (a link, a socket): its content
            could change without the folder changing.
        OSError: something cannot be read.
    """
    found: dict[str, str] = {}
    unread = [folder]
    while unread:
        with os.scandir(unread.pop()) as entries:
            for entry in entries:
                path = folder / entry.path
                if entry.is_dir(follow_symlinks=False):
                    unread.append(path)
                elif entry.is_file(follow_symlinks=False):
                    found[path.relative_to(folder).as_posix()] = sha256_file(path)
                else:
                    msg = "expected only files and folders, got a link or a special file"
                    raise InputError(msg, where=entry.path)
    return dict(sorted(found.items()))


def sha256_manifest(files: Mapping[str, str]) -> str:
    """One SHA-256 of a whole manifest, whatever its order: that of its canonical JSON."""
    return sha256_bytes(json.dumps(dict(files), sort_keys=True, separators=(",", ":")).encode("ascii"))


def sha256_folder(folder: Path) -> str:
    """One SHA-256 of all names and contents below `folder`. Times and rights do not count.

    Raises:
        InputError, OSError: as `manifest`.
    """
    return sha256_manifest(manifest(folder))
