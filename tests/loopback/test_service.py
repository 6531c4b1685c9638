"""The whole service from the text of a configuration: it serves, drains, stops, and leaves nothing."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet import defer, reactor, task
from twisted.trial.unittest import TestCase

from exproxy.config import load
from exproxy.errors import ConfigurationError
from exproxy.service import ExproxyService
from tests.certificates import pem
from tests.folders import folder
from tests.loopback.configured import WebServer, port_of
from tests.loopback.pairs import Far, client_tls
from tests.loopback.world import Server

GREETINGS = {
    "tcp": b"hello\r\n",
    "smtp": b"220 ex1 ESMTP\r\n",
    "imap": b"* OK ready\r\n",
    "pop": b"+OK ready\r\n",
}


def descriptors() -> int:
    """How many descriptors this process has open."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


class ServiceTests(TestCase):
    """ExproxyService in this process, with servers in this process."""

    timeout = 20

    def setUp(self) -> None:
        self.folder = folder(self)
        self.servers: list[Any] = []
        self.clients: list[Far] = []

    async def tearDown(self) -> None:  # type: ignore[override]
        for far in self.clients:
            if not far.gone:
                far.transport.abortConnection()
            await far.until(lambda far=far: far.gone)
        for server in self.servers:
            await server.close()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.assertNotIn("ExproxyService", repr(signal.getsignal(number)))

    def server(self, greeting: bytes) -> int:
        """A server with a greeting; its port."""
        server = Server("a", greeting)
        self.servers.append(server)
        return server.listen()

    def configured(self, text: str, **words: object) -> ExproxyService:
        """The service of that text, with a folder of its own."""
        file = self.folder / "exproxy.yaml"
        head = f"state-dir: {self.folder}\naccess-log: {self.folder}/access.log\n"
        file.write_text(head + text.format(**words), encoding="utf-8")
        return ExproxyService(load(file), reactor)

    async def started(self, text: str, **words: object) -> ExproxyService:
        service = self.configured(text, **words)
        service.bind()
        service.startService()
        await service.ready
        self.addCleanup(service.stopService)
        return service

    async def client(self, service: ExproxyService, name: str) -> Far:
        from twisted.internet.endpoints import TCP4ClientEndpoint
        from twisted.internet.protocol import Factory

        far = Far()
        self.clients.append(far)
        factory = Factory.forProtocol(lambda: far)
        factory.noisy = False
        await TCP4ClientEndpoint(reactor, "127.0.0.1", port_of(service, name)).connect(factory)
        return far

    def records(self) -> list[dict[str, Any]]:
        text = (self.folder / "access.log").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await task.deferLater(reactor, 0.005, lambda: None)

    def sessions(self, service: ExproxyService) -> int:
        return sum(len(built.service.sessions) for built in service.built)

    MAIL = """
servers: {{a: 127.0.0.1}}
services:
  tcp: {{protocol: tcp, listen: "127.0.0.1:0", backend: {{port: {tcp}}}}}
  smtp: {{protocol: smtp, listen: {{address: 127.0.0.1, port: 0, tls: none}}, backend: {{port: {smtp}}}}}
  imap: {{protocol: imap, listen: {{address: 127.0.0.1, port: 0, tls: none}}, backend: {{port: {imap}}}}}
  pop: {{protocol: pop, listen: {{address: 127.0.0.1, port: 0, tls: none}}, backend: {{port: {pop}}}}}
"""

    async def test_serves_mail_and_leaves_nothing(self) -> None:
        """TCP, SMTP, IMAP and POP are served; stopped, there is no timer, reader or descriptor left."""
        ports = {name: self.server(greeting) for name, greeting in GREETINGS.items()}
        # The reactor runs, and has what it needs itself, from the first wait on.
        await task.deferLater(reactor, 0, lambda: None)
        before = descriptors(), len(reactor.getReaders()), len(reactor.getDelayedCalls())
        service = await self.started(self.MAIL, **ports)
        for name, greeting in GREETINGS.items():
            client = await self.client(service, name)
            await client.until(lambda client=client, greeting=greeting: client.data == greeting)
            client.transport.loseConnection()
            await client.until(lambda client=client: client.gone)
        await self.until(lambda: not self.sessions(service))
        await service.stopService()
        await self.until(lambda: all(far.gone for server in self.servers for far in server.far))
        after = descriptors(), len(reactor.getReaders()), len(reactor.getDelayedCalls())
        self.assertEqual(after[:2], before[:2])
        self.assertLessEqual(after[2], before[2])
        records = self.records()
        self.assertEqual({record["service"] for record in records}, set(GREETINGS))
        for record in records:
            self.assertEqual(record["server"], "a")
            self.assertEqual(record["bytes_out"], len(GREETINGS[record["service"]]))

    WEB = """
servers: {{a: 127.0.0.1}}
services:
  web:
    protocol: https
    listen: {{address: 127.0.0.1, port: 0}}
    certificate: {certificate}
    backend: {{port: {port}, tls: false}}
    check: connect
    persistence: none
    timeouts: {{grace: {grace}}}
"""

    async def web(self, grace: str = "10s") -> ExproxyService:
        port = reactor.listenTCP(0, WebServer(b"a"), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return await self.started(
            self.WEB, certificate=pem("localhost", "127.0.0.1"), port=port.getHost().port, grace=grace
        )

    async def ask(self, service: ExproxyService) -> Far:
        """A TLS client that has had one answer and stays."""
        client = await self.client(service, "web")
        client.transport.startTLS(client_tls())
        client.transport.write(b"GET /owa/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await client.until(lambda: b"from a" in client.data)
        return client

    async def test_serves_https(self) -> None:
        """TLS ends here, the request is answered by the server behind, and the record says all of it."""
        service = await self.web()
        client = await self.ask(service)
        client.transport.loseConnection()
        await self.until(lambda: not self.sessions(service))
        await service.stopService()
        [record] = [each for each in self.records() if "status" in each]
        self.assertEqual((record["service"], record["server"], record["status"]), ("web", "a", 200))
        self.assertEqual(record["tls"], "TLSv1.3")

    async def test_a_stop_waits(self) -> None:
        """A connection that goes on is waited for; nobody else is let in; it may still end by itself."""
        service = await self.started(self.MAIL, **{name: self.server(g) for name, g in GREETINGS.items()})
        client = await self.client(service, "tcp")
        await client.until(lambda: client.data)
        number = port_of(service, "tcp")
        stopped = service.stopService()
        await task.deferLater(reactor, 0.02, lambda: None)
        self.assertFalse(stopped.called)
        with socket.socket() as late:
            self.assertNotEqual(late.connect_ex(("127.0.0.1", number)), 0)
        client.transport.write(b"still here")
        [far] = self.servers[0].far[-1:]
        await far.until(lambda: far.data == b"still here")
        client.transport.loseConnection()
        await stopped

    async def test_a_stop_waits_no_longer_than_grace(self) -> None:
        """After `timeouts.grace` what is left is cut, and its record says so."""
        text = self.MAIL + "defaults: {{timeouts: {{grace: 50ms}}}}\n"
        service = await self.started(text, **{name: self.server(g) for name, g in GREETINGS.items()})
        client = await self.client(service, "tcp")
        await client.until(lambda: client.data)
        await service.stopService()
        await client.until(lambda: client.gone)
        [record] = [each for each in self.records() if each["bytes_out"]]
        self.assertEqual(record["reason"], "grace is over")

    async def test_idle_web_clients_do_not_delay_a_stop(self) -> None:
        """A browser that keeps its connection for later is let go at once."""
        service = await self.web(grace="60s")
        client = await self.ask(service)
        await service.stopService()
        await client.until(lambda: client.gone)

    async def test_stopped_twice(self) -> None:
        """The second stop waits for the first."""
        service = await self.web()
        await self.ask(service)
        first, second = service.stopService(), service.stopService()
        self.assertIs(first, second)
        await first

    async def test_as_a_part(self) -> None:
        """A parent that stops its services waits for it."""
        parent = MultiService()
        service = self.configured(self.MAIL, **dict.fromkeys(GREETINGS, self.server(b"hello\r\n")))
        service.bind()
        service.setServiceParent(parent)
        parent.startService()
        await service.ready
        self.assertTrue(service.running)
        await defer.maybeDeferred(parent.stopService)
        self.assertFalse(service.running)

    async def test_stopped_before_it_began(self) -> None:
        """Bound and never started: stopping lets the sockets go."""
        before = descriptors()
        service = self.configured(self.MAIL, **dict.fromkeys(GREETINGS, 9025))
        service.bind()
        await service.stopService()
        self.assertEqual(descriptors(), before)

    def _bind_fails(self, text: str, **words: object) -> str:
        service = self.configured(text, **words)
        before = descriptors()
        error = self.assertRaises(ConfigurationError, service.bind)
        self.assertEqual(descriptors(), before)
        return str(error)

    async def test_a_port_that_is_taken(self) -> None:
        """Where one of several addresses cannot be had none stays bound, and no file open."""
        text = self.MAIL.replace(
            'tcp, listen: "127.0.0.1:0"', 'tcp, listen: ["127.0.0.1:0", "127.0.0.1:{bad}"]'
        )
        with socket.socket() as other:
            # Below the range of outgoing connections, where bind() would wait for it to come free.
            for bad in range(9300, 9400):
                try:
                    other.bind(("127.0.0.1", bad))
                    break
                except OSError:
                    continue
            other.listen()
            self.assertIn(
                f"cannot listen on 127.0.0.1:{bad}: Address already in use",
                self._bind_fails(text, bad=bad, **dict.fromkeys(GREETINGS, 9025)),
            )

    async def test_a_log_that_cannot_be_written(self) -> None:
        """Logs that cannot be opened are told before anything begins, and nothing stays open."""
        words: dict[str, object] = dict.fromkeys(GREETINGS, 9025)
        text = self.MAIL + "event-log: /nonexistent/events.log\n"
        self.assertIn("/nonexistent/events.log", self._bind_fails(text, **words))

    async def test_event_log(self) -> None:
        """Flips are in the event log as JSON; the observer goes with the service."""
        text = (
            self.MAIL
            + f"event-log: {self.folder}/events.log\n"
            + "defaults: {{health: {{interval: 1s, timeout: 1s}}}}\n"
        )
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            service = await self.started(text, **dict.fromkeys(GREETINGS, nobody.getsockname()[1]))
            log = Path(self.folder / "events.log")
            await self.until(lambda: log.read_text().count("no server available!") == 4)
        await service.stopService()
        events = [json.loads(line) for line in log.read_text().splitlines()]
        self.assertTrue(any("Server imap/a is DOWN, reason: Layer4" in event["text"] for event in events))
        self.assertEqual(self.records(), [])

    async def test_nobody_there(self) -> None:
        """Without any server a client is refused in the protocol's words."""
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            service = await self.started(self.MAIL, **dict.fromkeys(GREETINGS, nobody.getsockname()[1]))
            client = await self.client(service, "smtp")
            await client.until(lambda: client.eof)
            self.assertEqual(client.data[:3], b"421")
