"""The supervisor: starts the workers, hears them, replaces those that die, and carries no traffic itself."""

# mypy: allow-untyped-calls
from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from exproxy.access_log import AccessLog
from exproxy.backend import Backend
from exproxy.build import Built
from exproxy.config import Config, Listen
from exproxy.monitor import Monitor
from exproxy.traffic import Traffic
from exproxy.workers import messages as said
from exproxy.workers.codec import VERSION
from exproxy.workers.hearing import Hearing
from exproxy.workers.lending import Lending
from exproxy.workers.messages import Message
from exproxy.workers.owner import Owner
from exproxy.workers.process import Process
from exproxy.workers.reports import Reports
from exproxy.workers.respawning import Respawning
from exproxy.workers.shares import Shares
from exproxy.workers.standing import Changes, by_name
from exproxy.workers.worker_log import repeat

# Seconds from a worker's loads to the others' knowing of them, on top of shares.PUBLISHED.
SUMMED = 0.05
# Seconds that a worker has for its end on top of its services' grace; then it is killed.
LAST = 10.0


@dataclass(frozen=True, slots=True)
class Supervised:
    """What the supervisor works for: the configuration, and what this process has made of it."""

    config: Config
    secret: tuple[bytes, ...]
    traffic: Traffic
    monitor: Monitor
    access_log: AccessLog


