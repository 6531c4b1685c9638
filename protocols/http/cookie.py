"""Persistence ``cookie``: a cookie of ours, and nothing else.

The cookie is that of ``super-http``. Clients that can be given none (no browser, or plain http) are
scheduled anew each time, or left to ``fallback``.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator
from zope.interface import implementer

from exproxy.interfaces import IKeys, IMarker, IPersistence, IPersistencePlugin
from exproxy.model import Facts, Key, Named, Source
from exproxy.persistence.fallback import Fallback, IFirst, fallbacks, with_fallback
from exproxy.plugins import Choice, Selected
from protocols.http.head import RequestHead
from protocols.http.own_cookie import CookieFields, OwnCookie
from protocols.http.peer import Scheme

# Their own cookie would have the same name.
_SET_COOKIES = ("cookie", "super-http")


class CookieOptions(CookieFields):
    """Options of ``cookie``."""

    fallback: Fallback | None = Field(
        default=None, description="Another persistence for the clients that can be given no cookie."
    )

    @model_validator(mode="after")
    def _one_cookie(self) -> CookieOptions:
        if isinstance(self.fallback, Choice):
            for name in fallbacks(self.fallback):
                if name in _SET_COOKIES:
                    raise ValueError(f"{name!r} sets a cookie too, so it cannot be the fallback of 'cookie'")
        return self

    # The table is the fallback's.

    @property
    def timeout(self) -> float:
        """Seconds that the fallback remembers a client."""
        return float(getattr(_of(self.fallback), "timeout", 7200.0))

    @property
    def limit(self) -> int:
        """How many clients the fallback remembers."""
        return int(getattr(_of(self.fallback), "limit", 100_000))


def _of(fallback: object) -> Any:
    return fallback.options if isinstance(fallback, Selected) else None


@implementer(IPersistence, IMarker, IFirst)
class Cookie:
    """See the module. ``cookie``: the name of our cookie."""

    def __init__(self, options: CookieOptions, keys: IKeys) -> None:
        self._own = OwnCookie(options, keys)
        self.cookie = self._own.name

    def __repr__(self) -> str:
        return f"<cookie {self.cookie.decode()}>"

    def candidates(self, facts: Facts) -> tuple[Named | Key, ...]:
        """See IPersistence."""
        head = facts.get(RequestHead)
        return () if head is None else self._own.named(self._own.shown(head))

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        """See IPersistence: the client does."""
        return ()

    def mark(self, facts: Facts, server: str) -> bytes | None:
        """See IMarker."""
        return self._own.mark(facts, server)

    def suffices(self, facts: Facts) -> bool:
        """See IFirst: it has the cookie, or will be given it."""
        head = facts.get(RequestHead)
        return head is not None and (bool(self._own.shown(head)) or self._own.may_be_given(facts, head))


@implementer(IPersistencePlugin)
class _Plugin:
    name = "cookie"
    summary = "a cookie of exproxy's own, for browsers"
    options = CookieOptions
    needs: tuple[type, ...] = (RequestHead,)
    uses: tuple[type, ...] = (Scheme, Source)

    def strategy(self, options: Any, keys: IKeys) -> IPersistence:
        """See IPersistencePlugin."""
        strategy: IPersistence = with_fallback(Cookie(options, keys), options.fallback, keys)
        return strategy


plugin = _Plugin()
