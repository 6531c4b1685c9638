"""A worker: carries traffic on the supervisor's sockets, and goes by what the supervisor says."""

# mypy: allow-untyped-calls
from __future__ import annotations

import importlib
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from exproxy.access_log import AccessLog
from exproxy.backend import Backend
from exproxy.config import Config, Invalid, reload
from exproxy.descriptors import raise_limit
from exproxy.errors import ConfigurationError
from exproxy.pool import Pool
from exproxy.tls.material import Unfit
from exproxy.traffic import Traffic
from exproxy.workers import messages as said
from exproxy.workers.channel import Channel
from exproxy.workers.codec import VERSION, Decoder, Garbled, encode
from exproxy.workers.lending import kept
from exproxy.workers.places import Borrowed
from exproxy.workers.publishing import Publishing
from exproxy.workers.replica import Replica
from exproxy.workers.standing import by_name, follow
from exproxy.workers.worker_log import WorkerLog


@dataclass(frozen=True, slots=True)
class Introduced:
    """What the supervisor has said by the time that this process knows what to be."""

    prepare: said.Prepare
    decoder: Decoder
    rest: list[said.Message]


class Worker:
    """One process's services, and what the supervisor's messages do to them."""

    log = Logger()

    def __init__(self, reactor: Any, sock: socket.socket, introduced: Introduced, config: Config) -> None:
        """Raises ConfigurationError where this process cannot serve the configuration."""
        prepare = introduced.prepare
        self.reactor = reactor
        self.number = 0
        self._channel = Channel(reactor, sock, self._received, self._lost, introduced.decoder)
        self._rest = introduced.rest
        self.log_lines = WorkerLog(self._channel.send)
        send = self._channel.send
        self._prepared = prepare
        self._stopping: Deferred[None] | None = None
        self.access_log = AccessLog(reactor, config.access_log)
        self.store = Replica(reactor, send)
        self.traffic = Traffic(config, reactor, self.access_log, prepare.secret, self._failed, self.store)
        self.pools = by_name(self.traffic.pools())
        self._names = {pool: name for name, pool in self.pools.items()}
        self._places: dict[str, Borrowed] = {}
        self._lend()
        for name, pool in self.pools.items():
            pool.changed = partial(self._changed, name)
        self.publishing = Publishing(reactor, self.traffic.built, self.pools, prepare.count, send)
        self._hear = self._table()

    # -- life ------------------------------------------------------------------------

    def start(self) -> None:
        """Hear the supervisor, who says when to be one of its workers."""
        self.log_lines.begin()
        self.access_log.open(self._prepared.access_log)
        self._channel.start()
        rest, self._rest = self._rest, []
        self._received(rest)

    def _is(self, message: said.Begin) -> None:
        self.number = self.log_lines.number = message.number
        for places in self._places.values():
            # The first clients need not wait for the first places then.
            places.use(0)

    def _serve(self, message: said.Serve) -> None:
        services = {built.config.name: built for built in self.traffic.built}
        for each in self._prepared.sockets:
            built = services[each.service]
            sock = socket.socket(fileno=each.number)
            self.traffic.listen(built, built.config.listens[each.listen], sock)
        self.publishing.start()
        self._channel.send(said.Ready())

    def stop(self) -> Deferred[None]:
        """Drain, say what is left to say, and end the process."""
        if self._stopping is None:
            self._stopping = Deferred.fromCoroutine(self._stop())
            self._stopping.addErrback(lambda failure: self.log.failure("the drain failed", failure))
            self._stopping.addBoth(lambda _: self.reactor.stop())
        return self._stopping

    async def _stop(self) -> None:
        await self.traffic.stop()
        self.publishing.stop()
        self.store.flush()
        self.access_log.close()

    def _lost(self, why: str) -> None:
        """The supervisor is gone: another one may want the addresses, and nobody would start us anew."""
        self.log_lines.supervised = False
        if not self.number:
            # A spare process that is not needed.
            self.reactor.stop()
            return
        self.log.error("no supervisor any more, {why}; draining", why=why)
        self.store.lost()
        for places in self._places.values():
            places.stop()
        self.stop()

    # -- what is told ----------------------------------------------------------------

    def _table(self) -> dict[type, Callable[[Any], object]]:
        return {
            said.Begin: self._is,
            said.Serve: self._serve,
            said.Standings: self._stand,
            said.Sever: lambda m: self.pools[m.pool].cut(m.server, m.reason),
            said.Empty: lambda m: self.pools[m.pool].empty(m.server, m.until),
            said.Answer: self.store.answered,
            said.Bound: self.store.bound,
            said.Freed: self.store.freed,
            said.Lent: lambda m: self._places[m.what].lent(m),
            said.Scarce: lambda m: self._places[m.what].scarce(m),
            said.Loads: self._loads,
            said.Sources: self._sources,
            said.Reopen: lambda m: self._reopen(),
            said.Reread: lambda m: self._reread(),
            said.Stop: lambda m: self.stop(),
            said.Cut: lambda m: self.traffic.cut(m.reason),
        }

    def _received(self, messages: list[said.Message]) -> None:
        self.store.heard()
        for message in messages:
            try:
                self._hear[type(message)](message)
            except Exception:
                self.log.failure("failed at {message}", message=message)

    def _stand(self, message: said.Standings) -> None:
        now = self.reactor.seconds()
        for each in message.servers:
            pool = self.pools.get(each.pool)
            if pool is not None:
                follow(pool, each, now)

    def _loads(self, message: said.Loads) -> None:
        for name, load in message.loads.items():
            backend = self._backend(name)
            if backend is not None:
                backend.elsewhere = load

    def _backend(self, name: str) -> Backend | None:
        pool, _, server = name.rpartition("/")
        return self.pools[pool].find(server) if pool in self.pools else None

    def _sources(self, message: said.Sources) -> None:
        for built in self.traffic.built:
            service = built.service
            if service.name in message.counts:
                service.elsewhere = message.counts[service.name]
            if service.name in message.came:
                service.charge(message.came[service.name])

    def _reopen(self) -> None:
        try:
            self.access_log.reopen()
        except OSError as error:
            self.log.error("a log cannot be opened again: {error}", error=error)
        self._reread()

    def _reread(self) -> None:
        for built in self.traffic.built:
            tls = built.service.server_tls
            if tls is not None:
                try:
                    tls.reload()
                except Unfit as error:
                    self.log.error(
                        "{service} goes on with the certificate that it has: {error}",
                        service=built.service.name,
                        error=error,
                    )

    # -- what is said ----------------------------------------------------------------

    def _failed(self, pool: Pool, backend: Any, code: str, reason: str) -> None:
        self._channel.send(said.Failed(self._names[pool], backend.server, code, reason))

    def _changed(self, name: str, backend: Backend) -> None:
        if backend.located and backend.port:
            self._channel.send(said.Found(name, backend.server, backend.port))

    def _lend(self) -> None:
        """This process has a part of each limit, nothing at first."""
        count, send, clock = self._prepared.count, self._channel.send, self.reactor
        for name, pool in self.pools.items():
            for backend in pool.backends:
                if backend.limit is not None:
                    what = f"{name}/{backend.server}"
                    keep = kept(backend.limit, count)
                    backend.places = self._places[what] = Borrowed(clock, what, keep, send, pool.freed)
                    pool.shared = True
        for built in self.traffic.built:
            service = built.service
            keep = kept(service.limits.connections, count)
            places = Borrowed(clock, service.name, keep, send, service.door.look)
            service.door.places = self._places[service.name] = places


