"""Who sits before which browser: sessions in memory, known to the browser by a cookie.

They end with the app, after twelve hours, or when the token they were opened with is revoked. The cookie
holds 256 random bits; a form of the app carries a second secret of the session, without which nothing is
changed (CSRF): a page of another site can make a browser send the cookie, but cannot read that secret.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aeflow.review.access import Role

if TYPE_CHECKING:
    from collections.abc import Callable

_LASTS_SECONDS = 12 * 3_600
_MOST = 1_000
_TRIES, _WITHIN_SECONDS = 10, 60.0


@dataclass(frozen=True)
class Session:
    """One browser. key: what its cookie holds; csrf: what its forms carry; digest: of the token it was opened
    with, "" without one."""

    key: str
    csrf: str
    reviewer: str
    role: Role
    digest: str
    ends_at: float

    @property
    def may_review(self) -> bool:
        """Whether this one may say verdicts."""
        return self.role is Role.REVIEWER

    def sent(self, csrf: str) -> bool:
        """Whether the secret of a form is this session's."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode())


class Sessions:
    """All sessions, for any number of threads. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._failures: dict[str, deque[float]] = {}

    def open(self, reviewer: str, role: Role, digest: str = "") -> Session:
        """A new session."""
        session = Session(
            key=secrets.token_urlsafe(32),
            csrf=secrets.token_urlsafe(32),
            reviewer=reviewer,
            role=role,
            digest=digest,
            ends_at=self._clock() + _LASTS_SECONDS,
        )
        with self._lock:
            if len(self._sessions) >= _MOST:  # the first of a dict is its oldest
                del self._sessions[next(iter(self._sessions))]
            self._sessions[session.key] = session
        return session

    def get(self, key: str | None) -> Session | None:
        """The session whose cookie it is; None where there is none, or it ended."""
        with self._lock:
            session = self._sessions.get(key or "")
            if session is not None and session.ends_at < self._clock():
                del self._sessions[session.key]
                return None
            return session

    def rename(self, session: Session, reviewer: str) -> Session:
        """The same session under another name."""
        renamed = replace(session, reviewer=reviewer)
        with self._lock:
            self._sessions[session.key] = renamed
        return renamed

    def close(self, session: Session) -> None:
        """End it."""
        with self._lock:
            self._sessions.pop(session.key, None)

    def may_try(self, address: str) -> bool:
        """Whether a token may be tried from there: not after ten wrong ones within a minute."""
        with self._lock:
            return len(self._recent(address)) < _TRIES

    def failed(self, address: str) -> None:
        """A wrong token came from there."""
        with self._lock:
            if len(self._failures) >= _MOST:
                del self._failures[next(iter(self._failures))]
            self._failures.setdefault(address, deque(maxlen=_TRIES)).append(self._clock())

    def _recent(self, address: str) -> deque[float]:
        tries = self._failures.get(address, deque())
        while tries and tries[0] < self._clock() - _WITHIN_SECONDS:
            tries.popleft()
        return tries
