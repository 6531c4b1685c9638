"""TLS sessions with the servers, kept so that the next connection costs neither side a whole handshake.

A session carries the verification of the handshake that began it: OpenSSL asks for no certificate when
it is resumed. So sessions are kept by whoever verifies in one way for one name (ClientTLS), and for so long
only; then a server has to show its certificate again, whatever tickets it has given since.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from OpenSSL import SSL

# Seconds after which a certificate is asked for again.
LIFETIME = 3600.0
# Sessions kept with one address and port: as many connections as begin there at the same moment.
PER_PEER = 32
# Addresses and ports; a server has few.
PEERS = 16


@dataclass(frozen=True, slots=True)
class Kept:
    """A session; ``verified``: when its certificate was seen (the clock's seconds)."""

    session: SSL.Session
    verified: float


class Sessions:
    """Sessions by peer. One is used once: RFC 8446 C.4, so that nobody on the way can tell one client's
    connections from the others'; each connection brings a new one."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        """``seconds()`` is a clock."""
        self._seconds = seconds
        self._kept: dict[Hashable, list[Kept]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def take(self, peer: Hashable) -> Kept | None:
        """The newest with that peer, which is forgotten; None where there is none."""
        kept = self._kept.get(peer)
        if not kept:
            return None
        newest = kept.pop()
        if self._seconds() - newest.verified < LIFETIME:
            return newest
        # It is not said that the newest ticket has the newest verification, but one full handshake renews it.
        kept.clear()
        return None

    def keep(self, peer: Hashable, session: SSL.Session, verified: float | None = None) -> None:
        """Keep one. ``verified``: as it was for the session that it was resumed from; None: just now."""
        kept = self._kept.pop(peer, None)
        if kept is None:
            kept = []
            if len(self._kept) >= PEERS:
                del self._kept[next(iter(self._kept))]
        elif len(kept) >= PER_PEER:
            del kept[0]
        # Peers in the order of their last session: the first is the one to be forgotten.
        self._kept[peer] = kept
        kept.append(Kept(session, self._seconds() if verified is None else verified))

    def refuse(self, peer: Hashable) -> None:
        """The peer did not know one of them: it will know no other."""
        self._kept.pop(peer, None)
