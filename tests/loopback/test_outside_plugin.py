"""The plugin that docs/write-a-protocol.md builds, outside the tree, balancing real connections."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet import defer, reactor
from twisted.internet.protocol import ClientCreator, Factory, ProcessProtocol, Protocol
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.pages import blocks, environment, write

CONFIGURATION = """
state-dir: state
servers: {{exch1: 127.0.0.11, exch2: 127.0.0.12}}
defaults:
  health: {{interval: 500ms, timeout: 400ms, fall: 2, rise: 1}}
  timeouts: {{grace: 2s}}
services:
  sieve:
    protocol: managesieve
    listen: "127.0.0.1:0"
    host-name: sieve.example.org
    backend: {{port: {port}}}
    persistence: {{office: {{networks: [127.0.1.0/24, 127.0.2.0/24]}}}}
"""
PATIENCE = 20


class SieveServer(LineReceiver):
    """A ManageSieve server that knows its greeting and LOGOUT."""

    factory: Servers

    def connectionMade(self) -> None:
        name = self.transport.getHost().host
        if name in self.factory.refusing:
            self.transport.write(b'BYE (TRYLATER) "too many users"\r\n')
            self.transport.loseConnection()
        else:
            self.transport.write(b'"IMPLEMENTATION" "%b"\r\n"SIEVE" "fileinto"\r\nOK\r\n' % name.encode())

    def lineReceived(self, line: bytes) -> None:
        if line == b"LOGOUT":
            self.transport.write(b'OK "Logout Complete"\r\n')
            self.transport.loseConnection()


class Servers(Factory):
    """The servers on all addresses; those in ``refusing`` say BYE."""

    noisy = False
    protocol = SieveServer

    def __init__(self) -> None:
        self.refusing: set[str] = set()


class Client(Protocol):
    """Says LOGOUT after the greeting, and collects everything to the end."""

    def __init__(self) -> None:
        self.said = b""
        self.done: defer.Deferred[bytes] = defer.Deferred()

    def dataReceived(self, data: bytes) -> None:
        before, self.said = self.said, self.said + data
        if b"OK\r\n" in self.said and b"OK\r\n" not in before:
            self.transport.write(b"LOGOUT\r\n")

    def connectionLost(self, reason: Failure) -> None:
        self.done.callback(self.said)


class Daemon(ProcessProtocol):
    """twistd in the foreground; its output can be waited for."""

    def __init__(self) -> None:
        self.output = ""
        self.ended: defer.Deferred[Any] = defer.Deferred()
        self._waiting: list[tuple[re.Pattern[str], defer.Deferred[re.Match[str]]]] = []

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.output += data.decode("utf-8", "replace")
        for pattern, waiting in list(self._waiting):
            match = pattern.search(self.output)
            if match:
                self._waiting.remove((pattern, waiting))
                waiting.callback(match)

    def said(self, pattern: str) -> defer.Deferred[re.Match[str]]:
        """A Deferred of the first match of ``pattern``; TimeoutError after a while."""
        waiting: defer.Deferred[re.Match[str]] = defer.Deferred()
        self._waiting.append((re.compile(pattern), waiting))
        self.childDataReceived(1, b"")
        return waiting.addTimeout(PATIENCE, reactor)

    def processEnded(self, reason: Failure) -> None:
        waiting, self._waiting = self._waiting, []
        for _, each in waiting:
            each.errback(RuntimeError(self.output))
        self.ended.callback(reason.value)


class OutsidePluginTests(TestCase):
    timeout = 60

    async def begin(self) -> None:
        """Two servers, and exproxy with the page's plugin before them."""
        holder = tempfile.TemporaryDirectory(prefix="exproxy-outside-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        for block in blocks("write-a-protocol.md"):
            if block.title and block.language == "python":
                write(block, self.folder)
        self.servers = Servers()
        self.listening: list[Any] = []
        self.addCleanup(self.stop_servers)
        number = 0
        for host in ("127.0.0.11", "127.0.0.12"):
            self.listening.append(reactor.listenTCP(number, self.servers, interface=host))
            number = self.listening[0].getHost().port
        text = CONFIGURATION.format(port=number)
        (self.folder / "sieve.yaml").write_text(text, encoding="utf-8")
        self.daemon = Daemon()
        program = str(Path(sys.executable).parent / "twistd")
        arguments = [program, "-n", "--pidfile=", "exproxy", "-c", "sieve.yaml"]
        variables = {**environment(self.folder), "PYTHONUNBUFFERED": "1"}
        self.process = reactor.spawnProcess(self.daemon, program, arguments, variables, str(self.folder))
        self.addCleanup(self.end)
        match = await self.daemon.said(r"sieve listens on 127\.0\.0\.1:(\d+)")
        self.port = int(match[1])

    async def stop_servers(self) -> None:
        """Listen no more."""
        listening, self.listening = self.listening, []
        for port in listening:
            await port.stopListening()

    async def end(self) -> None:
        """Stop exproxy, if it is still there; it ends well."""
        if self.process.pid is not None:
            os.kill(self.process.pid, signal.SIGTERM)
        end = await self.daemon.ended
        # twistd ends by the signal that stopped it, after it has stopped everything.
        good = (None, signal.SIGTERM)
        self.assertEqual((getattr(end, "exitCode", 0), end.signal), good, self.daemon.output)
        self.assertNotIn("Traceback", self.daemon.output)

    async def ask(self, source: str = "127.0.0.21") -> str:
        """What a client at that address is told, from greeting to end."""
        creator = ClientCreator(reactor, Client)
        connected = creator.connectTCP("127.0.0.1", self.port, bindAddress=(source, 0))
        client = await connected.addTimeout(PATIENCE, reactor)
        return (await client.done.addTimeout(PATIENCE, reactor)).decode()

    async def served(self, source: str) -> str:
        """The address of the server that greeted a client at that address."""
        said = await self.ask(source)
        match = re.match(r'"IMPLEMENTATION" "([0-9.]+)"\r\n', said)
        assert match, said
        self.assertTrue(said.endswith('OK\r\nOK "Logout Complete"\r\n'), said)
        return match[1]

    def test_balanced(self) -> defer.Deferred[None]:
        """Clients of nobody in particular are spread; those of one office are together."""
        return defer.Deferred.fromCoroutine(self._balanced())

    async def _balanced(self) -> None:
        await self.begin()
        spread = Counter([await self.served(f"127.0.0.{n}") for n in range(21, 27)])
        self.assertEqual(spread, {"127.0.0.11": 3, "127.0.0.12": 3})
        for office in ("127.0.1", "127.0.2"):
            together = {await self.served(f"{office}.{n}") for n in range(1, 6)}
            self.assertEqual(len(together), 1, together)

    def test_passed_over(self) -> defer.Deferred[None]:
        """A server that refuses is passed over: no client hears of it; the check takes it DOWN."""
        return defer.Deferred.fromCoroutine(self._passed_over())

    async def _passed_over(self) -> None:
        await self.begin()
        self.servers.refusing.add("127.0.0.11")
        answered = {await self.served("127.0.0.21") for _ in range(4)}
        self.assertEqual(answered, {"127.0.0.12"})
        await self.daemon.said(r"Server sieve/exch1 is DOWN, reason: .*too many users")

    def test_refused(self) -> defer.Deferred[None]:
        """When there is no server at all, clients are told in ManageSieve's words."""
        return defer.Deferred.fromCoroutine(self._refused())

    async def _refused(self) -> None:
        await self.begin()
        await self.stop_servers()
        self.assertEqual(await self.ask(), 'BYE (TRYLATER) "sieve.example.org has no server for you"\r\n')
