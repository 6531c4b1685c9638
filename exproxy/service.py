"""configuration -> running services: the one place that starts and stops what build.py has wired."""

# mypy: allow-untyped-calls
from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger, globalLogPublisher
from twisted.python.failure import Failure

from exproxy import listening, transparent
from exproxy.accepting import Accepting
from exproxy.access_log import AccessLog
from exproxy.build import Builder, Built
from exproxy.checks.record import Check
from exproxy.config import Config, Listen
from exproxy.descriptors import raise_limit, shortage
from exproxy.errors import ConfigurationError
from exproxy.event_log import EventLog
from exproxy.model import TLSOptions
from exproxy.monitor import Monitor
from exproxy.names import Names
from exproxy.persistence.keys import Secrets
from exproxy.poller import poller
from exproxy.relay import Sweep
from exproxy.secret import kept_secret
from exproxy.tls.watching import Watch
from exproxy.virtual import Shared

if TYPE_CHECKING:
    from exproxy.lab.lab import Lab

# Services have generous limits of their own; that all of them are reached at once is not expected.
ENOUGH = 20_000
UNVERIFIED = TLSOptions(verify="none")


class ExproxyService(Service):
    """Everything that one configuration describes.

    ``bind()`` while there are privileges; then twistd's ``startService``; ``stopService`` drains
    up to each service's ``timeouts.grace`` and leaves nothing behind.
    """

    log = Logger()

    def __init__(self, config: Config, reactor: Any) -> None:
        self.config = config
        self.reactor = reactor
        self.monitor = Monitor(reactor)
        self.access_log = AccessLog(reactor, config.access_log)
        self._sockets: list[tuple[Built, Listen, socket.socket]] = []
        self._ports: list[IListeningPort] = []
        self._names = Names(reactor, self._resolved)
        self.lab: Lab | None = None
        # Fires once the lab (where there is one) answers and the checks have begun.
        self.ready: Deferred[None] = Deferred()
        self._event_log: EventLog | None = None
        self._stopping: Deferred[Any] | None = None
        self._event_file: IO[str] = sys.stdout
        self._signals = 0
        self._handlers: list[tuple[signal.Signals, Any, Any]] = []
        self.built = self._build()
        self._transparent = any(owner.transparent for built in self.built for owner in built.owners.values())
        shown = [(one.config.name, one.service.server_tls) for one in self.built]
        self._certificates = Watch(reactor, [(name, tls) for name, tls in shown if tls is not None])

    # -- begin -----------------------------------------------------------------------

    def bind(self) -> None:
        """Take every listening address; the system queues connections until there is somebody to answer.

        Raises CannotListen; nothing stays bound then.
        """
        if self._transparent:
            transparent.require()
        try:
            for built in self.built:
                for listen in built.config.listens:
                    sock = listening.bind(listen.host, listen.port)
                    self._sockets.append((built, listen, sock))
                    listening.listen(sock)
            self.access_log.open()
            self._open_event_log()
        except OSError as error:
            self._unbind()
            self.access_log.close()
            raise ConfigurationError(f"cannot write a log: {error}") from None
        except ConfigurationError:
            self._unbind()
            raise

    def privilegedStartService(self) -> None:
        """Called before twistd gives up its privileges, one of which may be needed on."""
        super().privilegedStartService()
        if self._transparent:
            transparent.keep()

    def startService(self) -> None:
        """Begin to ask, to listen, and to answer."""
        if self._transparent:
            transparent.regain()
        super().startService()
        # Before anything else: it would kill.
        self._catch(signal.SIGHUP, lambda number, frame: self.reactor.callFromThread(self.reopen_logs))
        clients = sum(built.config.limits.connections for built in self.built)
        warning = shortage(raise_limit(), min(clients, ENOUGH))
        if warning:
            # Not `warning=`: Twisted takes an event with that key for one of Python's warnings.
            self.log.warn("{text}", text=warning)
        names = {
            self.config.servers[backend.server].address: built.config.name_ttl
            for built in self.built
            for pool, _ in built.pools
            for backend in pool.backends
        }
        self._names.start(names.items())
        self._certificates.start()
        for built in self.built:
            self._watch(built)
        self._listen()
        if self.lab is not None:
            self.lab.start().addCallbacks(lambda _: self._ask(), self._lab_failed)
        else:
            self._ask()
        self.reactor.callWhenRunning(self._catch_signals)

    def _ask(self) -> None:
        if self._stopping is None:
            self.monitor.start()
            self.ready.callback(None)

    def _listen(self) -> None:
        sockets, self._sockets = self._sockets, []
        for built, listen, sock in sockets:
            real = sock.getsockname()[1]
            self._ports.append(self._port(built, listen, sock))
            built.listening(listen, real)
            self.log.info(
                "{service} listens on {where}",
                service=built.config.name,
                where=replace(listen, port=real).text,
            )

    def _port(self, built: Built, listen: Listen, sock: socket.socket) -> IListeningPort:
        poller, entrance = self._poller, built.entrance(listen)
        if poller is not None and poller.ready():
            port = Accepting(poller, sock, entrance, built.service, built.service.tcp)
            port.startListening()
            return port
        adopted: IListeningPort = self.reactor.adoptStreamPort(sock.fileno(), sock.family, entrance)
        sock.close()
        return adopted

    def _watch(self, built: Built) -> None:
        guard = built.guard()
        # A resumed session would show the certificate of yesterday.
        asked = partial(built.service.client_tls, resume=False)
        for pool, target in built.pools:
            owner = built.owners[pool]
            check = owner.check.plugin.check(owner.check.options)
            options = target.tls
            if target.tls_mode == "starttls" and isinstance(check, Check):
                check = check.upgraded()
            watched = guard if options is not None else None
            # A server that must show the right certificate is asked over TLS, whatever the question.
            never = check.tls == "never" and not (watched is not None and watched.requires)
            if never or (check.tls == "backend" and target.tls_mode in ("none", "starttls")):
                client_tls = None
            elif check.tls == "starttls":
                client_tls = partial(asked, options or owner.backend.tls)
            else:
                # A pass-through port has no options of ours; what is behind it is asked unverified.
                client_tls = partial(asked, options or UNVERIFIED)
            self.monitor.watch(pool, check, owner.health, client_tls, watched, built.locations.get(pool))
            if options is not None and not options.verified:
                self.log.warn(
                    "{pool} does NOT verify its servers' certificates (verify: none): whoever can take a "
                    "server's place on the network reads all that clients say, passwords too",
                    pool=pool.name,
                )

    def _lab_failed(self, failure: Failure) -> None:
        self.log.failure("the lab cannot start", failure)
        self.reactor.stop()

    def _open_event_log(self) -> None:
        where = self.config.event_log
        if where is not None:
            # Twisted's own log goes to where twistd was told; this is the same as JSON.
            self._event_file = sys.stdout if where == "stdout" else open(where, "a", encoding="utf-8")  # noqa: SIM115
            self._event_log = EventLog(self._event_file)
            globalLogPublisher.addObserver(self._event_log)

    def _resolved(self, name: str, address: str) -> None:
        for built in self.built:
            for pool, _ in built.pools:
                for backend in pool.backends:
                    if self.config.servers[backend.server].address == name:
                        backend.host = address

    # -- end -------------------------------------------------------------------------

    def stopService(self) -> Deferred[Any]:
        """Let nobody in, say so to everybody, wait for `timeouts.grace`, then cut what is left."""
        if self._stopping is None:
            super().stopService()
            self._stopping = Deferred.fromCoroutine(self._stop())
        return self._stopping

    async def _stop(self) -> None:
        self._unbind()
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        self.monitor.stop()
        self._names.stop()
        self._certificates.stop()
        await gatherResults([self._drained(built) for built in self.built])
        if self._poller is not None:
            self._poller.close()
        if self.lab is not None:
            await self.lab.stop()
        self.access_log.close()
        self._close_event_log()
        self._give_signals_back()

    def _close_event_log(self) -> None:
        if self._event_log is not None:
            globalLogPublisher.removeObserver(self._event_log)
            self._event_log = None
            if self.config.event_log != "stdout":
                self._event_file.close()

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

    def reopen_logs(self) -> None:
        """After a rotation: go on in new files; the certificates are read again too."""
        logs = "the logs were reopened"
        try:
            self.access_log.reopen()
            # sys.stdout is a part of Twisted's log by now, which would hear itself.
            if self._event_log is not None and self.config.event_log != "stdout":
                self._close_event_log()
                self._open_event_log()
        except OSError as error:
            logs = "a log was NOT reopened"
            self.log.error("a log cannot be opened again: {error}", error=error)
        self._certificates.look(always=True)
        self.log.info("SIGHUP: {logs}, the certificates were read; the configuration was not", logs=logs)

    def cut(self) -> None:
        """Drop every connection now."""
        for built in self.built:
            built.service.cut("stopped at once")

    def _unbind(self) -> None:
        for _, _, sock in self._sockets:
            sock.close()
        self._sockets.clear()

    def _catch_signals(self) -> None:
        """Twisted's own handler ignores a second SIGTERM; ours stops at once then."""
        if self._stopping is not None:
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            previous = signal.getsignal(number)
            if callable(previous):
                self._catch(number, partial(self._signalled, previous))

    def _catch(self, number: signal.Signals, ours: Callable[[int, Any], Any]) -> None:
        self._handlers.append((number, ours, signal.signal(number, ours)))

    def _give_signals_back(self) -> None:
        handlers, self._handlers = self._handlers, []
        for number, ours, previous in handlers:
            if signal.getsignal(number) is ours and previous is not None:
                signal.signal(number, previous)

    def _signalled(self, previous: Callable[..., Any], number: int, frame: Any) -> None:
        if self._signals:
            self.reactor.callFromThread(self.cut)
        else:
            previous(number, frame)
        self._signals += 1

    def _build(self) -> list[Built]:
        config = self.config
        if config.lab is not None:
            from exproxy.lab.lab import Lab

            # Its certificates are among the files that the services show and trust: made now, if ever.
            self.lab = Lab(config.lab, config.state_dir, self.reactor)
            self.log.debug("the lab's certificates: {files}", files=self.lab.certificates)
        secret = config.secret or (kept_secret(config.state_dir),)
        sweep = Sweep(self.reactor)
        self._poller = poller(self.reactor, sweep)
        shared = Shared(
            self.reactor,
            sweep,
            self.access_log,
            {server.name: server.address for server in config.servers.values()},
            self.monitor.client_failed,
            poller=self._poller,
        )
        self.builder = Builder(config, shared, Secrets(secret))
        return self.builder.build()
