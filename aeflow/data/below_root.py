"""The files below a root folder that fit globs, and nothing outside of it.

A link to a file is followed as long as it stays inside the root. A link to a folder inside the root
is not followed: its files are found where they are. What leads out is found, for its batch must account
for it, and not looked into.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from aeflow.exceptions import ConfigError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_WILDCARD = re.compile(r"(\*+|\?|\[!?\]?[^\]]*\])")


def folders_in(root: Path) -> list[str]:
    """Names of the first-level folders below `root` (resolved), sorted, with links to folders outside; those that
    are no UTF-8 too, though they can name no batch.

    Raises:
        SourceError: the root cannot be listed.
    """
    entries = _entries(root)
    leading_out = outside(root, [e.name for e in entries if _links_to_folder(e)])
    return [e.name for e in entries if e.is_dir(follow_symlinks=False) or e.name in leading_out]


def is_utf8(name: str) -> bool:
    """Whether a file's name can be stored: others come from the system with lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def readable(name: str) -> str:
    r"""A name that may be no UTF-8, such as people can read it: `caf\xe9`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def walk(root: Path, below: str = "") -> Iterator[str]:
    """Everything below `root/below` that is no folder, as paths below `root` (resolved), parts
    joined by /. A folder that cannot be looked into, since a link to it leads outside or it may not be
    listed, is one path with a / at its end.

    Raises:
        SourceError: the root itself cannot be listed.
    """
    if below and outside(root, [below]):
        yield f"{below}/"
        return
    try:
        entries = _entries(root / below)
    except SourceError:
        if not below:
            raise
        yield f"{below}/"
        return
    for entry in entries:
        item = f"{below}/{entry.name}" if below else entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from walk(root, item)
        elif not _links_to_folder(entry):
            yield item
        elif outside(root, [item]):
            yield f"{item}/"


def outside(root: Path, items: Iterable[str]) -> dict[str, Path]:
    """Those of the paths that lead out of `root` (resolved) through a link, and where to."""
    inside: set[str] = set()
    leading_out: dict[str, Path] = {}
    for item in items:
        folder = item.rstrip("/").rpartition("/")[0]
        path = root / item
        if folder in inside and not path.is_symlink():
            continue
        try:
            target = path.resolve()
        except (OSError, RuntimeError):
            continue  # a link in a circle: opening it will say so
        if not target.is_relative_to(root):
            leading_out[item] = target
        elif not path.is_symlink():
            inside.add(folder)
    return leading_out


def any_glob(globs: Sequence[str]) -> re.Pattern[str]:
    """A pattern whose `fullmatch` takes the paths that fit one of the globs, in any case of letters.

    `**` stands for any number of folders, none too; `*`, `?` and `[...]` stay inside one name.

    Raises:
        ConfigError: a glob is empty, absolute or leads outside.
    """
    return re.compile("|".join(map(_path_regex, globs)) or r"(?!)", re.IGNORECASE | re.DOTALL)


def _path_regex(glob: str) -> str:
    parts = PurePosixPath(glob).parts
    regex = ""
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if part == "**":
            regex += ".*" if last else "(?:[^/]+/)*"
        else:
            regex += "".join(map(_piece_regex, _WILDCARD.split(part))) + ("" if last else "/")
    try:
        re.compile(regex)
        sound = bool(parts) and parts[0] != "/" and ".." not in parts
    except re.error:
        sound = False
    if not sound:
        msg = f"expected a glob below the source's root, such as '**/*.png', got {glob!r}"
        raise ConfigError(msg, where="source.include, source.exclude")
    return regex


def _piece_regex(piece: str) -> str:
    if piece.startswith("*"):
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    if _WILDCARD.fullmatch(piece):
        body = piece[1:-1].replace("\\", r"\\").replace("[", r"\[")
        return f"(?!/)[^{body[1:]}]" if body.startswith("!") else f"(?!/)[{body}]"
    return re.escape(piece)


def _links_to_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and Path(entry.path).is_dir()  # Path answers False to a link in a circle


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        msg = f"the folder cannot be listed: {error.strerror}"
        remedy = "Check the path, and that this user may read the folder."
        raise SourceError(msg, where=str(folder), remedy=remedy) from error
