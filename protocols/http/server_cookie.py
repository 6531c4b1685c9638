"""Persistence ``server-cookie``: a cookie that the servers themselves set is the client.

It is learnt from the Set-Cookie fields of answers (RFC 6265 4.1), and known again in requests. A value
that nobody here has seen being set (after a restart, say) is bound to the server that is chosen for it.

Some clients give the value back in a field with the cookie's name: exchangelib does so with EWS'
X-BackEndOverrideCookie, on every connection but the one where it got it. That counts as the cookie does.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema
from zope.interface import implementer

from exproxy.actions import Action, Learn
from exproxy.interfaces import IKeys, ILearner, IPersistence, IPersistencePlugin
from exproxy.model import Facts, Key, Named, ServerCookie
from exproxy.persistence.fallback import Fallback, IFirst, with_fallback
from exproxy.units import Size, Wait
from protocols.http.head import RequestHead, ResponseHead
from protocols.http.own_cookie import COOKIE_NAME, HttpOptions

# Cookies of one request that count; who sends more fills the table no faster.
MOST = 8
# Ends the cookie at once (RFC 6265 5.2.2).
_OVER = re.compile(rb";[\t ]*max-age[\t ]*=[\t ]*(?:0+|-[0-9]+)[\t ]*(?:;|$)", re.IGNORECASE)
_WORD = {"type": "string", "pattern": COOKIE_NAME}


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


CookieName: TypeAlias = Annotated[str, Field(pattern=COOKIE_NAME, max_length=128)]
CookieNames: TypeAlias = Annotated[
    list[CookieName],
    Field(min_length=1),
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_WORD, {"type": "array", "minItems": 1, "items": _WORD}]}),
]


class ServerCookieOptions(HttpOptions):
    """Options of ``server-cookie``."""

    name: CookieNames = Field(
        description="The cookie's name, or a list of names; upper and lower case are different."
    )
    fallback: Fallback | None = Field(
        default=None, description="Another persistence for requests without any of these cookies."
    )
    timeout: Wait = Field(
        default=7200.0, description="How long a value is remembered after its last use; a group's own wins."
    )
    limit: Size = Field(
        default=100_000, description="Values remembered at most, the oldest go first; a group's own wins."
    )


@implementer(IPersistence, ILearner, IFirst)
class LearntCookie:
    """See the module."""

    lifetime: float | None = None

    def __init__(self, options: ServerCookieOptions, keys: IKeys) -> None:
        self._keys = keys
        self._names = frozenset(name.encode("ascii") for name in options.name)
        names = b"|".join(re.escape(name) for name in sorted(self._names))
        self._theirs = re.compile(rb"(?:^|;)[\t ]*(" + names + rb")[\t ]*=[\t ]*([^;]*)")

    def __repr__(self) -> str:
        return f"<server-cookie {b', '.join(sorted(self._names)).decode()}>"

    def candidates(self, facts: Facts) -> tuple[Named | Key, ...]:
        """See IPersistence."""
        return self.remember(facts)

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        """See IPersistence."""
        return tuple([self._key(name, value) for name, value in self._shown(facts)])

    def observe(self, facts: Facts, observation: object) -> tuple[Key, ...]:
        """See ILearner: a ServerCookie of one of the names."""
        if not isinstance(observation, ServerCookie) or observation.name not in self._names:
            return ()
        return (self._key(observation.name, observation.value),) if observation.value else ()

    def suffices(self, facts: Facts) -> bool:
        """See IFirst."""
        return bool(self._shown(facts))

    def _shown(self, facts: Facts) -> list[tuple[bytes, bytes]]:
        head = facts.get(RequestHead)
        if head is None:
            return []
        found = [
            (name, value.rstrip(b"\t "))
            for field in head.values(b"cookie")
            for name, value in self._theirs.findall(field)
        ]
        found += [(name, value) for name in sorted(self._names) for value in head.values(name.lower())]
        return [(name, value) for name, value in found if value][:MOST]

    def _key(self, name: bytes, value: bytes) -> Key:
        return self._keys.digest("cookie", name, value)


def cookies_set(head: ResponseHead) -> list[ServerCookie]:
    """The cookies that an answer sets; not those that it takes back."""
    found = []
    for field in head.values(b"set-cookie"):
        pair, _, _ = field.partition(b";")
        name, equals, value = pair.partition(b"=")
        if equals and name.strip() and value.strip() and not _OVER.search(field):
            found.append(ServerCookie(name.strip(b"\t "), value.strip(b"\t ")))
    return found


def learnt(head: ResponseHead) -> list[Action]:
    """What an answer's cookies tell a persistence that learns them."""
    return [Learn(cookie) for cookie in cookies_set(head)] if b"\nset-cookie:" in head.fields.low else []


@implementer(IPersistencePlugin)
class _Plugin:
    name = "server-cookie"
    summary = "a cookie that the servers set, learnt from their answers"
    options = ServerCookieOptions
    needs: tuple[type, ...] = (RequestHead,)
    uses: tuple[type, ...] = (ServerCookie,)

    def strategy(self, options: Any, keys: IKeys) -> IPersistence:
        """See IPersistencePlugin."""
        strategy: IPersistence = with_fallback(LearntCookie(options, keys), options.fallback, keys)
        return strategy


plugin = _Plugin()
