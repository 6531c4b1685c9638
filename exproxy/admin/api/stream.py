"""Server-sent events (WHATWG HTML 9.2): one stream for each reader, with all that changes in it.

``status`` every two seconds, ``event`` for each line of the event log (its number is the id, so that a
reader who comes back misses nothing), ``history`` with the newest step. A reader who does not read is
dropped, not waited for.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from exproxy.admin.api.later import later
from exproxy.admin.api.limits import Limits
from exproxy.admin.api.openapi import adapter
from exproxy.admin.plane import IPlane
from exproxy.admin.rows import Event, History
from exproxy.admin.status import Status

# What a browser waits before it comes back, milliseconds.
RETRY = b"retry: 3000\n\n"


def message(kind: str, data: bytes, number: int | None = None) -> bytes:
    """One event of the stream; ``data`` is JSON, which has no line end of its own."""
    mark = b"id: %d\n" % number if number is not None else b""
    return b"%sevent: %s\ndata: %s\n\n" % (mark, kind.encode("ascii"), data)


@implementer(IPushProducer)
class Reader:
    """One client of the stream. Of ``status`` and ``history`` only the latest waits for it."""

    def __init__(self, request: Any, limits: Limits, clock: Any, gone: Callable[[Reader], None]) -> None:
        self._request = request
        self._limits = limits
        self._clock = clock
        self._gone = gone
        self._latest: dict[str, bytes] = {}
        self._events: deque[bytes] = deque()
        self._paused_at: float | None = None
        self.open = True

    def begin(self) -> None:
        """Write the head; from now on it is paused and resumed by the transport."""
        self._request.notifyFinish().addBoth(lambda _: self._over())
        self._request.registerProducer(self, True)
        self._request.write(RETRY)

    def send(self, kind: str, data: bytes, number: int | None = None) -> None:
        """Write it, or keep it while the reader is slow; drop the reader where that is too much."""
        whole = message(kind, data, number)
        if not self.open:
            return
        if self._paused_at is None:
            self._request.write(whole)
        elif kind == "event":
            self._events.append(whole)
        else:
            self._latest[kind] = whole
        if len(self._events) > self._limits.backlog or self.stalled:
            self.drop()

    @property
    def stalled(self) -> bool:
        """It has read nothing for too long."""
        paused = self._paused_at
        return paused is not None and self._clock.seconds() - paused >= self._limits.stalled

    def drop(self) -> None:
        """Cut it off."""
        if self.open:
            self._over()
            self._request.channel.transport.abortConnection()

    def end(self) -> None:
        """The polite end."""
        if self.open:
            self._request.unregisterProducer()
            self._over()
            self._request.finish()

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        if self._paused_at is None:
            self._paused_at = self._clock.seconds()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._paused_at = None
        while self._paused_at is None and self.open and (self._events or self._latest):
            if self._events:
                self._request.write(self._events.popleft())
            else:
                self._request.write(self._latest.pop(next(iter(self._latest))))

    def stopProducing(self) -> None:
        """See IPushProducer: the connection is gone."""
        self._over()

    def _over(self) -> None:
        if self.open:
            self.open = False
            self._events.clear()
            self._latest.clear()
            self._gone(self)


class Hub:
    """Asks the plane once for all readers, and only while there are any."""

    log = Logger()

    def __init__(self, plane: IPlane, reactor: Any, limits: Limits) -> None:
        self._plane = plane
        self._reactor = reactor
        self._limits = limits
        self.readers: list[Reader] = []
        self._turns = LoopingCall(self._turn)
        self._turns.clock = reactor
        self._unwatch: Callable[[], None] | None = None

    def add(self, request: Any, since: int | None) -> Deferred[None]:
        """A new reader, whose request's head is set. ``since``: the number of the last event that it knows,
        None: it wants only what comes. Fires when the first status is written; never fails."""
        reader = Reader(request, self._limits, self._reactor, self._remove)
        self.readers.append(reader)
        reader.begin()
        if not self._turns.running:
            self._unwatch = self._plane.watch_events(self._heard)
            self._turns.start(self._limits.step, now=False)
        return Deferred.fromCoroutine(self._welcome(reader, since))

    def close(self) -> None:
        """End all streams."""
        for reader in list(self.readers):
            reader.end()

    async def _welcome(self, reader: Reader, since: int | None) -> None:
        try:
            if since is not None:
                for event in await later(self._plane.events(since=since)):
                    reader.send("event", adapter(Event).dump_json(event), event.number)
            status = await later(self._plane.status())
            reader.send("status", adapter(Status).dump_json(status))
        except Exception:
            self.log.failure("a stream of events cannot begin")
            reader.end()

    def _remove(self, reader: Reader) -> None:
        self.readers.remove(reader)
        if not self.readers and self._turns.running:
            self._turns.stop()
            unwatch, self._unwatch = self._unwatch, None
            if unwatch is not None:
                unwatch()

    def _heard(self, event: Event) -> None:
        data = adapter(Event).dump_json(event)
        for reader in list(self.readers):
            reader.send("event", data, event.number)

    def _turn(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._tell())

    async def _tell(self) -> None:
        try:
            status = adapter(Status).dump_json(await later(self._plane.status()))
            past = await later(self._plane.history(seconds=self._limits.step))
            history = adapter(History).dump_json(past)
        except Exception:
            # The next turn may go well again.
            self.log.failure("a stream of events missed a status")
            return
        for reader in list(self.readers):
            reader.send("status", status)
            reader.send("history", history)
