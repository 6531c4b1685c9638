"""One service of a simulated server: a listening port that can be put into a mode of failure."""

# mypy: allow-untyped-calls
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    ITransport,
)
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

BACKLOG = 1024
HELD = 65536
"""Bytes kept of what a client sends to a hanging service; then its connection is no longer read."""


class Mode(str, Enum):
    """What a service does with its clients."""

    OK = "ok"
    STOP = "stop"
    """The port is closed, and so is every connection."""
    HANG = "hang"
    """Connections are accepted and nothing is ever answered, like a stopped process; they go on after it."""
    REFUSE = "refuse"
    """New sessions and requests get the protocol's own refusal: 503, 421, BYE, -ERR, bind_nak."""
    RESET = "reset"
    """Connections are accepted and reset."""


class Gate(ProtocolWrapper):
    """Stands between a connection and its protocol, which is built when the mode first lets bytes through."""

    def __init__(self, factory: GatedFactory, peer: IAddress | None) -> None:
        super().__init__(cast(Any, factory), cast(Any, None))
        self._gated = factory
        self._peer = peer
        self._held = bytearray()
        self._paused = False

    def makeConnection(self, transport: ITransport) -> None:
        """Accepted: do as the mode says."""
        directlyProvides(self, providedBy(transport))
        Protocol.makeConnection(self, transport)
        self._gated.registerProtocol(self)
        self.obey()

    def obey(self) -> None:
        """The mode has changed (or this connection is new)."""
        mode = self._gated.mode
        if mode in (Mode.STOP, Mode.RESET):
            cast(Any, self.transport).abortConnection()
        elif mode is not Mode.HANG:
            self._let_through()

    def _let_through(self) -> None:
        if self.wrappedProtocol is None:
            protocol = self._gated.wrappedFactory.buildProtocol(self._peer)
            if protocol is None:
                cast(Any, self.transport).abortConnection()
                return
            self.wrappedProtocol = protocol
            protocol.makeConnection(self)
        held, self._held = bytes(self._held), bytearray()
        if held:
            self.wrappedProtocol.dataReceived(held)
        if self._paused:
            self._paused = False
            cast(Any, self.transport).resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        """Pass on, or hold while hanging."""
        if self._gated.mode is not Mode.HANG and self.wrappedProtocol is not None:
            self.wrappedProtocol.dataReceived(data)
            return
        self._held += data
        if len(self._held) > HELD and not self._paused:
            self._paused = True
            cast(Any, self.transport).pauseProducing()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Tell the protocol, if there is one already."""
        protocol, self.wrappedProtocol = self.wrappedProtocol, cast(Any, None)
        self._gated.unregisterProtocol(self)
        if protocol is not None:
            protocol.connectionLost(cast(Failure, reason))


class GatedFactory(WrappingFactory):
    """Knows the mode, and every connection behind it."""

    noisy = False

    def __init__(self, factory: IProtocolFactory) -> None:
        super().__init__(cast(Any, factory))
        self.mode = Mode.OK
        self.accepted = 0
        self._empty: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Gate:
        """A gate; what is behind it is built when it opens."""
        self.accepted += 1
        return Gate(self, addr)

    def change(self, mode: Mode) -> None:
        """All connections obey."""
        self.mode = mode
        for gate in list(self.protocols):
            cast(Gate, gate).obey()

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        """A connection has ended."""
        self.protocols.pop(p, None)
        if not self.protocols and self._empty is not None:
            waiting, self._empty = self._empty, None
            waiting.callback(None)

    def drained(self) -> Deferred[None]:
        """Fires when no connection is left (one caller at a time)."""
        if not self.protocols:
            return succeed(None)
        self._empty = Deferred()
        return self._empty


class Farewell(Protocol):
    """A server-first protocol's refusal: one line, then the end."""

    def __init__(self, line: bytes) -> None:
        self._line = line

    def connectionMade(self) -> None:
        """Say it."""
        assert self.transport is not None
        self.transport.write(self._line)
        self.transport.loseConnection()


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a service is made of.

    `refusal` is the line with which a server-first protocol refuses; one that refuses by itself (HTTP, RPC)
    has none. `tls` wraps every connection from its first byte.
    """

    factory: IProtocolFactory
    tls: IOpenSSLServerConnectionCreator | None = None
    refusal: bytes | None = None


class LabService:
    """One service: a recipe, a place to listen, a mode. Port 0 is chosen at `start` and kept over a stop."""

    def __init__(self, name: str, address: str, port: int, reactor: Any, recipe: Recipe) -> None:
        self.name = name
        self.address = address
        self.port = port
        self._reactor = reactor
        self._recipe = recipe
        self._gate: GatedFactory | None = None
        self._listening: IListeningPort | None = None
        self._turn = DeferredLock()

    @property
    def mode(self) -> Mode:
        """What it does now; `stop` before it is started."""
        return self._gate.mode if self._gate else Mode.STOP

    @property
    def connections(self) -> int:
        """Connections accepted since the start."""
        return self._gate.accepted if self._gate else 0

    @property
    def open(self) -> int:
        """Connections there are now."""
        return len(self._gate.protocols) if self._gate else 0

    def refusing(self) -> bool:
        """Whether the answer to whatever is new is no."""
        return self.mode is Mode.REFUSE

    def start(self) -> None:
        """Listen; raises CannotListenError."""
        inner: Any = _Choice(self._recipe, self.refusing)
        if self._recipe.tls is not None:
            inner = TLSMemoryBIOFactory(self._recipe.tls, False, inner, self._reactor)
        gate = GatedFactory(inner)
        self._listen(gate)
        self._gate = gate

    def _listen(self, gate: GatedFactory) -> None:
        self._listening = self._reactor.listenTCP(self.port, gate, backlog=BACKLOG, interface=self.address)
        self.port = cast(Any, self._listening).getHost().port

    def set_mode(self, mode: Mode) -> Deferred[None]:
        """Change the mode; fires when it is in force, fails with CannotListenError when the port is taken."""
        return cast("Deferred[None]", self._turn.run(lambda: Deferred.fromCoroutine(self._change(mode))))

    async def _change(self, mode: Mode) -> None:
        gate = self._gate
        if gate is None:
            return
        if mode is Mode.STOP:
            listening, self._listening = self._listening, None
            closed = maybeDeferred(listening.stopListening) if listening else succeed(None)
            gate.change(mode)
            await closed
            await gate.drained()
            return
        before, gate.mode = gate.mode, mode
        if self._listening is None:
            try:
                self._listen(gate)
            except Exception:
                gate.mode = before
                raise
        gate.change(mode)

    def stop(self) -> Deferred[None]:
        """Stop for good; fires when neither the port nor a connection is left."""
        return self.set_mode(Mode.STOP)


class _Choice(ServerFactory):
    """The service's own factory, or the refusal, whichever the mode asks for."""

    noisy = False

    def __init__(self, recipe: Recipe, refusing: Callable[[], bool]) -> None:
        self._recipe = recipe
        self._refusing = refusing

    def doStart(self) -> None:
        """Pass on."""
        self._recipe.factory.doStart()

    def doStop(self) -> None:
        """Pass on."""
        self._recipe.factory.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A session, or a farewell."""
        if self._recipe.refusal is not None and self._refusing():
            return Farewell(self._recipe.refusal)
        return self._recipe.factory.buildProtocol(cast(Any, addr))
