"""Connecting to a backend: TCP, and TLS on top where it is asked for.

Where there is a poller it connects (exproxy.dialling), else Twisted's reactor does; who waits cannot tell.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectBindError, ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import IConnector, IDelayedCall
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from exproxy.dialling import SHORTAGES, Caller, Dial, Introduce
from exproxy.errors import ConnectFailed as ConnectFailed
from exproxy.interfaces import IWire, IWireUser
from exproxy.model import TLS, ClientAddress, Destination, Source
from exproxy.proxy_protocol import build, own
from exproxy.securing import Securing
from exproxy.settings import TcpOptions
from exproxy.socket_options import numbers_of
from exproxy.transparent import transparently
from exproxy.wire import Wire, reason_text

if TYPE_CHECKING:
    from exproxy.poller import Poller


class Connecting(Protocol):
    """A connect under way."""

    def cancel(self) -> None:
        """Give it up; idempotent."""


class Showing(TypedDict):
    """The arguments of connect that have a backend see a client's address."""

    introduce: Introduce | None
    bind: tuple[str, int] | None
    transparent: bool


_UNSHOWN = Showing(introduce=None, bind=None, transparent=False)


def shown(how: ClientAddress, source: Source, destination: Destination) -> Showing:
    """Show the client that comes from ``source`` and reached ``destination``."""
    if how.send_proxy is None and not how.transparent:
        return _UNSHOWN
    introduce: Introduce | None = None
    if how.send_proxy is not None:
        header = build(how.send_proxy, source, destination)
        introduce = lambda wire: header  # noqa: E731
    bind = (source.host, 0) if how.transparent else None
    return Showing(introduce=introduce, bind=bind, transparent=how.transparent)


def as_ourselves(how: ClientAddress) -> Introduce | None:
    """Introduce a connection that is our own, a check."""
    version = how.send_proxy
    if version is None:
        return None
    return lambda wire: own(
        version, Source(wire.local.host, wire.local.port), Destination(wire.peer.host, wire.peer.port)
    )


def begin(
    reactor: Any,
    caller: Caller,
    host: str,
    port: int,
    *,
    timeout: float,
    tls: Any = None,
    handshake: float = 10.0,
    bind: tuple[str, int] | None = None,
    transparent: bool = False,
    introduce: Introduce | None = None,
    tcp: TcpOptions | None = None,
    poller: Poller | None = None,
) -> Connecting:
    """Connect, and tell ``caller`` of a Wire, its TLS handshake done where ``tls`` (a client connection
    creator) is given, or of ConnectFailed.

    ``timeout`` and ``handshake`` in seconds. ``bind``: the address to come from, which may be a foreign
    one where ``transparent``. ``introduce(wire)``: the bytes to be sent first of all, before TLS.
    ``poller``: who connects; None is Twisted's reactor.
    """
    if poller is not None and poller.ready():
        options = numbers_of(tcp) if tcp is not None else ()
        if tls is not None:
            securing = Securing(poller, caller, tls, handshake)
            securing.start((host, port), timeout, introduce, options, bind, transparent)
            return securing
        dial = Dial(poller, caller, (host, port), timeout, introduce)
        dial.start(options, bind, transparent)
        return dial
    attempt = _Attempt(reactor, caller, tls, handshake, tcp, introduce)
    attempt.start(host, port, timeout, bind, transparent)
    return attempt


def connect(reactor: Any, host: str, port: int, *, timeout: float, **more: Any) -> Deferred[Wire]:
    """A Deferred of what begin() tells its caller; cancelling it gives everything up."""
    promise = Promise()
    promise.begun = begin(reactor, promise, host, port, timeout=timeout, **more)
    return promise.wire


class Promise:
    """A Caller that makes a Deferred of it: ``wire``. Cancelling that cancels ``begun``."""

    def __init__(self) -> None:
        self.wire: Deferred[Wire] = Deferred(self._cancel)
        self.begun: Connecting | None = None

    def connected(self, wire: Wire) -> None:
        """See Caller."""
        self.wire.callback(wire)

    def unconnected(self, error: Exception) -> None:
        """See Caller."""
        self.wire.errback(error)

    def _cancel(self, _: Deferred[Wire]) -> None:
        if self.begun is not None:
            self.begun.cancel()


