"""TLS passed through between real clients and servers: the session id leads back to its server."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from exproxy.persistence.keys import Secrets
from exproxy.virtual import Port
from protocols.tls import PassThrough
from protocols.tls_session import TlsSession, TlsSessionOptions
from tests.certificates import ca_file
from tests.loopback.world import Server, World


class TlsClient:
    """A blocking client that knows its last session."""

    def __init__(self, version: ssl.TLSVersion) -> None:
        self._context = ssl.create_default_context(cafile=str(ca_file()))
        self._context.maximum_version = version
        self._context.options |= ssl.OP_NO_TICKET
        self.session: ssl.SSLSession | None = None

    def greeting(self, port: int) -> str:
        """The first bytes that the server sends."""
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            self._context.wrap_socket(plain, server_hostname="localhost", session=self.session) as secure,
        ):
            name = secure.recv(100).decode()
            self.session = secure.session
            return name


class PassThroughTests(TestCase):
    timeout = 30

    def begin(self) -> World:
        """Two TLS servers that greet with their names, behind exproxy."""
        strategy = TlsSession(TlsSessionOptions(), Secrets((b"test",)).keys("test", ("a", "b")))
        servers = [Server(name, name.encode(), tls=True) for name in ("a", "b")]
        world = World(self, PassThrough, servers, persistence=strategy)
        world.service.ports[world.number] = Port("passthrough", world.pool, None)
        return world

    async def greetings(self, world: World, clients: list[TlsClient]) -> list[str]:
        """What each client is greeted with, one after the other."""
        found = []
        for client in clients:
            name: Any = await deferToThread(client.greeting, world.number)
            found.append(name)
            await world.quiet()
        return found

    async def test_sessions(self) -> None:
        """TLS 1.2 clients of one address are spread, and each comes back to where its session is."""
        world = self.begin()
        clients = [TlsClient(ssl.TLSVersion.TLSv1_2) for _ in range(4)]
        first = await self.greetings(world, clients)
        self.assertEqual(sorted(first), ["a", "a", "b", "b"])
        for _ in range(3):
            self.assertEqual(await self.greetings(world, clients), first)
        record = world.records.kept[-1]
        self.assertEqual((record["server_name"], record["tls"]), ("localhost", "TLSv1.2"))
        self.assertEqual(record["persistence"], "hit")

    async def test_tls13(self) -> None:
        """TLS 1.3 clients of one address are together, session or not."""
        world = self.begin()
        clients = [TlsClient(ssl.TLSVersion.TLSv1_3) for _ in range(3)]
        first = await self.greetings(world, clients)
        self.assertEqual(len(set(first)), 1)
        self.assertEqual(await self.greetings(world, clients), first)
        self.assertEqual(world.records.kept[-1]["tls"], "TLSv1.3")
