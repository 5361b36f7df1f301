"""JSON documents of other programs: read with care, and told where they are not as expected."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aeflow.exceptions import SourceError
from aeflow.review.verdict_file import Flag, word_of
from aeflow.store.files import atomic_file
from aeflow.store.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

MOST_BYTES = 512_000_000
"""A larger document is refused before it is read."""
_LARGEST = 2**31
_KINDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}


def write_document(path: Path, document: Any) -> None:
    """Write a value as JSON in UTF-8, the same bytes for the same value.

    Raises:
        StorageError: the file cannot be written.
    """
    with atomic_file(path) as file:
        file.write(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def read_document(path: Path, *, remedy: str) -> Any:
    """The value in a JSON file.

    Raises:
        SourceError: it cannot be read, is no JSON, or is too large.
    """
    where = str(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SourceError(
                f"expected at most {MOST_BYTES:,} bytes, got {path.stat().st_size:,}",
                where=where,
                remedy=remedy,
            )
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SourceError(f"the verdicts cannot be read: {error}", where=where, remedy=remedy) from error
    except (ValueError, RecursionError) as error:  # a text that is no UTF-8 too
        raise SourceError(f"expected JSON: {error}", where=where, remedy=remedy) from error


def expect(value: Any, kind: type, where: str) -> Any:
    """The value, which must be of a kind.

    Raises:
        SourceError: it is of another.
    """
    # True is a whole number to Python, and to nobody else.
    fits = isinstance(value, kind)
    if fits and kind is int:
        fits = not isinstance(value, bool) and -_LARGEST < value < _LARGEST
    if not fits:
        raise SourceError(f"expected {_KINDS[kind]}, got {_shown(value)}", where=where)
    return value


def known_flag(flag_id: Any, flags: Mapping[str, Flag], where: str) -> Flag:
    """The published flag of that id.

    Raises:
        SourceError: there is none.
    """
    flag = flags.get(flag_id) if isinstance(flag_id, str) else None
    if flag is None:
        raise SourceError(
            f"expected the id of a published flag, got {_shown(flag_id)}",
            where=where,
            remedy="`aeflow verdicts CONFIG --export FILE` writes every flag with its id.",
        )
    return flag


def make_verdict(
    flag: Flag, word: Any, *, reviewer: Any, at: datetime, note: Any, version: Any, where: str
) -> Verdict:
    """A verdict of what a document says of a flag.

    Raises:
        SourceError: a part is of another kind, or the word is none of a verdict.
    """
    return Verdict(
        flag_id=flag.flag_id,
        batch=flag.batch,
        word=word_of(expect(word, str, where).strip().lower(), where),
        reviewer=expect(reviewer, str, where),
        at=at,
        note=expect(note, str, where),
        detector_version=flag.detector_version if version is None else expect(version, int, where),
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
