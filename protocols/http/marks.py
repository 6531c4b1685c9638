"""The cookie by which a persistence strategy knows a client again, as HTTP carries it (RFC 6265)."""

from __future__ import annotations

from exproxy.interfaces import IMarker
from exproxy.model import Facts
from protocols.http.head import ResponseHead


class Marks:
    """``cookies``: names of the cookies that are ours and never reach a backend."""

    __slots__ = ("_marker", "cookies")

    def __init__(self, marker: IMarker | None) -> None:
        self._marker = marker
        self.cookies: frozenset[bytes] = frozenset(() if marker is None else (marker.cookie,))

    def fields(self, facts: Facts, head: ResponseHead, server: str) -> list[tuple[bytes, bytes]]:
        """What the answer brings besides its own: our cookie, where the client needs one.

        No cache may then give that answer to others, who would all be sent to the same server.
        """
        value = None if self._marker is None else self._marker.mark(facts, server)
        if value is None:
            return []
        fields = [(b"Set-Cookie", value)]
        cached = b", ".join(head.values(b"cache-control")).lower()
        if b"private" not in cached and b"no-store" not in cached:
            fields.append((b"Cache-Control", b"private"))
        return fields
