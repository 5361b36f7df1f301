"""Who may open the review app from other machines: tokens, each of one person in one role.

A token is shown once, when it is made. The file holds its SHA-256 alone: a token is 256 random bits, which
no one can guess, so a slow hash as for passwords would protect nothing more.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aeflow.exceptions import InputError, IntegrityError
from aeflow.store.files import atomic_file, storage_errors

if TYPE_CHECKING:
    from pathlib import Path

_TOKEN_BYTES = 32


class Role(StrEnum):
    """What somebody may do."""

    READER = "reader"
    """Look at everything, and take it along."""
    REVIEWER = "reviewer"
    """Say verdicts too."""


@dataclass(frozen=True)
class Grant:
    """What a token gives: verdicts are said in the name; digest: SHA-256 of the token, hexadecimal."""

    name: str
    role: Role
    digest: str
    made_at: str


@dataclass(frozen=True)
class Access:
    """The tokens of one pipeline, in a file that only its owner may read.

    Raises (every method):
        StorageError: the file cannot be read or written.
        IntegrityError: it is no such file.
    """

    file: Path

    def grants(self) -> list[Grant]:
        """All that were made and not revoked."""
        if not self.file.exists():
            return []
        with storage_errors(self.file, "read who has access"):
            content = self.file.read_text(encoding="utf-8")
        try:
            return [_grant(entry) for entry in json.loads(content)["grants"]]
        except (ValueError, KeyError, TypeError) as error:
            msg = f"{self.file} does not tell who has access ({error}); remove it and make new tokens"
            raise IntegrityError(msg) from error

    def make(self, name: str, role: Role, *, now: datetime) -> str:
        """Make a token for somebody, in the place of the one they had; returns it, this once.

        Raises:
            InputError: the name is empty or holds what cannot be shown.
        """
        name = name.strip()
        if not name or not name.isprintable():
            raise InputError(f"expected the name of a person, got {name!r}", where="review tokens")
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        grant = Grant(name, role, _digest(token), now.isoformat(timespec="seconds"))
        self._write([*(g for g in self.grants() if g.name != name), grant])
        return token

    def revoke(self, name: str) -> None:
        """The token of that person opens nothing any more.

        Raises:
            InputError: nobody of that name has one.
        """
        grants = self.grants()
        if name not in {grant.name for grant in grants}:
            has = ", ".join(sorted(grant.name for grant in grants)) or "nobody"
            raise InputError(f"expected the name of somebody with a token, got {name!r}; has one: {has}")
        self._write([grant for grant in grants if grant.name != name])

    def check(self, token: str) -> Grant | None:
        """What the token gives; None for one that is not known."""
        digest = _digest(token)
        # All are compared, each in constant time: how long it takes tells nothing.
        found = [grant for grant in self.grants() if hmac.compare_digest(grant.digest, digest)]
        return found[0] if found else None

    def _write(self, grants: list[Grant]) -> None:
        content = json.dumps({"grants": [asdict(grant) for grant in grants]}, indent=1, ensure_ascii=False)
        with atomic_file(self.file) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(f"{content}\n".encode())


def _grant(entry: dict[str, Any]) -> Grant:
    datetime.fromisoformat(entry["made_at"])
    return Grant(str(entry["name"]), Role(entry["role"]), str(entry["digest"]), entry["made_at"])


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", errors="replace")).hexdigest()
