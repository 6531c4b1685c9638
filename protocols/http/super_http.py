"""Persistence ``super-http``: a cookie of ours where the client may be given one, else a fingerprint.

Browsers get the cookie, so that each of them is one client however many sit behind one address.
Outlook, ActiveSync, EWS and their kin must not be given cookies they did not ask for; there the
user of Basic credentials is the client, else its User-Agent together with its source address,
else the source address alone. The cookie's value is a keyed token that names no server, and
nothing but keyed digests gets into a table.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field
from zope.interface import implementer

from exproxy.interfaces import IKeys, IMarker, IPersistence, IPersistencePlugin
from exproxy.model import Facts, Key, Named, Source
from exproxy.persistence.source_ip import network_of
from exproxy.units import Size, Wait
from protocols.http.credentials import basic_user
from protocols.http.head import RequestHead
from protocols.http.own_cookie import CookieFields, OwnCookie
from protocols.http.peer import Scheme


class SuperHttpOptions(CookieFields):
    """Options of ``super-http``."""

    mask_v4: int = Field(
        default=32,
        ge=0,
        le=32,
        strict=True,
        description="Bits of an IPv4 source that count in a fingerprint.",
    )
    mask_v6: int = Field(
        default=128,
        ge=0,
        le=128,
        strict=True,
        description="Bits of an IPv6 source that count in a fingerprint.",
    )
    timeout: Wait = Field(
        default=7200.0,
        description="How long a fingerprint is remembered after its last use; a group's own wins.",
    )
    limit: Size = Field(
        default=100_000,
        description="Fingerprints remembered at most, the oldest go first; a group's own wins.",
    )


@implementer(IPersistence, IMarker)
class SuperHttp:
    """See the module. ``cookie``: the name of our cookie."""

    def __init__(self, options: SuperHttpOptions, keys: IKeys) -> None:
        self._options = options
        self._keys = keys
        self._own = OwnCookie(options, keys)
        self.cookie = self._own.name
        # See IMarker.
        self.mark = self._own.mark

    def __repr__(self) -> str:
        return f"<super-http {self.cookie.decode()}>"

    def candidates(self, facts: Facts) -> tuple[Named | Key, ...]:
        """See IPersistence: the cookie's server first, then the fingerprint."""
        head = facts.get(RequestHead)
        if head is None:
            return ()
        named: tuple[Named, ...] | None = head.fields.known.get(self)
        if named is not None:
            return named
        shown = self._own.shown(head)
        named, keys = self._own.named(shown), self._fingerprint(facts, head, shown)
        if keys:
            return named + keys
        if named:
            # It is the cookie alone that tells, whatever the path.
            head.fields.known[self] = named
        return named

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        """See IPersistence."""
        head = facts.get(RequestHead)
        if head is None or self in head.fields.known:
            return ()
        return self._fingerprint(facts, head, self._own.shown(head))

    def _fingerprint(self, facts: Facts, head: RequestHead, shown: tuple[bytes, ...]) -> tuple[Key, ...]:
        """What tells a client without our cookie from others; nothing where it can be given one."""
        user = basic_user(head)
        if user is not None:
            return (self._keys.digest("user", user.encode()),)
        if shown or self._own.may_be_given(facts, head):
            return ()
        source = facts.get(Source)
        host = "" if source is None else source.host
        network = network_of(host, self._options.mask_v4, self._options.mask_v6)
        agent = head.get(b"user-agent")
        return (
            self._keys.digest("agent", agent, network) if agent else self._keys.digest("source", network),
        )


@implementer(IPersistencePlugin)
class _Plugin:
    name = "super-http"
    summary = "a cookie for browsers, else the Basic user, else User-Agent and source address"
    options = SuperHttpOptions
    needs: tuple[type, ...] = (RequestHead,)
    uses: tuple[type, ...] = (Scheme, Source)

    def strategy(self, options: Any, keys: IKeys) -> IPersistence:
        """See IPersistencePlugin."""
        return SuperHttp(options, keys)


plugin = _Plugin()
