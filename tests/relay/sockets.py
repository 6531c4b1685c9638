"""Relays over pairs of connected sockets, served by hand: no reactor turns by itself."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from zope.interface import implementer

from exproxy.detaching import Detached
from exproxy.model import Side
from exproxy.poller import Poller
from exproxy.relay import Sweep
from exproxy.relay.pipes import Pipes
from exproxy.relay.sockets import SocketRelay


@implementer(IReactorFDSet)
class Reactor(Clock):
    """A clock that knows its readers."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)

    addWriter = addReader
    removeWriter = removeReader

    def getReaders(self) -> list[Any]:
        return list(self.readers)

    getWriters = removeAll = getReaders


class Ending:
    """Who started a relay: keeps how it ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[Side | None, str]] = []

    def finished(self, side: Side | None, reason: str) -> None:
        self.ends.append((side, reason))


def tcp() -> tuple[socket.socket, socket.socket]:
    """A TCP connection on loopback, both ends non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    for end in (near, far):
        end.setblocking(False)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


class Hand:
    """A poller whose turns are taken by hand. Everything is closed at the test's end."""

    def __init__(self, test: Any, pipes: Pipes | None = None) -> None:
        self.test = test
        self.reactor = Reactor()
        self.sweep = Sweep(self.reactor)
        self.poller = Poller(self.reactor, self.sweep, pipes)
        test.addCleanup(self.poller.close)
        test.assertTrue(self.poller.ready())

    def relay(
        self, unread: bytes = b"", unsent: bytes = b"", user: Any = None
    ) -> tuple[SocketRelay, Any, socket.socket, socket.socket]:
        """A relay, who started it, and the client's and the backend's far ends."""
        client, client_far = tcp()
        backend, backend_far = tcp()
        self.test.addCleanup(client_far.close)
        self.test.addCleanup(backend_far.close)
        user = user or Ending()
        ends = Detached(client, unread, b""), Detached(backend, b"", unsent)
        relay = SocketRelay(*ends, user, self.poller, 60.0)
        relay.start(*ends)
        return relay, user, client_far, backend_far

    def turn(self, times: int = 3) -> None:
        """Turns of the reactor."""
        for _ in range(times):
            if self.reactor.readers:
                self.poller.doRead()
            self.reactor.advance(0)


def send_all(hand: Hand, source: socket.socket, sink: socket.socket, data: bytes) -> bytes:
    """Send through a relay and read at the other end, as much as goes at a time; what arrived."""
    sent, got = 0, bytearray()
    while len(got) < len(data):
        with suppress(BlockingIOError):
            sent += source.send(data[sent : sent + 300_000])
        hand.turn(1)
        got += read(sink)
    return bytes(got)


def fill(hand: Hand, source: socket.socket) -> int:
    """Send until neither the relay nor the system takes any more; how much they took."""
    sent = idle = 0
    while idle < 5:
        try:
            sent += source.send(b"z" * 300_000)
            idle = 0
        except BlockingIOError:
            idle += 1
        hand.turn(1)
    return sent


def read(sink: socket.socket) -> bytes:
    """What is there; b"" also where nothing is."""
    try:
        return sink.recv(4_000_000)
    except BlockingIOError:
        return b""


def descriptors() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))
