"""One epoll object that owns every relayed socket, and is one reader in Twisted's reactor.

A nested, edge-triggered epoll makes a relay cost what its system calls cost: sockets are registered once,
for everything, and one turn of the reactor serves all that are ready.
"""

from __future__ import annotations

import select
import socket
from typing import Any

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from exproxy.relay.flow import BULK_READ, Flow
from exproxy.relay.pipes import Pipes
from exproxy.relay.sweep import Sweep

# Sockets served in one turn of the reactor, and the bytes after which the rest of them wait for the next
# one: other things of the reactor (new clients, TLS, timers) wait no longer than that takes.
EVENTS = 256
TURN = 16 * 1024 * 1024

# Linux's numbers, since other systems' select has no such names.
_IN, _PRI, _OUT, _ERR, _HUP, _RDHUP, _ET = 0x1, 0x2, 0x4, 0x8, 0x10, 0x2000, 1 << 31
_ALL = _IN | _PRI | _OUT | _RDHUP | _ET
# A read that brings less than was asked for leaves nothing behind, but for an end, an error, and urgent
# data, at whose mark reads stop.
_REST = _ERR | _HUP | _RDHUP | _PRI
_BROKEN = _ERR | _HUP


def poller(reactor: Any, sweep: Sweep) -> Poller | None:
    """A poller for this reactor; None where the system has no epoll, or the reactor takes no descriptors."""
    if not hasattr(select, "epoll") or not IReactorFDSet.providedBy(reactor):
        return None
    return Poller(reactor, sweep)


@implementer(IReadDescriptor)
class Poller:
    """Owns the sockets of all fast relays. ``buffer`` is shared by all; ``share`` is what is left of the
    turn (bytes), ``now`` the sweep's clock in this turn; ``pipes`` are for splicing.

    It is in the reactor only while there is something to relay, and opens its epoll object when first
    needed, since a process may fork before (twistd does).
    """

    log = Logger()

    def __init__(self, reactor: Any, sweep: Sweep, pipes: Pipes | None = None) -> None:
        self.reactor = reactor
        self.sweep = sweep
        self.pipes = Pipes() if pipes is None else pipes
        self.now = 0.0
        self.share = 0
        self.buffer = memoryview(bytearray(BULK_READ))
        # By descriptor: the flow that reads from it, and the one that writes to it.
        self._flows: dict[int, tuple[Flow, Flow]] = {}
        self._epoll: Any = None

    def __len__(self) -> int:
        return len(self._flows)

    def ready(self) -> bool:
        """Whether it can take sockets; False where the system has no descriptor left for it."""
        if self._epoll is None:
            try:
                self._epoll = select.epoll()
            except OSError:
                return False
        return True

    def watch(self, reads: Flow, writes: Flow) -> None:
        """Watch over the socket that one flow reads from and the other writes to. Raises OSError."""
        number = reads.source.fileno()
        self._epoll.register(number, _ALL)
        if not self._flows:
            self.reactor.addReader(self)
        self._flows[number] = reads, writes

    def forget(self, sock: socket.socket) -> None:
        """Do not watch over it any more (closing it takes it out of epoll); idempotent."""
        if self._flows.pop(sock.fileno(), None) is not None and not self._flows:
            self.reactor.removeReader(self)

    def again(self, sock: socket.socket) -> None:
        """There is more, and others come first: the system reports it anew, behind those that wait."""
        self._epoll.modify(sock.fileno(), _ALL)

    def close(self) -> None:
        """Drop all relays, and leave no descriptor open; idempotent. It can be used again."""
        for reads, _ in list(self._flows.values()):
            reads.relay.drop()
        self.pipes.close()
        if self._epoll is not None:
            self._epoll.close()
            self._epoll = None

    # -- IReadDescriptor -------------------------------------------------------------

    def fileno(self) -> int:
        """See IReadDescriptor."""
        return -1 if self._epoll is None else int(self._epoll.fileno())

    def logPrefix(self) -> str:
        """See ILoggingContext."""
        return "relay"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is at its end."""
        self.close()

    def doRead(self) -> None:
        """Serve the sockets for which something has changed."""
        self.now = self.sweep.clock.seconds()
        self.share = TURN
        flows = self._flows
        for number, events in self._epoll.poll(0, EVENTS):
            pair = flows.get(number)
            if pair is None:
                continue
            if self.share <= 0:
                self.again(pair[0].source)
                continue
            try:
                self._serve(pair[0], pair[1], events)
            except Exception:
                self.log.failure("a relay failed")
                pair[0].relay.cut("internal error")

    def _serve(self, reads: Flow, writes: Flow, events: int) -> None:
        # Events are hints (one of them may be for a socket of the same number that is closed by now):
        # only what the calls themselves say counts.
        if events & _REST:
            reads.thorough = True
        if writes.blocked and events & _OUT:
            writes.move(self)
        if reads.done:
            if events & _BROKEN:
                reads.relay.lost(reads.side)
        elif events != _OUT and not reads.blocked:
            reads.move(self)
