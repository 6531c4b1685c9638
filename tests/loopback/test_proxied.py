"""Behind a proxy: the header of the PROXY protocol on real connections, before anything else."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from exproxy import actions, events
from exproxy.model import CLIENT, TLS, Destination, Facts, Source
from exproxy.proxied import ProxiedFactory
from exproxy.proxy_protocol import build, local
from exproxy.session import SessionFactory
from exproxy.settings import Limits, Networks, Timeouts
from exproxy.virtual import Port, Rules
from tests.certificates import ca_file
from tests.loopback.pairs import Far
from tests.loopback.world import Server, ServerFirst, World

CLIENT_ENDS, REACHED_ENDS = ("198.51.100.7", 40000), ("203.0.113.25", 25)
CLIENT_AT, REACHED = Source(*CLIENT_ENDS), Destination(*REACHED_ENDS)
HEADERS = [build("v1", CLIENT_AT, REACHED), build("v2", CLIENT_AT, REACHED)]
LOCALS = [b"PROXY UNKNOWN\r\n", local()]


class Greeting:
    """Greets with what it knows of the client, and echoes; picks nobody."""

    facts: list[Facts]

    def __init__(self, service: Any) -> None:
        pass

    def handle(self, event: events.Event) -> Iterable[actions.Action]:
        if isinstance(event, events.Began):
            self.facts.append(event.facts)
            return [actions.ToClient(b"220 ready\r\n")]
        if isinstance(event, events.Data) and event.side is CLIENT:
            return [actions.ToClient(event.data)]
        return [actions.Hangup()] if event == events.Eof(CLIENT) else ()


class ProxiedTests(TestCase):
    """A service whose port takes headers from 127.0.0.1."""

    timeout = 15

    def setUp(self) -> None:
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self._note)
        self.addCleanup(globalLogPublisher.removeObserver, self._note)

    def _note(self, event: dict[str, Any]) -> None:
        self.lines.append(formatEvent(event))

    def said(self, text: str) -> bool:
        """Whether the log says that somebody was refused with those words."""
        return any("refused" in line and text in line for line in self.lines)

    def serve(self, conversation: Any = None, servers: Iterable[Server] = (), **words: Any) -> None:
        """A world with a second port, that takes headers."""
        facts: list[Facts] = []
        self.facts = facts
        conversation = conversation or type("Greeting", (Greeting,), {"facts": facts})
        words.setdefault("trusted_proxies", Networks.parse(["127.0.0.1"]))
        self.world = World(self, conversation, servers, **words)
        service = self.world.service
        self.front = ProxiedFactory(service, SessionFactory(service, conversation))
        self.port = reactor.listenTCP(0, self.front, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        self.number = self.port.getHost().port
        service.ports[self.number] = service.ports[self.world.number]

    async def connect(self, host: str = "127.0.0.1") -> Far:
        """A connection from that address."""
        far = Far()
        self.world.clients.append(far)
        factory = Factory.forProtocol(lambda: far)
        factory.noisy = False
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.number, bindAddress=(host, 0))
        await endpoint.connect(factory)
        return far

    async def talk(self, *pieces: bytes) -> Far:
        """Say the pieces, each in a turn of its own."""
        far = await self.connect()
        for piece in pieces:
            far.transport.write(piece)
            await self.world.turn()
        return far

    async def greeted(self, far: Far, then: bytes = b"") -> None:
        await far.until(lambda: bytes(far.data) == b"220 ready\r\n" + then or far.gone)
        self.assertEqual(bytes(far.data), b"220 ready\r\n" + then)

    async def test_addresses(self) -> None:
        """The session begins with the header's addresses, the access log has the proxy too."""
        self.serve()
        for header in HEADERS:
            far = await self.talk(header)
            await self.greeted(far)
            facts = self.facts[-1]
            self.assertEqual((facts[Source], facts[Destination]), (CLIENT_AT, REACHED))
            self.assertEqual(facts[Destination].listening, self.number)
            port = far.transport.getHost().port
            far.transport.loseConnection()
            await self.world.quiet()
            record = self.world.records.kept[-1]
            self.assertEqual((record["client"], record["via"]), ("198.51.100.7:40000", f"127.0.0.1:{port}"))
        self.assertEqual(self.front.waiting, set())

    async def test_pieces(self) -> None:
        """Byte by byte nothing begins before the last one, and what follows is the client's."""
        self.serve()
        for header in HEADERS:
            far = await self.talk(*(header[at : at + 1] for at in range(len(header) - 1)))
            self.assertEqual(bytes(far.data), b"")
            far.transport.write(header[-1:] + b"EHLO me\r\n")
            await self.greeted(far, b"EHLO me\r\n")

    async def test_together(self) -> None:
        """The client's first bytes may stand in the same segment as the header."""
        self.serve()
        for header in HEADERS:
            await self.greeted(await self.talk(header + b"EHLO me\r\n"), b"EHLO me\r\n")

    async def test_own_connections(self) -> None:
        """UNKNOWN and LOCAL: the proxy speaks for itself, from its own address."""
        self.serve()
        for header in LOCALS:
            far = await self.talk(header)
            await self.greeted(far)
            here, there = far.transport.getHost(), self.port.getHost()
            self.assertEqual(self.facts[-1][Source], Source(here.host, here.port))
            self.assertEqual(self.facts[-1][Destination], Destination(there.host, there.port))
            far.transport.loseConnection()
            await self.world.quiet()
            self.assertNotIn("via", self.world.records.kept[-1])

    async def test_before_tls(self) -> None:
        """The header stands outside TLS, also where the ClientHello comes in the same segment."""
        self.serve(client_tls=True)
        for header in HEADERS:
            context = ssl.create_default_context(cafile=str(ca_file()))
            came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
            talk = context.wrap_bio(came, goes, server_hostname="localhost")
            self.assertRaises(ssl.SSLWantReadError, talk.do_handshake)
            far = await self.talk(header + goes.read())
            while True:
                await far.until(lambda far=far: far.data or far.gone)
                came.write(bytes(far.data))
                far.data.clear()
                try:
                    greeting = talk.read(100)
                    break
                except ssl.SSLWantReadError:
                    far.transport.write(goes.read())
            self.assertEqual(greeting, b"220 ready\r\n")
            facts = self.facts[-1]
            self.assertEqual((facts[Source], facts[Destination]), (CLIENT_AT, REACHED))
            self.assertIn(TLS, facts)

    async def test_untrusted(self) -> None:
        """Who is no trusted proxy is refused, with or without a header, and the log says why."""
        self.serve(trusted_proxies=Networks.parse(["192.0.2.0/24"]))
        far = await self.talk(HEADERS[0])
        await far.until(lambda: far.gone)
        self.assertTrue(self.said("`trusted-proxies` alone"))
        self.assertEqual((self.facts, self.world.records.kept), ([], []))

    async def test_garbage(self) -> None:
        """A trusted proxy that brings no header, or a wrong one, is dropped and named."""
        self.serve()
        for data, words in (
            (b"EHLO me\r\n", "does not begin with a PROXY protocol header"),
            (b"\x16\x03\x01\x00\x05", "does not begin with a PROXY protocol header"),
            (b"PROXY TCP4 198.51.100.7 203.0.113.25 40000\r\n", "another form"),
            (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0", "another version"),
        ):
            self.lines.clear()
            far = await self.talk(data)
            await far.until(lambda far=far: far.gone)
            self.assertTrue(self.said(words), self.lines)
            self.assertTrue(self.said("127.0.0.1"))
        self.assertEqual((self.facts, self.front.waiting), ([], set()))

    async def test_slow(self) -> None:
        """A header that is not whole in time ends the connection, whatever trickles."""
        self.serve(timeouts=Timeouts(proxy_header=0.05))
        for begin in (b"", b"PROXY TCP4", HEADERS[1][:-1]):
            self.lines.clear()
            far = await self.talk(*([begin] if begin else []))
            await far.until(lambda far=far: far.gone)
            self.assertTrue(self.said("no whole PROXY header within 0.05 s (timeouts.proxy-header)"))
        self.assertEqual(self.facts, [])

    async def test_torn(self) -> None:
        """An end within the header is told; one that said nothing only looked whether we are there."""
        self.serve()
        for begin, told in ((b"", False), (b"PROXY", True)):
            far = await self.talk(*([begin] if begin else []))
            far.transport.loseConnection()
            await far.until(lambda far=far: far.gone)
            while self.front.waiting:
                await self.world.turn()
            self.assertEqual(self.said("ended within the PROXY header"), told)

    async def test_rules(self) -> None:
        """`allow` and `deny` look at the client of the header; a refusal says nothing to it."""
        self.serve(rules=Rules(allow=Networks.parse(["198.51.100.0/24"])))
        await self.greeted(await self.talk(HEADERS[0]))
        other = await self.talk(build("v2", Source("192.0.2.1", 1), REACHED))
        await other.until(lambda: other.gone)
        self.assertEqual(bytes(other.data), b"")
        self.assertTrue(self.said("192.0.2.1"))

    async def test_per_source(self) -> None:
        """`limits.per-source` counts clients, not the proxy."""
        self.serve(limits=Limits(per_source=1))
        first = await self.talk(HEADERS[0])
        await self.greeted(first)
        await self.greeted(await self.talk(build("v1", Source("198.51.100.8", 1), REACHED)))
        again = await self.talk(HEADERS[1])
        await again.until(lambda: again.gone)
        self.assertEqual(len(self.facts), 2)
        first.transport.loseConnection()
        while len(self.world.service.sessions) > 1:
            await self.world.turn()
        await self.greeted(await self.talk(HEADERS[1]))

    async def test_waiting_is_limited(self) -> None:
        """Not more connections than `limits.connections` may wait for their headers."""
        self.serve(limits=Limits(connections=2))
        waiting = [await self.talk() for _ in range(2)]
        while len(self.front.waiting) < 2:
            await self.world.turn()
        third = await self.talk(HEADERS[0])
        await third.until(lambda: third.gone)
        self.assertTrue(self.said("limits.connections (2) wait for a PROXY header"))
        waiting[0].transport.write(HEADERS[0])
        await self.greeted(waiting[0])

    async def test_stop(self) -> None:
        """When the port closes, who has not yet said who is there is dropped."""
        self.serve()
        far = await self.talk(b"PROXY")
        while not self.front.waiting:
            await self.world.turn()
        await self.port.stopListening()
        await far.until(lambda: far.gone)
        self.assertEqual(self.front.waiting, set())

    async def test_pool_of_the_port(self) -> None:
        """The pool is that of the port on which exproxy listens, whatever port the client reached."""
        server = Server("a", b"hello\r\n")
        self.serve(ServerFirst, [server])
        other = Port("implicit", None)
        self.world.service.ports[REACHED.port] = other
        far = await self.talk(HEADERS[0])
        await far.until(lambda: far.data == b"hello\r\n")
        self.assertEqual(self.world.records.kept, [])

    async def test_any_protocol(self) -> None:
        """A factory that knows nothing of wires sees the header's addresses at its transport."""
        seen: list[Any] = []

        class Plain(Protocol):
            def dataReceived(self, data: bytes) -> None:
                seen.append((self.transport.getPeer(), self.transport.getHost(), data))
                self.transport.loseConnection()

        self.serve()
        self.front.factory = Factory.forProtocol(Plain)
        far = await self.talk(HEADERS[1] + b"hello")
        await far.until(lambda: far.gone)
        [(peer, host, data)] = seen
        self.assertEqual(
            (peer.host, peer.port, host.host, host.port), ("198.51.100.7", 40000, "203.0.113.25", 25)
        )
        self.assertEqual(data, b"hello")
