"""Two wires joined: bytes move, nothing is parsed.

:func:`join` (to the very end) and :func:`lend` (so many bytes of one side) are the whole interface;
what does the moving is behind them: sockets in an epoll object of their own where both wires give
theirs up, and copying from wire to wire everywhere else (TLS, systems without epoll). What is lent between
two plain streams passes in the kernel, the source's socket staying where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from exproxy.interfaces import IWire, IWireUser
from exproxy.model import BACKEND, CLIENT, Side
from exproxy.relay.bounded import BoundedRelay
from exproxy.relay.copying import CopyingRelay
from exproxy.relay.joined import Relay, RelayUser
from exproxy.relay.lending import StreamLoan
from exproxy.relay.sockets import SocketRelay
from exproxy.relay.sweep import Sweep
from exproxy.stream import Stream

if TYPE_CHECKING:
    from exproxy.poller import Poller

__all__ = ["BoundedRelay", "Relay", "RelayUser", "Sweep", "join", "lend"]


def join(
    client: IWire,
    backend: IWire,
    user: RelayUser,
    sweep: Sweep,
    *,
    idle: float,
    ended: Collection[Side] = (),
    poller: Poller | None = None,
) -> Relay:
    """Join two wires for good; whatever they had received already is moved first.

    ``idle``: seconds without a byte in either direction, then both are dropped. ``ended``: the sides
    whose end the wire has told already. ``poller``: who moves plain TCP; None copies everything. Its
    ``sweep`` is the one that is given.
    """
    if poller is not None and client.detachable and backend.detachable and poller.ready():
        here, there = client.detach(), backend.detach()
        fast = SocketRelay(here, there, user, poller, idle)
        fast.start(here, there)
        return fast
    wires = {CLIENT: client, BACKEND: backend}
    relay = CopyingRelay(wires, user, sweep, idle)
    for side in ended:
        if not relay.has_lost(side):
            relay.ended(wires[side])
    return relay


def lend(
    source: IWire, sink: IWire, limit: int, heir: IWireUser, done: Callable[[int], None]
) -> BoundedRelay:
    """Move ``limit`` bytes (above 0) from ``source`` to ``sink``, then give ``source`` to ``heir``."""
    if limit <= 0:
        raise ValueError("a bounded relay moves at least one byte")
    if source.detachable and sink.detachable:
        streams = getattr(source, "transport", None), getattr(sink, "transport", None)
        if isinstance(streams[0], Stream) and isinstance(streams[1], Stream):
            return StreamLoan(source, sink, limit, heir, done, (streams[0], streams[1]))
    return BoundedRelay(source, sink, limit, heir, done)
