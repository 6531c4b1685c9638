"""The HTTP of the administration, by twisted.web: bounded in bytes, connections and time."""

# mypy: allow-untyped-calls, disallow-subclassing-any=False
from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, HTTPFactory, Request

from exproxy.admin.api.limits import Limits


class AdminRequest(Request):
    """Keeps no more of a body than is allowed; hands itself over when all is there."""

    def __init__(self, channel: Any, queued: Any = False) -> None:
        # Forms are not taken, so they are not parsed either.
        super().__init__(channel, queued, parsePOSTFormSubmission=False)

    def gotLength(self, length: int | None) -> None:
        """See Request. The body stays in memory: it is small."""
        self.kept = io.BytesIO()
        self.content = self.kept
        self._length = 0

    def handleContentChunk(self, data: bytes) -> None:
        """See Request. What is too much is dropped; the answer says so."""
        self._length += len(data)
        if not self.too_large:
            self.kept.write(data)

    @property
    def too_large(self) -> bool:
        """The body is longer than `body` allows, and was not kept."""
        return bool(self._length > self.channel.factory.limits.body)

    def process(self) -> None:
        """See Request."""
        self.channel.factory.answer(self)


class AdminChannel(HTTPChannel):
    """Has a request within `request` seconds of its first byte, or closes."""

    requestFactory: Any = AdminRequest
    _late: IDelayedCall | None = None

    def dataReceived(self, data: bytes) -> None:
        """See Protocol."""
        if not self.requests:
            self._begin()
        super().dataReceived(data)

    def allContentReceived(self) -> None:
        """See HTTPChannel: the request is whole."""
        self._whole()
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """See HTTPChannel: the next one may be here in part."""
        super().requestDone(request)
        if self.requests and not self._handlingRequest:
            self._begin()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See Protocol."""
        self._whole()
        super().connectionLost(reason)
        self.factory.gone(self)

    def _begin(self) -> None:
        if self._late is None:
            self._late = self.callLater(self.factory.limits.request, self._slow)

    def _whole(self) -> None:
        late, self._late = self._late, None
        if late is not None and late.active():
            late.cancel()

    def _slow(self) -> None:
        self._late = None
        self.forceAbortClient()


class AdminFactory(HTTPFactory):
    """Makes channels for one door, so many at a time; ``answer(request)`` hears of each request."""

    noisy = False
    # Without Twisted's wrapper that chooses between HTTP/1.1 and HTTP/2: there is only the first.
    protocol: Any = AdminChannel

    def __init__(self, reactor: Any, limits: Limits, answer: Callable[[AdminRequest], None]) -> None:
        super().__init__(timeout=limits.idle, reactor=reactor)
        self.limits = limits
        self.answer = answer
        self.channels: set[AdminChannel] = set()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """See Factory; None, which closes the connection, where there are too many."""
        if len(self.channels) >= self.limits.connections:
            return None
        channel: Any = super().buildProtocol(addr)
        self.channels.add(channel)
        return channel

    def gone(self, channel: AdminChannel) -> None:
        """A connection is over."""
        self.channels.discard(channel)

    def cut(self) -> None:
        """End all connections; what was written still goes out."""
        for channel in list(self.channels):
            channel.loseConnection()

    def log(self, request: Any) -> None:
        """See HTTPFactory: no access log; changes are audited elsewhere."""
