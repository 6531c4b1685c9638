"""Two wires joined: bytes move, nothing is parsed.

:func:`join` (to the very end) and :func:`lend` (so many bytes of one side) are the whole interface;
what does the moving is behind them.
"""

from __future__ import annotations

from collections.abc import Callable

from exproxy.interfaces import IWire, IWireUser
from exproxy.model import BACKEND, CLIENT
from exproxy.relay.bounded import BoundedRelay
from exproxy.relay.copying import Relay, RelayUser
from exproxy.relay.sweep import Sweep

__all__ = ["BoundedRelay", "Relay", "RelayUser", "Sweep", "join", "lend"]


def join(client: IWire, backend: IWire, user: RelayUser, sweep: Sweep, *, idle: float) -> Relay:
    """Join two wires for good; whatever they had received already is moved first.

    ``idle``: seconds without a byte in either direction, then both are dropped.
    """
    return Relay({CLIENT: client, BACKEND: backend}, user, sweep, idle)


def lend(
    source: IWire, sink: IWire, limit: int, heir: IWireUser, done: Callable[[int], None]
) -> BoundedRelay:
    """Move ``limit`` bytes (above 0) from ``source`` to ``sink``, then give ``source`` to ``heir``."""
    if limit <= 0:
        raise ValueError("a bounded relay moves at least one byte")
    return BoundedRelay(source, sink, limit, heir, done)
