"""One epoll object that owns every hot socket, and is one reader in Twisted's reactor.

Listening, connecting, client and backend sockets and relayed pairs live in it. A nested, edge-triggered
epoll makes a connection cost what its system calls cost: sockets are registered once, for everything, and
one turn of the reactor serves all that are ready, without a transport or a logging context for each event.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from exproxy.alarms import Alarms
from exproxy.readiness import ALL
from exproxy.relay.flow import BULK_READ
from exproxy.relay.pipes import Pipes
from exproxy.relay.sweep import Sweep
from exproxy.tls.handshakes import Handshakes

# Sockets served in one turn of the reactor, and the bytes after which the rest of them wait for the next
# one: other things of the reactor (timers, say) wait no longer than that takes.
EVENTS = 256
TURN = 16 * 1024 * 1024


class Served(Protocol):
    """What lives in a poller: a listening or connecting socket, a stream, one direction of a relay."""

    def serve(self, poller: Poller, events: int) -> None:
        """Something has changed. Events are hints (one of them may be for a socket of the same number that
        is closed by now): only what the calls themselves say counts."""

    def fail(self) -> None:
        """serve() raised, which is a mistake of ours and logged: end this one."""

    def stop(self) -> None:
        """The reactor is at its end: close, and say so now, since it has no next turn."""


def poller(reactor: Any, sweep: Sweep) -> Poller | None:
    """A poller for this reactor; None where the system has no epoll, or the reactor takes no descriptors."""
    if not hasattr(select, "epoll") or not IReactorFDSet.providedBy(reactor):
        return None
    return Poller(reactor, sweep)


@implementer(IReadDescriptor)
class Poller:
    """Owns all hot sockets. ``buffer`` is shared by all; ``share`` is what is left of the turn (bytes),
    ``now`` the sweep's clock in this turn; ``pipes`` are for splicing, ``alarms`` for short waits,
    ``handshakes`` are those of TLS that can go on.

    It is in the reactor only while there is something to serve, and opens its epoll object when first
    needed, since a process may fork before (twistd does).
    """

    log = Logger()

    def __init__(self, reactor: Any, sweep: Sweep, pipes: Pipes | None = None) -> None:
        self.reactor = reactor
        self.sweep = sweep
        self.alarms = Alarms(reactor)
        self.pipes = Pipes() if pipes is None else pipes
        self.handshakes = Handshakes()
        self.now = 0.0
        self.share = 0
        self.buffer = memoryview(bytearray(BULK_READ))
        # By descriptor.
        self._served: dict[int, Served] = {}
        self._epoll: Any = None
        self._serving = False
        self._later: list[Callable[[], None]] = []
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._served)

    def ready(self) -> bool:
        """Whether it can take sockets; False where the system has no descriptor left for it."""
        if self._epoll is None:
            try:
                self._epoll = select.epoll()
            except OSError:
                return False
        return True

    def watch(self, number: int, served: Served, known: bool = False) -> None:
        """Serve the socket of that descriptor from now on; what is there already is news.

        ``known``: it is in epoll, from whoever was served before; what is there is news no more, and
        the caller looks. Raises OSError (Linux's fs.epoll.max_user_watches, or no memory).
        """
        if not known:
            try:
                self._epoll.register(number, ALL)
            except FileExistsError:
                self._epoll.modify(number, ALL)
        if not self._served:
            self.reactor.addReader(self)
        self._served[number] = served

    def forget(self, number: int) -> None:
        """Do not serve it any more (closing it takes it out of epoll); idempotent."""
        if self._served.pop(number, None) is not None and not self._served:
            self.reactor.removeReader(self)

    def serve(self, number: int, events: int) -> None:
        """Serve whoever has that descriptor now with events that were reported to the one before."""
        served = self._served.get(number)
        if served is not None:
            served.serve(self, events)

    def again(self, number: int) -> None:
        """There is more, and others come first: the system reports it anew, behind those that wait."""
        self._epoll.modify(number, ALL)

    def quiet(self, number: int) -> None:
        """Report nothing of it but its end, until again()."""
        self._epoll.modify(number, 0)

    def later(self, call: Callable[[], None]) -> None:
        """Call it when those who are being served have been, outside of all of them; what is put off while
        that is done waits for the reactor's next turn."""
        self._later.append(call)
        if not self._serving and self._call is None:
            self._call = self.reactor.callLater(0, self._run)

    def failed(self, served: Served) -> None:
        """An exception is being handled that came out of serving this one: it is logged, and ends it."""
        self.log.failure("{served} failed", served=served)
        served.fail()

    def close(self) -> None:
        """Drop everything, and leave no descriptor open; idempotent. It can be used again."""
        for served in list(self._served.values()):
            served.stop()
        while self._later:
            self._run()
        self.alarms.close()
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
        return "poller"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is at its end."""
        self.close()

    def doRead(self) -> None:
        """Serve the sockets for which something has changed."""
        self.now = self.sweep.clock.seconds()
        self.share = TURN
        find = self._served.get
        self._serving = True
        for number, events in self._epoll.poll(0, EVENTS):
            served = find(number)
            if served is None:
                continue
            if self.share <= 0:
                self.again(number)
                continue
            try:
                served.serve(self, events)
            except Exception:
                self.failed(served)
        self._serving = False
        if self._later:
            self._run()

    def _run(self) -> None:
        if self._call is not None:
            if self._call.active():
                self._call.cancel()
            self._call = None
            self.now, self.share = self.sweep.clock.seconds(), TURN
        calls, self._later = self._later, []
        for call in calls:
            try:
                call()
            except Exception:
                self.log.failure("{call} failed", call=call)
