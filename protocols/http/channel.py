"""One half of a virtual connection of RPC over HTTP, as its request shows it (MS-RPCH 2.1.2)."""

from __future__ import annotations

from exproxy.model import Facts, Source, Together
from protocols.http.framing import Kind
from protocols.http.head import RequestHead
from protocols.http.rts import METHODS, OPENING, virtual_connection


class Channel:
    """What an RPC_IN_DATA or RPC_OUT_DATA request belongs to.

    ``carries``: its body is long enough for the first packet; an echo (0 to 16 bytes) or the leg of a
    log-in is not, and goes by the client's address, so that both halves begin on one server.
    """

    __slots__ = ("_chosen", "_opening", "_told", "carries", "cookie")

    def __init__(self, head: RequestHead) -> None:
        framing = head.framing
        self.carries = framing.kind is Kind.LENGTH and framing.length >= OPENING
        self.cookie: bytes | None = None
        self._opening = b""
        self._chosen = False
        self._told = False

    @property
    def opened(self) -> bool:
        """Whether all has come that tells of its virtual connection."""
        return not self.carries or len(self._opening) >= OPENING

    def feed(self, data: bytes) -> None:
        """More of its body, in order."""
        if not self.opened:
            self._opening += data[: OPENING - len(self._opening)]
            self.cookie = virtual_connection(self._opening)

    def choose(self, facts: Facts) -> Facts:
        """The facts to choose its server by, with what is known of it now."""
        self._chosen = self.cookie is not None
        if self.cookie is not None:
            return facts.plus(Together("rpc", self.cookie))
        host = facts[Source].host.encode("ascii", "replace")
        return facts.plus(Together("rpc-source", host, first=False))

    def unheard(self) -> Together | None:
        """What came to be known after the choice, once: to be compared with where the other half is."""
        if self.cookie is None or self._chosen or self._told:
            return None
        self._told = True
        return Together("rpc", self.cookie)


def channel_of(head: RequestHead) -> Channel | None:
    """The channel that the request opens, or None where it is an ordinary one."""
    return Channel(head) if head.method in METHODS else None
