"""Where the administration listens: TCP addresses of ``admin:``, and the unix socket of exproxyctl."""

# mypy: allow-untyped-calls
from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from exproxy import listening
from exproxy.admin.api.access import Access, Door, names_of
from exproxy.admin.api.app import App
from exproxy.admin.api.channel import AdminFactory
from exproxy.admin.api.limits import Limits
from exproxy.admin.api.pages import Pages
from exproxy.admin.plane import IPlane
from exproxy.admin.socket_path import SOCKET
from exproxy.admin.unix import CannotBind, UnixPort, UnixSocket
from exproxy.config import AdminConfig, Config, Listen
from exproxy.config.admin import is_loopback
from exproxy.errors import ConfigurationError
from exproxy.tls.material import names_of as certificate_names
from exproxy.tls.server import ServerTLS
from exproxy.tls.watching import Watch


@dataclass(frozen=True, slots=True)
class Entrance:
    """One door that is open."""

    app: App
    factory: AdminFactory


class AdminService(Service):
    """The administration of whatever the plane stands for.

    ``bind()`` while there are privileges, then startService; ``stopService`` closes streams and connections.
    ``ready()``: everything is there that clients need.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: Any,
        plane: IPlane,
        *,
        ready: Callable[[], bool] = lambda: True,
        limits: Limits = Limits(),
        pages: Pages | None = None,
    ) -> None:
        self._config = config
        self._admin = config.admin or AdminConfig(())
        self._reactor, self._plane, self._limits = reactor, plane, limits
        self._pages = pages or Pages()
        self._ready = ready
        self.access = Access(reactor.seconds, self._admin.tokens, self._admin.origins)
        certificates = self._admin.certificates
        self._tls = ServerTLS(certificates, (b"http/1.1",), self._admin.tls) if certificates else None
        self._watch = Watch(reactor, [("admin", self._tls)] if self._tls is not None else [])
        self._sockets: list[tuple[Listen, socket.socket]] = []
        self._ports: list[IListeningPort] = []
        self._entrances: list[Entrance] = []
        self._unix: UnixSocket | None = None
        self._unix_port: UnixPort | None = None
        # Where it listens, for people and tests: http://127.0.0.1:8404 and so on.
        self.urls: list[str] = []

    # -- begin -----------------------------------------------------------------------

    def bind(self) -> None:
        """Take the addresses and the socket; raises ConfigurationError where an address cannot be had. A
        state folder that takes no socket is only told of: nothing but exproxyctl misses it."""
        try:
            for listen in self._admin.listens:
                sock = listening.bind(listen.host, listen.port)
                self._sockets.append((listen, sock))
                listening.listen(sock)
        except ConfigurationError:
            self.unbind()
            raise
        try:
            self._unix = UnixSocket.bind(self._config.state_dir / SOCKET)
        except CannotBind as error:
            self.log.warn("exproxyctl has no socket: {error}", error=str(error))

    def unbind(self) -> None:
        """Give back what was bound and is not used yet; idempotent."""
        for _, sock in self._sockets:
            sock.close()
        self._sockets.clear()
        unix, self._unix = self._unix, None
        if unix is not None and self._unix_port is None:
            unix.close()

    def startService(self) -> None:
        """Begin to answer."""
        super().startService()
        self._watch.start()
        sockets, self._sockets = self._sockets, []
        for listen, sock in sockets:
            self._listen(listen, sock)
        if self._unix is not None:
            factory = self._open(Door(local=True))
            self._unix_port = UnixPort(self._reactor, self._unix, factory)
            self._unix_port.start()
            self.log.info("exproxyctl finds this process at {path}", path=os.path.normpath(self._unix.path))

    def _listen(self, listen: Listen, sock: socket.socket) -> None:
        secure = listen.tls == "implicit"
        door = Door(loopback=is_loopback(listen.host), secure=secure, names=self._names(listen.host))
        factory: Any = self._open(door)
        if self._tls is not None and secure:
            factory = TLSMemoryBIOFactory(self._tls, False, factory)
            factory.noisy = False
        self._ports.append(self._reactor.adoptStreamPort(sock.fileno(), sock.family, factory))
        real = replace(listen, port=sock.getsockname()[1])
        sock.close()
        url = f"{'https' if secure else 'http'}://{real.text}"
        self.urls.append(url)
        self.log.info("the administration listens on {url}", url=url)

    def _names(self, host: str) -> frozenset[str]:
        shown: Iterable[str] = ()
        if self._tls is not None:
            shown = [name for each in self._tls.certificates for name in certificate_names(each)]
        return names_of([host, self._config.host_name if self._tls is not None else "", *shown])

    def _open(self, door: Door) -> AdminFactory:
        app = App(
            self._plane,
            door,
            self.access,
            self._reactor,
            limits=self._limits,
            pages=self._pages,
            ready=lambda: self._ready() and bool(self.running),
        )
        factory = AdminFactory(self._reactor, self._limits, app.answer)
        self._entrances.append(Entrance(app, factory))
        return factory

    def renew(self, admin: AdminConfig) -> None:
        """After a reload: other tokens and origins count from now on. Addresses and TLS stay as they are."""
        self.access.renew(admin.tokens, admin.origins)

    # -- end -------------------------------------------------------------------------

    def stopService(self) -> Deferred[Any]:
        """Listen no more, end the streams, close what is open."""
        super().stopService()
        self._watch.stop()
        self.unbind()
        if self._unix_port is not None:
            self._unix_port.stop()
            self._unix_port = None
        closed = gatherResults([maybeDeferred(port.stopListening) for port in self._ports])
        self._ports.clear()
        for entrance in self._entrances:
            entrance.app.hub.close()
            entrance.factory.cut()
        return closed
