from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import CannotListenError, ConnectionLost, ConnectionRefusedError
from twisted.internet.protocol import Factory

from exproxy.lab.modes import HELD, Mode
from tests.lab.support import LabCase, Raw
from tests.lab.test_dcerpc import BIND

GET = b"GET /owa/healthcheck.htm HTTP/1.1\r\nHost: x\r\n\r\n"


class ModeTests(LabCase):
    services = ("imap", "imaps", "pop", "smtp", "http", "rpc")

    async def test_stop(self) -> None:
        """A stopped service closes what is open and refuses what comes; the same port comes back."""
        raw = await self.connect("imap")
        await raw.has(b"l12ex1")
        port = self.server.port("imap")
        await self.server.set_mode("imap", "stop")
        await raw.lost
        self.assertEqual(self.server.services["imap"].open, 0)
        await self.assertFailure(self.failing("imap"), ConnectionRefusedError)
        await self.server.set_mode("imap", "ok")
        self.assertEqual(self.server.port("imap"), port)
        await (await self.connect("imap")).has(b"* OK")

    def failing(self, service: str) -> Deferred[Raw]:
        return ensureDeferred(self.connect(service))

    async def test_hang(self) -> None:
        """A hanging service answers neither new nor old clients; later all go on where they were."""
        old = await self.connect("pop")
        await old.has(b"\r\n")
        await self.server.set_mode("pop", Mode.HANG)
        old.transport.write(b"CAPA\r\n")
        new = await self.connect("pop")
        new.transport.write(b"QUIT\r\n")
        other = await self.connect("imap")
        await other.has(b"l12ex1")
        self.assertEqual((old.data.count(b"\r\n"), new.data), (1, b""))
        await self.server.set_mode("pop", Mode.OK)
        await old.has(b"TOP\r\n")
        await new.has(b"+OK l12ex1")
        await new.lost

    async def test_hang_leaves(self) -> None:
        """A client that leaves a hanging service is forgotten, one that floods it is not read for ever."""
        await self.server.set_mode("imap", "hang")
        leaving, flooding = await self.connect("imap"), await self.connect("imap")
        leaving.transport.loseConnection()
        await leaving.lost
        flooding.transport.write(b"x" * HELD * 40)
        await self.server.set_mode("imap", "reset")
        await flooding.lost
        await self.server.services["imap"]._gate.drained()
        self.assertEqual(self.server.services["imap"].open, 0)

    async def test_hang_flooded(self) -> None:
        """What a client sent to a hanging service is answered later, all of it."""
        await self.server.set_mode("pop", "hang")
        raw = await self.connect("pop")
        raw.transport.write(b"CAPA\r\n" * (HELD // 2) + b"QUIT\r\n")
        other = await self.connect("imap")
        await other.has(b"l12ex1")
        await self.server.set_mode("pop", "ok")
        await raw.lost
        self.assertEqual(raw.data.count(b"I can do the following"), HELD // 2)

    async def test_refuse(self) -> None:
        """Each protocol refuses in its own words."""
        words = {"imap": b"* BYE ", "pop": b"-ERR [SYS/TEMP]", "smtp": b"421 l12ex1"}
        for service, word in words.items():
            await self.server.set_mode(service, "refuse")
            raw = await self.connect(service)
            await raw.lost
            self.assertTrue(raw.data.startswith(word), raw.data)
        await self.server.set_mode("http", "refuse")
        raw = await self.connect("http")
        raw.transport.write(GET)
        await raw.has(b"HTTP/1.1 503 ")
        await self.server.set_mode("http", "ok")
        raw.transport.write(GET)
        await raw.has(b"200 OK<br/>l12ex1")
        await self.server.set_mode("rpc", "refuse")
        raw = await self.connect("rpc")
        raw.transport.write(BIND)
        await raw.lost
        self.assertEqual(raw.data[2], 13)

    async def test_reset(self) -> None:
        """A resetting service accepts and resets, the connections it has as well."""
        old = await self.connect("smtp")
        await old.has(b"220")
        await self.server.set_mode("smtp", "reset")
        new = await self.connect("smtp")
        for raw in (old, new):
            await raw.lost
            self.assertTrue(raw.reason.check(ConnectionLost), raw.reason)
        self.assertEqual(new.data, b"")

    async def test_hang_before_tls(self) -> None:
        """Under TLS it is the handshake that hangs."""
        await self.server.set_mode("imaps", "hang")
        raw = await self.connect("imaps")
        raw.transport.write(b"\x16\x03\x01\x00\x05")
        await (await self.connect("imap")).has(b"l12ex1")
        self.assertEqual(raw.data, b"")

    async def test_port_taken(self) -> None:
        """A port that was taken meanwhile is an error, and the service stays stopped."""
        await self.server.set_mode("imap", "stop")
        factory = Factory.forProtocol(Raw)
        factory.noisy = False
        taken = reactor.listenTCP(self.server.port("imap"), factory, interface="127.0.0.1")
        self.addCleanup(taken.stopListening)
        await self.assertFailure(self.server.set_mode("imap", "ok"), CannotListenError)
        self.assertEqual(self.server.services["imap"].mode, Mode.STOP)

    async def test_quick_changes(self) -> None:
        """Changes one after the other take effect in their order."""
        changes = [self.server.set_mode("pop", mode) for mode in ("stop", "ok", "hang", "stop", "ok")]
        for change in changes:
            await change
        await (await self.connect("pop")).has(b"+OK l12ex1")

    def test_unknown(self) -> None:
        """Unknown services and modes raise."""
        self.assertRaises(KeyError, self.server.set_mode, "nntp", "ok")
        self.assertRaises(ValueError, self.server.set_mode, "imap", "explode")
