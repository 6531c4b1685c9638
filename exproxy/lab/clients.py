"""Little clients that use one service each, again and again, and report who served them."""

# mypy: allow-untyped-calls
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet import ssl
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from exproxy.lab.scripts import Script, Step, Unserved

ANSWER_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """One use of a service: the server that served it, or one line about why none did."""

    client: str
    service: str
    server: str | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a service is met: an IPv4 address, a port, and the client's options for TLS, if it speaks it."""

    host: str
    port: int
    tls: Any = None


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who uses a service: `script` gives a fresh script, `source` is the address it comes from."""

    name: str
    service: str
    target: Target
    script: Callable[[], Script]
    source: str | None = None


@implementer(IOpenSSLClientConnectionCreator)
class Unverified:
    """TLS to a name without looking at the certificate: for a demonstration on loopback only."""

    def __init__(self, name: str) -> None:
        self._name = name.encode("ascii")
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        """A connection that says the name (SNI)."""
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(tlsProtocol)
        connection.set_tlsext_host_name(self._name)
        return connection


def client_tls(name: str, ca: bytes | None = None) -> Any:
    """TLS to `name`, verified by the authority in the PEM `ca`, unverified without."""
    if ca is None:
        return Unverified(name)
    return ssl.optionsForClientTLS(
        name, trustRoot=ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(ca)])
    )


class _Once(Factory):
    """A factory of one protocol that exists already."""

    noisy = False

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """The one."""
        return self._reader


class _Reader(Protocol):
    """Performs a script; `ended` fires with the server's name, or fails, when the connection is gone."""

    def __init__(self, script: Script) -> None:
        self.ended: Deferred[str] = Deferred()
        self._script = script
        self._step: Step | None = None
        self._data = b""
        self._found: str | Failure | None = None

    def connectionMade(self) -> None:
        """Begin."""
        self._advance(lambda: next(self._script))

    def dataReceived(self, data: bytes) -> None:
        """Go on as far as the bytes allow."""
        self._data += data
        while self._step is not None:
            try:
                length = self._step.until(self._data)
                if length is None and len(self._data) > ANSWER_LIMIT:
                    raise Unserved("an endless answer")
            except Unserved:
                self._finish(Failure())
                return
            if length is None:
                return
            answer, self._data = self._data[:length], self._data[length:]
            self._answer(answer)

    def _answer(self, answer: bytes) -> None:
        self._advance(lambda: self._script.send(answer))

    def _advance(self, move: Callable[[], Step]) -> None:
        self._step = None
        try:
            self._step = move()
        except StopIteration as stop:
            self._finish(stop.value)
        except Exception:
            self._finish(Failure())
        else:
            if self._step.send:
                cast(Any, self.transport).write(self._step.send)

    def _finish(self, found: str | Failure) -> None:
        self._step, self._found = None, found
        cast(Any, self.transport).loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Report."""
        if self._step is not None and self._step.at_end and self._data:
            self._answer(self._data)
        if self._found is None:
            clean = reason is None or reason.check(ConnectionDone)
            why = "" if clean or reason is None else f": {reason.getErrorMessage()}"
            self._found = Failure(Unserved(f"closed without an answer{why}"))
        if isinstance(self._found, Failure):
            self.ended.errback(self._found)
        else:
            self.ended.callback(self._found)


class Use:
    """One use of a service: begun at once, over within `timeout` seconds.

    `outcome` always fires with an Outcome, never fails, and not before the connection is gone.
    """

    def __init__(self, client: Client, reactor: Any, timeout: float = 5.0) -> None:
        self.outcome: Deferred[Outcome] = Deferred()
        self._client = client
        self._reader = _Reader(client.script())
        self._why: str | None = None
        source = (client.source, 0) if client.source else None
        target = client.target
        endpoint: Any = TCP4ClientEndpoint(reactor, target.host, target.port, timeout, source)
        if target.tls is not None:
            endpoint = wrapClientTLS(target.tls, endpoint)
        self._late = reactor.callLater(timeout, self.give_up, f"no answer within {timeout:g} s")
        self._connecting: Any = endpoint.connect(_Once(self._reader))
        self._connecting.addCallback(lambda _: self._reader.ended).addBoth(self._done)

    def give_up(self, why: str) -> None:
        """End it now."""
        self._why = why
        if self._reader.transport is not None:
            cast(Any, self._reader.transport).abortConnection()
        else:
            self._connecting.cancel()

    def _done(self, result: str | Failure) -> None:
        if self._late.active():
            self._late.cancel()
        name, service = self._client.name, self._client.service
        if isinstance(result, Failure):
            lines = result.getErrorMessage().strip().splitlines() or [type(result.value).__name__]
            self.outcome.callback(Outcome(name, service, None, self._why or lines[0][:100]))
        else:
            self.outcome.callback(Outcome(name, service, result))


class Repeated:
    """A client that uses its service again `interval` seconds after each use; `report` gets the outcomes."""

    def __init__(
        self,
        client: Client,
        reactor: Any,
        report: Callable[[Outcome], None],
        interval: float,
        timeout: float = 5.0,
    ) -> None:
        self._client = client
        self._reactor = reactor
        self._report = report
        self._interval = interval
        self._timeout = timeout
        self._next: Any = None
        self._use: Use | None = None
        self._stopped: Deferred[None] | None = None

    def start(self, delay: float = 0.0) -> None:
        """The first use is after `delay` seconds."""
        self._next = self._reactor.callLater(delay, self._once)

    def _once(self) -> None:
        self._next = None
        self._use = Use(self._client, self._reactor, self._timeout)
        self._use.outcome.addCallback(self._used)

    def _used(self, outcome: Outcome) -> None:
        self._use = None
        if self._stopped is not None:
            self._stopped.callback(None)
            return
        self._next = self._reactor.callLater(self._interval, self._once)
        self._report(outcome)

    def stop(self) -> Deferred[None]:
        """No further use; fires when the present one has ended."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._use is None:
            return succeed(None)
        self._stopped = Deferred()
        self._use.give_up("stopped")
        return self._stopped