def tell(wire: Deferred[Wire], caller: Caller) -> None:
    """Tell ``caller`` what becomes of a Deferred."""
    wire.addCallbacks(caller.connected, lambda failure: caller.unconnected(failure.value))


@implementer(IWireUser)
class _Attempt(ClientFactory):
    noisy = False

    def __init__(
        self,
        reactor: Any,
        caller: Caller,
        tls: Any,
        handshake: float,
        tcp: TcpOptions | None,
        introduce: Introduce | None,
    ) -> None:
        self._reactor = reactor
        self._caller = caller
        self._introduce = introduce
        self._tcp = tcp
        self._tls = tls
        self._handshake = handshake
        self._wire: Wire | None = None
        self._timer: IDelayedCall | None = None
        self._connector: IConnector | None = None
        self._over = False

    def start(
        self, host: str, port: int, timeout: float, bind: tuple[str, int] | None, transparent: bool
    ) -> None:
        if bind is not None and (":" in bind[0]) != (":" in host):
            reason = f"{host} cannot be reached from {bind[0]}, which is of the other IP version"
            self._later("bind", reason)
            return
        begin = transparently(self._reactor) if transparent else self._reactor.connectTCP
        try:
            self._connector = begin(host, port, self, timeout, bind)
        except OSError as error:  # no descriptor left, no such family
            self._later("connect", str(error), error.errno in SHORTAGES)

    def _later(self, phase: str, reason: str, ours: bool = True) -> None:
        self._timer = self._reactor.callLater(0, self._fail, "L4CON", phase, reason, ours)

    # -- ClientFactory ---------------------------------------------------------------

    def buildProtocol(self, addr: Any) -> Wire:
        return Wire(self._made)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        error = reason.value
        if isinstance(error, TimeoutError):
            self._fail("L4TOUT", "connect", "no answer")
        elif isinstance(error, ConnectionRefusedError):
            self._fail("L4CON", "connect", "Connection refused")
        elif isinstance(error, ConnectBindError):
            self._fail("L4CON", "bind", os.strerror(error.osError or 0), ours=True)
        else:
            number = getattr(error, "osError", None)
            text = os.strerror(number) if isinstance(number, int) else reason_text(reason)
            self._fail("L4CON", "connect", text)

    def _made(self, wire: Wire) -> None:
        if self._over:
            wire.abort()
            return
        if self._tcp is not None:
            wire.tune(self._tcp)
        if self._introduce is not None:
            wire.write(self._introduce(wire))
        if self._tls is None:
            self._over = True
            self._caller.connected(wire)
            return
        self._wire = wire
        wire.attach(self)
        self._timer = self._reactor.callLater(
            self._handshake, self._fail, "L6TOUT", "TLS handshake", "no answer"
        )
        wire.start_tls(self._tls)

    # -- IWireUser, during the handshake ---------------------------------------------

    def secured(self, wire: IWire, tls: TLS) -> None:
        self._stop_timer()
        if not self._over:
            self._over = True
            self._caller.connected(self._wire)

    def lost(self, wire: IWire, reason: str) -> None:
        self._fail("L6RSP", "TLS handshake", reason)

    def received(self, wire: IWire, data: bytes) -> None:
        """No bytes come before the handshake's end."""

    def ended(self, wire: IWire) -> None:
        self._fail("L6RSP", "TLS handshake", "closed")

    def filled(self, wire: IWire) -> None:
        """Nothing was written."""

    def drained(self, wire: IWire) -> None:
        """Nothing was written."""

    # -- ends ------------------------------------------------------------------------

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _fail(self, code: str, phase: str, reason: str, ours: bool = False) -> None:
        self._stop_timer()
        if self._over:
            return
        self._over = True
        if self._wire is not None:
            self._wire.abort()
        self._caller.unconnected(ConnectFailed(code, phase, reason, ours))

    def cancel(self) -> None:
        self._stop_timer()
        self._over = True
        if self._wire is not None:
            self._wire.abort()
        elif self._connector is not None:
            self._connector.disconnect()
