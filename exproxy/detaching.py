"""Taking a plain TCP socket out of its Twisted transport; what is private to Twisted is touched here only.

A transport without its socket is what Twisted's own ``connectionLost`` leaves behind: marked as
disconnected, out of the reactor, no socket, no protocol. Every public call does nothing then, and so do
the calls that the reactor still makes where the socket is taken in the middle of a read.
"""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

from twisted.internet import tcp

# What is read and written below. Where a Twisted has other names, sockets stay where they are.
_NEEDED = (
    "_tempDataBuffer",
    "_tempDataLen",
    "_writeDisconnecting",
    "_aborting",
    "TLS",
    "connected",
    "dataBuffer",
    "disconnecting",
    "offset",
    "producer",
    "protocol",
    "socket",
)


class Detached(NamedTuple):
    """A socket that its transport has forgotten, with the bytes still under way on our side.

    ``unread`` were received and told nobody; ``unsent`` were written and are not with the system yet.
    ``watched``: the socket is in a poller's epoll object, and nobody is served for it now. Then ``ready``
    says whether there may be something to read that epoll has reported already, and ``thorough`` that
    reads must go on until nothing comes.
    """

    socket: socket.socket
    unread: bytes
    unsent: bytes
    watched: bool = False
    ready: bool = False
    thorough: bool = False


def detachable(transport: Any) -> bool:
    """Whether detach() will do: a plain TCP connection that nobody has begun to close."""
    return (
        isinstance(transport, (tcp.Server, tcp.Client))
        and all(hasattr(transport, name) for name in _NEEDED)
        and bool(transport.connected)
        and not (
            transport.TLS or transport.disconnecting or transport._writeDisconnecting or transport._aborting
        )
    )


def detach(transport: Any) -> Detached:
    """Its socket, and what was written and is not sent; only where detachable() says so.

    The transport calls nobody afterwards, not even connectionLost.
    """
    transport.stopReading()
    transport.stopWriting()
    unsent = b"".join((memoryview(transport.dataBuffer)[transport.offset :], *transport._tempDataBuffer))
    transport.dataBuffer, transport.offset = b"", 0
    transport._tempDataBuffer, transport._tempDataLen = [], 0
    transport.producer = None
    transport.connected, transport.disconnected = 0, 1
    # The reactor may be in the middle of this transport's turn, and write when it has read.
    transport.doRead = transport.doWrite = _nothing
    sock: socket.socket = transport.socket
    del transport.socket, transport.fileno, transport.protocol
    connector = transport.__dict__.pop("connector", None)
    if connector is not None:
        # Each of the two keeps the other.
        connector.state, connector.transport = "disconnected", None
    return Detached(sock, b"", unsent)


def _nothing() -> None:
    """A read or a write of a transport that has no socket."""