class Supervisor:
    """See the module. ``store`` is the owner of the persistence tables; ``ready`` fires when all workers
    have served once."""

    log = Logger()

    def __init__(self, reactor: Any, count: int) -> None:
        self.reactor = reactor
        self.count = count
        self.store = Owner(reactor, self._tell)
        self.lending = Lending(count, lambda worker, message: self._send(worker, message))
        self.shares = Shares()
        self.reports = Reports()
        self.respawning = Respawning(reactor, count, self._spawn)
        self.ready: Deferred[None] = Deferred()
        # Called with the reason where this configuration cannot be served at all.
        self.refused: Callable[[str], object] = lambda reason: reactor.stop()
        # By number those that carry traffic, or are about to; who has said Ready among them.
        self.workers: dict[int, Process] = {}
        self.serving: set[int] = set()
        # Started, but nobody yet: it takes the place of the next that dies.
        self.spare: Process | None = None
        self._leaving: set[Process] = set()
        self._ended: Deferred[None] | None = None
        self._hearing = Hearing(reactor, lambda: self.workers, self._answer, self._take)
        self._dirty: dict[str, None] = {}
        self._dirty_sources: dict[str, None] = {}
        self._came: dict[int, dict[str, dict[str, int]]] = {}
        self._summing: IDelayedCall | None = None
        self._served = False

    # -- life ------------------------------------------------------------------------

    def start(self, supervised: Supervised, sockets: Sequence[tuple[Built, Listen, socket.socket]]) -> None:
        """Start the workers on these sockets, which are kept here for those that come later."""
        self._supervised = supervised
        self._sockets = list(sockets)
        self._pools = by_name(supervised.traffic.pools())
        self._changes = Changes(self._pools, self.reactor.seconds)
        self._deeds = self._table()
        for name, pool in self._pools.items():
            pool.changed = partial(self._changed, name)
            for backend in pool.backends:
                if backend.limit is not None:
                    self.lending.limit(f"{name}/{backend.server}", backend.limit)
        for built in supervised.traffic.built:
            self.lending.limit(built.config.name, built.config.limits.connections)
        self.respawning.start()

    async def stop(self) -> None:
        """Drain all workers, up to the longest grace; they are gone then."""
        self.respawning.stop()
        summing, self._summing = self._summing, None
        if summing is not None:
            summing.cancel()
        for _, _, sock in self._sockets:
            sock.close()
        self._sockets.clear()
        if self.spare is not None:
            self._leaving.add(self.spare)
            self.spare.dismiss()
        self.broadcast(said.Stop())
        graces = [built.config.timeouts.grace for built in self._supervised.traffic.built]
        late = self.reactor.callLater(max(graces, default=0.0) + LAST, self._kill)
        if self.workers or self._leaving:
            self._ended = Deferred()
            await self._ended
        self._hearing.stop()
        if late.active():
            late.cancel()

    def _kill(self) -> None:
        self.log.error("workers have not ended in time: they are killed")
        for process in (*self.workers.values(), *self._leaving):
            process.kill()

    def _spawn(self, number: int) -> None:
        """Have a worker of that number; the spare one where there is one."""
        process, self.spare = self.spare, None
        if process is None:
            process = self._process()
        if process is None:
            self.respawning.died(number)
            return
        self.workers[number] = process
        process.send(said.Begin(number))
        process.send(said.Standings(self._changes.all()))
        process.send(self.shares.others(number, self._names()))
        process.send(said.Serve())

    def _process(self) -> Process | None:
        inherited = [sock.fileno() for _, _, sock in self._sockets]
        log = self._supervised.access_log.fileno()
        try:
            process = Process(self.reactor, [*inherited, *([log] if log > 2 else [])], self._said, self._gone)
        except OSError as error:
            text = f"a worker cannot be started: {error}"
            if self._served:
                self.log.error("{text}", text=text)
            else:
                self._hopeless(text)
            return None
        process.send(said.Hello(VERSION))
        process.send(self._prepare())
        return process

    def _prepare(self) -> said.Prepare:
        made = self._supervised
        sockets = tuple(
            said.Socket(built.config.name, built.config.listens.index(listen), sock.fileno())
            for built, listen, sock in self._sockets
        )
        return said.Prepare(self.count, made.config.written, made.secret, sockets, made.access_log.fileno())

    def _gone(self, process: Process, how: str) -> None:
        """A process has ended."""
        self._leaving.discard(process)
        if process is self.spare:
            # Another one is started when a worker is.
            self.spare = None
        number = next((each for each, one in self.workers.items() if one is process), None)
        if number is not None:
            del self.workers[number]
            self.serving.discard(number)
            self._forget(number)
            if self._ended is None and not self.respawning.stopped:
                self.log.error(
                    "worker {worker} (process {pid}) has died, {how}", worker=number, pid=process.pid, how=how
                )
                self.respawning.died(number)
        if self._ended is not None and not self.workers and not self._leaving:
            ended, self._ended = self._ended, None
            ended.callback(None)

    def _forget(self, number: int) -> None:
        """What was a worker's is nobody's any more."""
        self._hearing.forget(number)
        self.store.gone(number)
        self._dirty.update(dict.fromkeys(self._names()))
        self._dirty_sources.update(dict.fromkeys(b.config.name for b in self._supervised.traffic.built))
        self.shares.gone(number)
        self._came.pop(number, None)
        self.reports.gone(number)
        self.lending.gone(number)
        self._sum()

    def _names(self) -> list[str]:
        return [f"{name}/{backend.server}" for name, pool in self._pools.items() for backend in pool.backends]

    # -- saying ----------------------------------------------------------------------

    def broadcast(self, message: Message, spare: bool = False) -> None:
        """Say something to every worker, and to the spare process too."""
        for process in list(self.workers.values()):
            process.send(message)
        if spare and self.spare is not None:
            self.spare.send(message)

    def _send(self, worker: int, message: Message) -> None:
        process = self.workers.get(worker)
        if process is not None:
            process.send(message)

    def _tell(self, message: Message, *, but: int | None = None, to: int | None = None) -> None:
        for number in list(self.workers):
            if number != but and to in (None, number):
                self._send(number, message)

    def reopen(self) -> None:
        """The access log is opened again, and certificates read, by all."""
        self.broadcast(said.Reopen(), spare=True)

    def reread(self) -> None:
        """The certificates' files have changed."""
        self.broadcast(said.Reread(), spare=True)

    def cut(self, reason: str) -> None:
        """Drop every connection of all workers now."""
        self.broadcast(said.Cut(reason))

    def sever(self, pool: str, server: str, reason: str) -> None:
        """End every link of all workers to that server of that pool (see standing.by_name)."""
        self.broadcast(said.Sever(pool, server, reason))

    def empty(self, pool: str, server: str, until: float) -> None:
        """Ask the clients of that server to leave it within so many seconds; see Pool.empty."""
        self.broadcast(said.Empty(pool, server, until))

    def _changed(self, name: str, backend: Backend) -> None:
        standing = self._changes.of(name, backend)
        if standing is not None:
            self.broadcast(said.Standings((standing,)))

    # -- hearing ---------------------------------------------------------------------

    def _said(self, process: Process, messages: list[Message]) -> None:
        number = next((each for each, one in self.workers.items() if one is process), None)
        if number is None:
            # The spare one: what it finds wrong is wrong for all.
            for message in messages:
                if isinstance(message, said.Refused):
                    self._refused(0, message)
            return
        self._hearing.heard(number, messages)

    def _answer(self, number: int, ask: said.Ask) -> None:
        self._send(number, self.store.asked(number, ask))

    def _take(self, number: int, message: Message) -> None:
        deed = self._deeds.get(type(message))
        if deed is not None:
            deed(number, message)

    def _table(self) -> dict[type, Callable[[int, Any], object]]:
        return {
            said.Hello: self._greeted,
            said.Ready: self._is_ready,
            said.Refused: self._refused,
            said.Failed: self._failed,
            said.Found: self._found,
            said.Used: self.store.used,
            said.Held: self.store.held_by,
            said.Want: self.lending.want,
            said.Give: self.lending.give,
            said.Loads: self._loads,
            said.Sources: self._sources,
            said.Report: lambda number, message: self.reports.told(number, message.values),
            said.Said: lambda number, message: repeat(number, message),
        }

    def _greeted(self, number: int, message: said.Hello) -> None:
        if message.version != VERSION:
            text = f"a worker is {message.version}, and this is {VERSION}: exproxy was replaced; restart it"
            self.log.error("{text}", text=text)

    def _is_ready(self, number: int, message: said.Ready) -> None:
        self._served = True
        self.serving.add(number)
        self.log.info("worker {worker} (process {pid}) serves", worker=number, pid=self.workers[number].pid)
        if len(self.serving) == self.count:
            if not self.ready.called:
                self.ready.callback(None)
            if self.spare is None and not self.respawning.stopped:
                self.spare = self._process()

    def _refused(self, number: int, message: said.Refused) -> None:
        if self.respawning.stopped:
            return
        if self._served:
            # Its files have changed since. Those who serve go on with what they have.
            self.log.error("a new worker cannot serve: {text}", text=message.text)
            return
        self._hopeless(f"the configuration cannot be served: {message.text}")

    def _hopeless(self, text: str) -> None:
        """Nobody will ever serve this: say why, and end."""
        self.respawning.stop()
        self.log.critical("{text}", text=text)
        self.refused(text)

    def _failed(self, number: int, message: said.Failed) -> None:
        pool = self._pools.get(message.pool)
        backend = pool.find(message.server) if pool is not None else None
        if pool is not None and backend is not None:
            self._supervised.monitor.client_failed(pool, backend, message.code, message.reason)

    def _found(self, number: int, message: said.Found) -> None:
        pool = self._pools.get(message.pool)
        backend = pool.find(message.server) if pool is not None else None
        if pool is not None and backend is not None and backend.located and backend.port != message.port:
            pool.located(backend, message.port)

    def _loads(self, number: int, message: said.Loads) -> None:
        self.shares.loads(number, message)
        self._dirty.update(dict.fromkeys(message.loads))
        self._sum()

    def _sources(self, number: int, message: said.Sources) -> None:
        self.shares.sources(number, message)
        self._dirty_sources.update(dict.fromkeys(message.counts))
        for other in self.workers:
            if other != number:
                came = self._came.setdefault(other, {})
                for service, sources in message.came.items():
                    known = came.setdefault(service, {})
                    for host, times in sources.items():
                        known[host] = known.get(host, 0) + times
        self._sum()

    def _sum(self) -> None:
        if self._summing is None and not self.respawning.stopped:
            self._summing = self.reactor.callLater(SUMMED, self._summed)

    def _summed(self) -> None:
        """Tell each worker what the others carry, where that has changed."""
        self._summing = None
        dirty, self._dirty = self._dirty, {}
        services, self._dirty_sources = self._dirty_sources, {}
        came, self._came = self._came, {}
        for name in dirty:
            pool, _, server = name.rpartition("/")
            backend = self._pools[pool].find(server) if pool in self._pools else None
            if backend is not None:
                backend.elsewhere = self.shares.load(name)
        for number in list(self.workers):
            self._told(number, dirty, services, came.get(number, {}))

    def _told(
        self, number: int, dirty: Iterable[str], services: Iterable[str], came: dict[str, dict[str, int]]
    ) -> None:
        if dirty:
            self._send(number, self.shares.others(number, dirty))
        if services or came:
            self._send(number, self.shares.other_sources(number, came, services))
