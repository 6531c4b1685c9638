"""Many requests of one client: what may change between two of them, and what none of them costs."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.access_log import AccessLog
from exproxy.model import Destination, Source
from exproxy.pool import Pool
from exproxy.relay import Sweep
from exproxy.scheduling import RoundRobin
from exproxy.session import Session
from exproxy.settings import Timeouts
from exproxy.store.memory import MemoryStore
from exproxy.testing import FakeWire, keys
from exproxy.virtual import Port, Shared, VirtualService
from protocols.http.conversation import Conversation
from protocols.http.request_ids import RequestIds
from protocols.http.super_http import SuperHttp, SuperHttpOptions
from tests.http.clients import CHROME
from tests.pools import BAD, GOOD, backends

PORT = 80
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
OPTIONS = SuperHttpOptions.model_validate({"secure": False})


class Kept:
    """One session over connections that are none; ``servers`` are those to backends, in their order."""

    def __init__(self, recheck: str = "always", **timeouts: float) -> None:
        self.clock = Clock()
        self.lines: list[dict[str, Any]] = []
        log = AccessLog(self.clock, None)
        self.backends = backends("exch1", "exch2")
        strategy = SuperHttp(OPTIONS, keys())
        shared = Shared(self.clock, Sweep(self.clock), log)
        self.service: Any = VirtualService("web", shared, timeouts=Timeouts(**timeouts), persistence=strategy)
        store = MemoryStore(self.clock)
        self.pool = Pool("web", self.backends, RoundRobin(), strategy, store, self.clock, recheck=recheck)
        self.service.ports[PORT] = Port("none", self.pool)
        self.service.connect = self._connect
        self.servers: list[FakeWire] = []
        self.client = FakeWire(local=Destination("203.0.113.1", PORT))
        conversation = Conversation(self.service, RequestIds(b"t"))
        self.session = Session(self.service, self.client, conversation)  # type: ignore[arg-type]  # a double
        self.session.begin()

    def _connect(self, pool: Any, backend: Any, client: Any, caller: Any) -> None:
        self.servers.append(FakeWire(Source(backend.host, backend.port)))
        caller.connected(self.servers[-1])

    def ask(self, server: str = "", path: bytes = b"/owa/") -> None:
        """A request, with the cookie for that server."""
        shown = b"Cookie: exproxy-test=%b\r\n" % keys().token("super-http", server) if server else b""
        line = b"GET %b HTTP/1.1\r\nHost: a.test\r\nUser-Agent: %b\r\n" % (path, CHROME)
        self.client.receive(line + shown + b"\r\n")

    def exchange(self, server: str = "", at: int = -1) -> bytes:
        """A request, its answer by that connection, and what the client gets."""
        self.ask(server)
        before = len(self.client.written)
        self.servers[at].receive(ANSWER)
        return self.client.written[before:]


class KeptTests(SynchronousTestCase):
    """Requests that follow each other."""

    def test_one_connection(self) -> None:
        """A client with its cookie goes on over one connection; each request counts while it lasts."""
        kept = Kept()
        backend = kept.backends[0]
        for number in range(5):
            kept.ask("exch1", b"/%d" % number)
            self.assertEqual((len(kept.servers), backend.links, backend.load), (1, 1, 1))
            self.assertIn(b"GET /%d HTTP/1.1" % number, kept.servers[0].written)
            kept.servers[0].receive(ANSWER)
            self.assertEqual((backend.links, backend.load), (1, 0))
        self.assertEqual(kept.client.written, ANSWER * 5)

    def test_no_timer(self) -> None:
        """A request that follows makes no timer and cancels none; its waits are looked at when one fires."""
        kept = Kept(keep_alive=60.0, backend_keep_alive=60.0)
        kept.exchange("exch1")
        timers = kept.clock.getDelayedCalls()
        for _ in range(50):
            kept.exchange("exch1")
            kept.clock.advance(1.0)
            self.assertEqual(kept.clock.getDelayedCalls(), timers)
        kept.clock.pump([1.0] * 58)
        self.assertEqual(kept.client.state, "open")
        kept.clock.pump([1.0] * 2)
        self.assertNotEqual(kept.client.state, "open")

    def test_answer_time(self) -> None:
        """The wait for an answer is the request's own, however often it was moved."""
        kept = Kept(keep_alive=60.0, answer=90.0)
        for _ in range(3):
            kept.exchange("exch1")
            kept.clock.advance(50.0)
        kept.ask("exch1")
        kept.clock.pump([1.0] * 89)
        self.assertNotIn(b"504", kept.client.written)
        kept.clock.pump([1.0] * 2)
        self.assertIn(b"HTTP/1.1 504", kept.client.written)

    def test_server_goes_down(self) -> None:
        """A server that is DOWN, in maint or told to drain is looked at before each request."""
        kept = Kept()
        kept.exchange("exch1")
        for _ in range(5):
            kept.pool.told(kept.backends[0], BAD, 0.1)
        self.assertIn(b"Set-Cookie", kept.exchange("exch1"))
        self.assertEqual([wire.peer.host for wire in kept.servers], ["127.0.0.11", "127.0.0.12"])
        for _ in range(5):
            kept.pool.told(kept.backends[0], GOOD, 0.1)
        kept.exchange("exch1", at=0)
        self.assertEqual(len(kept.servers), 2)
        kept.pool.operate("exch1", "drain")
        kept.exchange("exch1", at=0)
        kept.pool.operate("exch1", "maint")
        self.assertIn(b"Set-Cookie", kept.exchange("exch1", at=1))

    def test_other_cookie(self) -> None:
        """Who shows another server's cookie is taken there, and back."""
        kept = Kept()
        for server, at, count in (("exch1", 0, 1), ("exch2", 1, 2), ("exch1", 0, 2), ("exch2", 1, 2)):
            self.assertEqual(kept.exchange(server, at), ANSWER)
            self.assertEqual(len(kept.servers), count)

    def test_first_decides(self) -> None:
        """With ``recheck: first`` another cookie changes nothing, but a server that is DOWN does."""
        kept = Kept("first")
        kept.exchange("exch1")
        kept.exchange("exch2", at=0)
        self.assertEqual(len(kept.servers), 1)
        for _ in range(5):
            kept.pool.told(kept.backends[0], BAD, 0.1)
        kept.exchange("exch2")
        self.assertEqual(len(kept.servers), 2)

    def test_moved_port(self) -> None:
        """A server that is at another port now is connected to anew."""
        kept = Kept()
        kept.exchange("exch1")
        kept.backends[0].port = 444
        kept.exchange("exch1")
        self.assertEqual([wire.peer.port for wire in kept.servers], [443, 444])

    def test_lost_between(self) -> None:
        """A connection that ended meanwhile is made anew, and one that ends before its answer, too."""
        kept = Kept()
        kept.exchange("exch1")
        kept.servers[0].lose()
        self.assertEqual(kept.exchange("exch1"), ANSWER)
        kept.ask("exch1")
        kept.servers[1].lose()
        self.assertEqual(len(kept.servers), 3)
        kept.servers[2].receive(ANSWER)
        self.assertEqual(kept.client.written, ANSWER * 3)

    def test_removed(self) -> None:
        """A server that is taken out of the pool, even if another of its name comes in, is left."""
        kept = Kept()
        kept.exchange("exch1")
        [other, _] = backends("exch1", "exch2")
        other.port = 444
        kept.pool.replace_backends([other])
        kept.exchange("exch1")
        self.assertEqual([wire.peer.port for wire in kept.servers], [443, 444])
        self.assertEqual((kept.backends[0].load, other.links), (0, 1))
