"""What exproxy adds to an answer: the cookie by which a persistence strategy knows a client again
(RFC 6265), and the word that this host is to be asked over TLS only (RFC 6797)."""

from __future__ import annotations

from exproxy.interfaces import IMarker, IService
from exproxy.model import Facts
from protocols.http.head import ResponseHead


class Marks:
    """``cookies``: names of the cookies that are ours and never reach a backend."""

    __slots__ = ("_hsts", "_markers", "_strict", "cookies")

    def __init__(self, service: IService) -> None:
        targets: tuple[str | None, ...] = (None, *(route.name for route in service.routes))
        found = {target: service.marker(target) for target in targets}
        self._markers: dict[str | None, IMarker] = {
            target: marker for target, marker in found.items() if marker is not None
        }
        self._hsts: bytes | None = service.hsts
        self._strict = (b"Strict-Transport-Security", self._hsts or b"")
        self.cookies: frozenset[bytes] = frozenset(marker.cookie for marker in self._markers.values())

    def fields(
        self, facts: Facts, head: ResponseHead, server: str, target: str | None = None
    ) -> list[tuple[bytes, bytes]]:
        """What the answer brings besides its own: our cookie, where the client needs one.

        No cache may then give that answer to others, who would all be sent to the same server. Where
        the server says its own Strict-Transport-Security that stays: only the first would count.
        """
        marker = self._markers.get(target)
        value = None if marker is None else marker.mark(facts, server)
        strict = self._hsts is not None and head.get(b"strict-transport-security") is None
        if value is None:
            return [self._strict] if strict else []
        fields = [*([self._strict] if strict else []), (b"Set-Cookie", value)]
        cached = b", ".join(head.values(b"cache-control")).lower()
        if b"private" not in cached and b"no-store" not in cached:
            fields.append((b"Cache-Control", b"private"))
        return fields
