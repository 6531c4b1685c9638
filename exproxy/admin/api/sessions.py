"""The sessions of browsers that logged in: a random word in a cookie stands for a token. Pure."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from exproxy.config.resolved import Role

# Seconds that a session lasts: a day at work.
LASTS = 12 * 3600.0
# The one that was not used for the longest time goes first.
SESSIONS = 64


@dataclass(slots=True)
class BrowserSession:
    """``csrf``: what each change has to say besides the cookie; ``begun``: seconds."""

    name: str
    role: Role
    csrf: str
    begun: float


class BrowserSessions:
    """Kept in memory by digest: after a restart everybody logs in again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sessions: OrderedDict[bytes, BrowserSession] = OrderedDict()

    def begin(self, name: str, role: Role) -> tuple[str, BrowserSession]:
        """A new one: (the cookie's value, the session)."""
        value, now = secrets.token_urlsafe(32), self._clock()
        session = BrowserSession(name, role, secrets.token_urlsafe(32), now)
        self._sessions[_digest(value)] = session
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return value, session

    def find(self, value: str) -> BrowserSession | None:
        """The session of that cookie, None where there is none any more."""
        key, now = _digest(value), self._clock()
        session = self._sessions.get(key)
        if session is None:
            return None
        if now - session.begun >= LASTS:
            del self._sessions[key]
            return None
        self._sessions.move_to_end(key)
        return session

    def end(self, value: str) -> None:
        """Log out; idempotent."""
        self._sessions.pop(_digest(value), None)

    def keep(self, wanted: Callable[[BrowserSession], bool]) -> None:
        """End all others."""
        for key, session in list(self._sessions.items()):
            if not wanted(session):
                del self._sessions[key]


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()