def run(number: int, reactor_module: str) -> int:
    """The whole life of a worker's process; the exit code."""
    sock = socket.socket(fileno=number)
    reactor = _reactor(reactor_module)
    try:
        introduced = _introduced(sock)
        if introduced is None:
            return 0
        try:
            worker = Worker(reactor, sock, introduced, reload(introduced.prepare.written))
        except (ConfigurationError, Invalid) as error:
            sock.setblocking(True)
            sock.sendall(encode(said.Refused(f"{error}\n{_HINT}")))
            return 1
    except (Garbled, OSError) as error:
        print(f"a worker does not understand its supervisor: {error}", file=sys.stderr)
        return 1
    raise_limit()
    reactor.callWhenRunning(worker.start)
    reactor.run(installSignalHandlers=False)
    return 0


_HINT = "(workers read certificates and keys as the user that exproxy runs as: it must be able to read them)"


def _reactor(module: str) -> Any:
    """The same kind of reactor as the supervisor's."""
    if "twisted.internet.reactor" not in sys.modules:
        install = getattr(importlib.import_module(module), "install", None)
        if install is not None:
            install()
    from twisted.internet import reactor

    return reactor


def _introduced(sock: socket.socket) -> Introduced | None:
    """Say who we are and wait for what to be; None where the supervisor needs nobody. Raises Garbled."""
    sock.setblocking(True)
    try:
        sock.sendall(encode(said.Hello(VERSION)))
    except BrokenPipeError:
        return None
    decoder = Decoder()
    found: list[said.Message] = []
    while len(found) < 2:
        data = sock.recv(65536)
        if not data:
            return None
        found += decoder.feed(data)
    hello, prepare, *rest = found
    if not isinstance(hello, said.Hello) or hello.version != VERSION:
        raise Garbled(
            f"this is {VERSION}, that {hello!r:.100}; was exproxy replaced while it ran? restart it"
        )
    if not isinstance(prepare, said.Prepare):
        raise Garbled(f"{prepare!r:.100} came where Prepare is due")
    return Introduced(prepare, decoder, rest)
