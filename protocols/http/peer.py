"""Who is asking: the client as it is, or as a proxy of ours in front of it says it is."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from exproxy.interfaces import IService
from exproxy.model import TLS, Facts, Source, User
from exproxy.settings import Networks
from protocols.http.client_certificate import certificate_fields
from protocols.http.credentials import basic_user
from protocols.http.edits import (
    REQUEST_LINE,
    REQUEST_NAME,
    Origin,
    forward_request,
    request_line,
    request_name,
    request_rest,
)
from protocols.http.head import RequestHead

# request_line, request_rest and request_name in one.
_FORWARDED = REQUEST_LINE + b"%b" + REQUEST_NAME + b"\r\n"


@dataclass(frozen=True, slots=True)
class Scheme:
    """A fact: what the client itself speaks, ``http`` or ``https``, whoever ended its TLS."""

    name: str


class Peer:
    """The client of one connection.

    ``origin`` is what its requests tell the backend of it. Where it is one of the service's
    ``trusted-proxies``, what it says of the client behind it is believed, request by request.
    """

    __slots__ = ("_cookies", "_facts", "_networks", "origin")

    def __init__(
        self, facts: Facts, service: IService, without_cookies: frozenset[bytes] = frozenset()
    ) -> None:
        """``without_cookies``: names of the cookies that never reach a backend."""
        host = facts[Source].host
        scheme = "https" if TLS in facts else "http"
        self._networks: Networks = service.trusted_proxies
        self._facts = facts.plus(Scheme(scheme))
        self._cookies = without_cookies
        tls = facts.get(TLS)
        self.origin = Origin(
            host,
            scheme,
            host in self._networks,
            service.host_name.encode("ascii", "replace"),
            certificate_fields(tls.certificate if tls is not None else None),
        )

    def facts(self, head: RequestHead, *known: object) -> Facts:
        """What is known when a backend has to be chosen for this request; ``known``: facts beside."""
        user = basic_user(head)
        if user is None and not self.origin.trusted:
            return self._facts.plus(head, *known)
        told: list[object] = [head, *known] if user is None else [head, *known, User(user)]
        if not self.origin.trusted:
            return self._facts.plus(*told)
        host = last_untrusted(head.values(b"x-forwarded-for"), self._networks)
        if host is not None:
            told.append(Source(host))
        proto = (head.get(b"x-forwarded-proto") or b"").lower()
        if proto in (b"http", b"https"):
            told.append(Scheme(proto.decode("ascii")))
        return self._facts.plus(*told)

    def forwarded(self, head: RequestHead, request_id: bytes, upgrade: bool, expect: bool) -> bytes:
        """The head that goes to the backend; see forward_request."""
        origin = self.origin
        if upgrade or not expect or head.version < (1, 1):
            return forward_request(
                head, origin, request_id, upgrade=upgrade, without_cookies=self._cookies, expect=expect
            )
        # Nearly all: what does not depend on the target is the same for the same field lines.
        known = head.fields.known
        rest = known.get(self)
        if rest is None:
            rest = known[self] = request_rest(head, origin, without_cookies=self._cookies)
        if origin.trusted:
            return request_line(head) + rest + request_name(head, origin, request_id) + b"\r\n"
        return _FORWARDED % (head.method, head.target, rest, request_id)

    def request_id(self, head: RequestHead) -> bytes | None:
        """The id that a trusted proxy gave this request, or None."""
        return (head.get(b"x-request-id") or None) if self.origin.trusted else None


def last_untrusted(values: Sequence[bytes], trusted: Networks) -> str | None:
    """The client in X-Forwarded-For: read from the right, the first address that is no proxy of ours.

    Where all of them are, the leftmost; None where the rightmost member is no address.
    """
    found = None
    for member in reversed(b",".join(values).split(b",")):
        host = _address(member)
        if host is None:
            return found
        found = host
        if host not in trusted:
            return found
    return found


def _address(member: bytes) -> str | None:
    """The IP address of ``192.0.2.1``, ``192.0.2.1:80``, ``2001:db8::1`` or ``[2001:db8::1]:80``."""
    text = member.strip(b'\t "').decode("latin-1")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
