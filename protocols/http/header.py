"""Persistence ``header``: the value of one request header is the client.

Credentials in ``Authorization`` count by the user of Basic only: tokens of NTLM, Negotiate, Bearer and
Digest change from leg to leg or in time, so each of them would be another client.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field
from zope.interface import implementer

from exproxy.interfaces import IKeys, IPersistence, IPersistencePlugin
from exproxy.model import Facts, Key, Named
from exproxy.persistence.fallback import Fallback, IFirst, with_fallback
from exproxy.units import Size, Wait
from protocols.http.credentials import basic_user
from protocols.http.head import RequestHead
from protocols.http.own_cookie import COOKIE_NAME, HttpOptions

_CREDENTIALS = b"authorization"


class HeaderOptions(HttpOptions):
    """Options of ``header``."""

    name: str = Field(
        pattern=COOKIE_NAME,
        max_length=128,
        description="The request header whose value is the client; of Authorization the user of Basic.",
    )
    fallback: Fallback | None = Field(
        default=None, description="Another persistence for requests without that header."
    )
    timeout: Wait = Field(
        default=7200.0, description="How long a value is remembered after its last use; a group's own wins."
    )
    limit: Size = Field(
        default=100_000, description="Values remembered at most, the oldest go first; a group's own wins."
    )


@implementer(IPersistence, IFirst)
class Header:
    """See the module."""

    def __init__(self, options: HeaderOptions, keys: IKeys) -> None:
        self._name = options.name.lower().encode("ascii")
        self._keys = keys

    def __repr__(self) -> str:
        return f"<header {self._name.decode()}>"

    def candidates(self, facts: Facts) -> tuple[Named | Key, ...]:
        """See IPersistence."""
        return self.remember(facts)

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        """See IPersistence."""
        values = self._values(facts)
        return (self._keys.digest("header", self._name, *values),) if values else ()

    def suffices(self, facts: Facts) -> bool:
        """See IFirst."""
        return bool(self._values(facts))

    def _values(self, facts: Facts) -> tuple[bytes, ...]:
        head = facts.get(RequestHead)
        if head is None:
            return ()
        if self._name == _CREDENTIALS:
            user = basic_user(head)
            return () if user is None else (user.encode(),)
        return tuple([value for value in head.values(self._name) if value])


@implementer(IPersistencePlugin)
class _Plugin:
    name = "header"
    summary = "one value of a request header, one server"
    options = HeaderOptions
    needs: tuple[type, ...] = (RequestHead,)
    uses: tuple[type, ...] = ()

    def strategy(self, options: Any, keys: IKeys) -> IPersistence:
        """See IPersistencePlugin."""
        strategy: IPersistence = with_fallback(Header(options, keys), options.fallback, keys)
        return strategy


plugin = _Plugin()
