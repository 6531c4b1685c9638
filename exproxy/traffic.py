"""What a process that carries traffic does with the services of a configuration: listen, drain, cut.

The only process does it, or each of several workers; see exproxy.service and exproxy.workers.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from exproxy.accepting import Accepting
from exproxy.access_log import AccessLog
from exproxy.build import Builder, Built
from exproxy.config import Config, Listen
from exproxy.interfaces import IProtocolFactory
from exproxy.persistence.keys import Secrets
from exproxy.poller import poller
from exproxy.pool import Pool
from exproxy.relay import Sweep
from exproxy.store.memory import IBoundedStore
from exproxy.virtual import Shared


class Traffic:
    """The services of one configuration in this process."""

    log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: Any,
        access_log: AccessLog,
        secret: tuple[bytes, ...],
        failed: Callable[[Pool, Any, str, str], None],
        store: IBoundedStore | None = None,
    ) -> None:
        """``failed(pool, backend, code, reason)`` hears of clients that a server failed; ``store``: where
        several processes remember together."""
        self.reactor = reactor
        sweep = Sweep(reactor)
        self.poller = poller(reactor, sweep)
        shared = Shared(
            reactor,
            sweep,
            access_log,
            {server.name: server.address for server in config.servers.values()},
            failed,
            counting=config.admin is not None,
            poller=self.poller,
        )
        self.builder = Builder(config, shared, Secrets(secret), store)
        self.built = self.builder.build()
        self._ports: list[IListeningPort] = []

    def pools(self) -> list[Pool]:
        """All pools, in an order that is the same in every process."""
        return [pool for built in self.built for pool, _ in built.pools]

    def listen(self, built: Built, listen: Listen, sock: socket.socket) -> None:
        """Answer on that socket from now on; it is closed here."""
        built.listening(listen, sock.getsockname()[1])
        self._ports.append(self._port(built, built.entrance(listen), sock))

    def _port(self, built: Built, entrance: IProtocolFactory, sock: socket.socket) -> IListeningPort:
        if self.poller is not None and self.poller.ready():
            port = Accepting(self.poller, sock, entrance, built.service.door, built.service.tcp)
            port.startListening()
            return port
        adopted: IListeningPort = self.reactor.adoptStreamPort(sock.fileno(), sock.family, entrance)
        sock.close()
        return adopted

    async def close_listening(self) -> None:
        """Let nobody in any more."""
        ports, self._ports = self._ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)

    async def stop(self) -> None:
        """Let nobody in, say so to everybody, wait for `timeouts.grace`, then cut what is left."""
        await self.close_listening()
        await gatherResults([self._drained(built) for built in self.built])
        if self.poller is not None:
            self.poller.close()

    def _drained(self, built: Built) -> Deferred[None]:
        service, grace = built.service, built.config.timeouts.grace
        empty: Deferred[None] = Deferred()
        count = len(service.sessions)
        if count:
            self.log.info(
                "{service} waits up to {grace:g} s for {count} connections",
                service=service.name,
                grace=grace,
                count=count,
            )
            service.when_empty.append(lambda: empty.callback(None))
            cut = self.reactor.callLater(grace, service.cut, "grace is over")
            empty.addCallback(lambda _: cut.cancel() if cut.active() else None)
            service.drain(grace)
        else:
            service.drain(grace)
            empty.callback(None)
        return empty

    def cut(self, reason: str) -> None:
        """Drop every connection now."""
        for built in self.built:
            built.service.cut(reason)


def where(listen: Listen, sock: socket.socket) -> str:
    """The address of that listening socket for people, its real port in it."""
    return replace(listen, port=sock.getsockname()[1]).text
