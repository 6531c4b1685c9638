"""One client connection: performs what its conversation asks for, and owns links and leases.

The conversation is pure; whatever it could get wrong about transports is got right here: bytes that
come too early are held, both sides are slowed to each other's pace, every lease comes back, the
client of a dead server is not left waiting, and one access-log record says what happened.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from zope.interface import implementer

from exproxy import actions, events
from exproxy.deadlines import Deadlines
from exproxy.end import End
from exproxy.farewell import LINGERING_READ
from exproxy.interfaces import IBackend, IConversation, IWire, IWireUser
from exproxy.links import LINGER, Links
from exproxy.model import BACKEND, CLIENT, TLS, Destination, Facts, Side
from exproxy.performing import PERFORM, handshake_of, start_tls
from exproxy.record import AccessRecord
from exproxy.relay import BoundedRelay, Relay
from exproxy.wire import Wire

if TYPE_CHECKING:
    from exproxy.dispatch import Attempts
    from exproxy.virtual import VirtualService


@implementer(IWireUser)
class Session:
    """See the module. ``client``, ``links`` and ``record`` are for reading by others."""

    def __init__(self, service: VirtualService, wire: Wire, conversation: IConversation) -> None:
        self.service = service
        self.client = End(wire, CLIENT, service.limits.max_held)
        self.links = Links(service, self)
        self.record = AccessRecord(service, wire.peer, wire.via)
        self._ends: dict[IWire, End] = {wire: self.client}
        self._conversation = conversation
        # Its service gives it one of its own.
        self.number, self.began = 0, service.clock.seconds()
        self.relay: Relay | None = None
        self.bounded: dict[Side, BoundedRelay] = {}
        self.deadlines = Deadlines(service.clock, self._deadline)
        # What the conversation has not heard yet; an End stands for what is held there at its turn.
        self._queue: deque[events.Event | End] = deque()
        self._telling = False
        self.closing = False
        self._over = False
        self._parted = False
        self._progress: list[int] = []

    def __repr__(self) -> str:
        state = "over" if self._over else "closing" if self.closing else "relaying" if self.relay else "open"
        return f"<Session {self.service.name} {state} {self.client!r} links={list(self.links)!r}>"

    # -- for those who look on -----------------------------------------------------------

    @property
    def state(self) -> str:
        """A word for people: open, relaying, closing."""
        return "closing" if self.closing else "relaying" if self.relay is not None else "open"

    @property
    def local(self) -> Destination:
        """Where the client came to."""
        local: Destination = self.client.wire.local
        return local

    @property
    def tls(self) -> TLS | None:
        """What the handshake with the client agreed upon, None without TLS."""
        tls: TLS | None = self.client.wire.tls
        return tls

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes from and to the client."""
        relayed = self.relay.counts if self.relay is not None else {CLIENT: 0, BACKEND: 0}
        return self.client.received + relayed[CLIENT], self.client.sent + relayed[BACKEND]

    @property
    def backends(self) -> tuple[IBackend, ...]:
        """Those that it has links to, the one in use first."""
        ends = sorted(self.links, key=lambda end: end is not self.links.current)
        return tuple(end.lease.backend for end in ends if end.lease is not None)

    @property
    def asked(self) -> Attempts | None:
        """The latest choice, whatever became of it; None before the first."""
        return self.links.asked

    @property
    def pinned(self) -> str | None:
        """The server that it stays with while its connection there lasts."""
        return self.links.pinned.server if self.links.pinned is not None else None

    # -- life ------------------------------------------------------------------------

    def begin(self) -> None:
        """The connection is there: TLS first where the port ends it, then the conversation begins."""
        wire = self.client.wire
        self.service.opened(self)
        wire.attach(self)
        if self.service.port_tls(wire.local.listening) == "implicit":
            start_tls(self, actions.StartTLS(CLIENT))
        else:
            self.tell(events.Began(self._facts()))

    def drain(self, until: float) -> None:
        """The service is being emptied: the conversation may say so; a relayed connection goes on."""
        if self.relay is None and not self.closing:
            self.tell(events.Draining(until))

    def cut(self, reason: str) -> None:
        """Drop everything now."""
        if self._over:
            return
        self.record.ended_by(reason)
        self.closing = True
        self._queue.clear()
        self.links.cancel()
        if self.relay is not None:
            # Its wires may have no sockets any more.
            self.relay.cut(reason)
        for end in list(self._ends.values()):
            end.wire.abort()
            # A wire that is not read does not tell of its end.
            end.wire.resume()

    def _facts(self) -> Facts:
        wire = self.client.wire
        facts = Facts(wire.peer, wire.local)
        return facts.plus(wire.tls) if wire.tls is not None else facts

    def close(self, reason: str) -> None:
        """The polite end: what was written goes out, then everything is closed."""
        if self.closing:
            return
        if self.relay is not None:
            self.cut(reason)
            return
        self.record.ended_by(reason)
        self.closing = True
        self._queue.clear()
        self.links.cancel()
        self.deadlines.clear()
        self._progress = [end.wire.acknowledged() for end in self._ends.values()]
        self.deadlines.set("linger", LINGER)
        for end in list(self._ends.values()):
            end.held.clear()
            end.stops.clear()
            end.wire.resume()
            if end is self.client and end.wire.tls is None and not end.ended and not end.gone:
                end.wire.close(half=True)
                self.deadlines.set("lingering-read", LINGERING_READ)
            else:
                end.wire.close()
        self._maybe_over()

    def _maybe_over(self) -> None:
        if self._ends or self._over or not self.closing or self._telling:
            return
        self._over = True
        self.deadlines.clear()
        self._queue.clear()
        self._part()
        try:
            self.record.write(*self.moved, final=True)
        finally:
            self.service.closed(self)

    def _part(self) -> None:
        """The conversation hears of the end, whoever brought it about; only its words for the log count."""
        if self._parted:
            return
        self._parted = True
        try:
            for action in self._conversation.handle(events.Lost(CLIENT, self.record.reason or "closed")):
                if isinstance(action, (actions.Record, actions.Count)):
                    PERFORM[type(action)](self, action)
        except Exception:
            self.service.log.failure("{session} failed at its end", session=self)

    # -- IWireUser -------------------------------------------------------------------

    def received(self, wire: IWire, data: bytes) -> None:
        """Bytes of either side: told, held, or (after the end) dropped."""
        end = self._ends[wire]
        end.received += len(data)
        if self.closing or end.closing:
            return
        if end.holds or end.held or self._telling:
            end.keep(data)
            self.unhold(end)
        else:
            self.tell(events.Data(end.side, data, end.link))

    def ended(self, wire: IWire) -> None:
        """A half-close."""
        end = self._ends[wire]
        end.ended = True
        if not self.closing:
            end.unheard_end = True
            self.unhold(end)
        elif end is self.client:
            wire.close()

    def lost(self, wire: IWire, reason: str) -> None:
        """A wire is gone for good."""
        end = self._ends.pop(wire, None)
        if end is None:
            # A link that was left before the relay began, and survived it.
            return
        end.gone = True
        end.release()
        if end is self.client:
            self._client_lost(reason)
        else:
            self._link_lost(end, reason)
        self._maybe_over()

    def secured(self, wire: IWire, tls: TLS) -> None:
        """A handshake is done."""
        end = self._ends[wire]
        end.holds.discard("tls")
        self.deadlines.set(handshake_of(end.side), None)
        if end is self.client and not self.record.secured:
            self.record.handshake_done(tls)
            if self.service.port_tls(wire.local.listening) == "implicit":
                self.tell(events.Began(self._facts()))
                return
        self.tell(events.Secured(end.side, tls, end.link))
        self.unhold(end)

    def filled(self, wire: IWire) -> None:
        """That wire's queue is long: stop whoever feeds it."""
        if wire is self.client.wire:
            for end in self.links:
                end.stop("full")
        else:
            self.client.stop("full")

    def drained(self, wire: IWire) -> None:
        """That wire's queue is short again."""
        if wire is self.client.wire:
            for end in self.links:
                end.go("full")
        elif not self.links.full():
            self.client.go("full")

    def took(self, end: End) -> None:
        """A new link is there, and Connected is told next: hear of it from now on."""
        self._ends[end.wire] = end
        if getattr(self.client.wire, "full", False):
            end.stop("full")
        end.wire.attach(self)

    def _client_lost(self, reason: str) -> None:
        self.record.ended_by("client closed" if reason == "closed" else f"client lost: {reason}")
        self.bounded.pop(CLIENT, None)
        if not self.closing:
            self.links.cancel()
            self._queue.clear()
            if not self._telling:
                self._parted = True
                self.tell(events.Lost(CLIENT, reason))
        self.close("client closed")

    def _link_lost(self, end: End, reason: str) -> None:
        pinned = end.link is not None and end.link is self.links.pinned
        self.links.forget(end)
        self.bounded.pop(BACKEND, None)
        if not self.links.full():
            self.client.go("full")
        if self.closing or end.closing:
            return
        if end.held:
            self.tell(events.Data(BACKEND, end.take(), end.link))
        self.tell(events.Lost(BACKEND, reason, end.link))
        if pinned:
            self.close("server closed the pinned connection")

    # -- the conversation ------------------------------------------------------------

    def tell(self, event: events.Event | End) -> None:
        """Let the conversation hear an event, in its turn, and do what it says."""
        queue = self._queue
        if self._telling:
            queue.append(event)
            return
        self._telling = True
        try:
            while True:
                heard = self._held_event(event) if isinstance(event, End) else event
                if heard is not None:
                    for action in self._conversation.handle(heard):
                        PERFORM[type(action)](self, action)
                if not queue:
                    break
                event = queue.popleft()
        except Exception:
            self.service.log.failure("{session} failed", session=self)
            self.cut("internal error")
        finally:
            self._telling = False
        if self.closing:
            self._maybe_over()

    def unhold(self, end: End) -> None:
        """Tell what was held, unless something holds it still."""
        if (end.held or end.unheard_end) and not end.holds and not self.closing:
            self.tell(end)

    def _held_event(self, end: End) -> events.Event | None:
        if end.holds or self.closing or self.relay is not None:
            return None
        if end.held:
            if end.unheard_end:
                self._queue.appendleft(end)
            return events.Data(end.side, end.take(), end.link)
        if end.unheard_end:
            end.unheard_end = False
            return events.Eof(end.side, end.link)
        return None

    def _deadline(self, name: str) -> None:
        if name == "linger":
            self._linger()
        elif self.links.overdue(name):
            return
        elif name == "lingering-read":
            self.client.wire.close()
        elif name == "tls-handshake":
            self.cut("TLS handshake timed out")
        elif name == handshake_of(BACKEND):
            # Whoever asked for it hears Lost, and may try another server.
            if self.links.current is not None:
                self.links.current.wire.abort()
        elif not self.closing:
            self.tell(events.Deadline(name))

    def _linger(self) -> None:
        """A slow reader may go on reading; one that does not is dropped."""
        progress = [end.wire.acknowledged() for end in self._ends.values()]
        if progress != self._progress:
            self._progress = progress
            self.deadlines.set("linger", LINGER)
            return
        for end in list(self._ends.values()):
            end.wire.abort()

    # -- RelayUser -------------------------------------------------------------------

    def finished(self, side: Side | None, reason: str) -> None:
        """The endless relay is over: both wires are gone."""
        if side is None:
            self.record.ended_by(reason)
        else:
            self.record.ended_by(f"{side.value} {'closed' if reason == 'closed' else 'lost: ' + reason}")
        self.closing = True
        for end in list(self._ends.values()):
            end.gone = True
            end.release()
            self.links.forget(end)
        self._ends.clear()
        self._maybe_over()
