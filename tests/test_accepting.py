"""Listening sockets in the poller, turn by turn: batches, full houses, shortages, and nothing left behind."""

from __future__ import annotations

import errno
import select
import socket
import subprocess
import sys
from typing import Any
from unittest import mock

from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Protocol
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy import accepting, listening
from exproxy.accepting import BATCH, PAUSE, Accepting
from exproxy.model import Source
from exproxy.settings import TcpOptions
from tests.relay.sockets import Hand, descriptors


class House:
    """A service with so much room."""

    name = "house"

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.guests: list[Any] = []
        self.waiting: set[Any] = set()
        self.events: list[str] = []
        self.mistake: Exception | None = None

    @property
    def full(self) -> bool:
        return len(self.guests) >= self.room

    def wait(self, port: Any) -> None:
        self.waiting.add(port)

    def leave(self) -> None:
        """The first guest goes."""
        self.guests.pop(0).transport.abortConnection()
        waiting, self.waiting = self.waiting, set()
        for port in waiting:
            port.resume()

    # -- the factory -----------------------------------------------------------------

    def doStart(self) -> None:
        self.events.append("start")

    def doStop(self) -> None:
        self.events.append("stop")

    def buildProtocol(self, addr: Source) -> Any:
        if self.mistake is not None:
            raise self.mistake
        if addr.host == "127.0.0.66":
            return None
        self.guests.append(Protocol())
        return self.guests[-1]


class AcceptingTests(SynchronousTestCase):
    """On a poller whose turns are taken by hand."""

    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"

    def setUp(self) -> None:
        self.hand = Hand(self)
        self.house = House()
        self.lines: list[str] = []
        note = lambda event: self.lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)

    def open(self, host: str = "127.0.0.1") -> Accepting:
        sock = listening.bind(host, 0)
        listening.listen(sock)
        port = Accepting(self.hand.poller, sock, self.house, self.house, TcpOptions(60, 30))
        port.startListening()
        self.addCleanup(port.stopListening)
        return port

    def come(self, port: Accepting, count: int = 1, source: str = "127.0.0.1") -> list[socket.socket]:
        """Clients; the system's queue has them all."""
        clients = []
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", port.getHost().port), source_address=(source, 0))
            self.addCleanup(client.close)
            clients.append(client)
        return clients

    def polls(self) -> int:
        """How many sockets are ready in one look: 0 says that nothing turns in a circle."""
        return len(self.hand.poller._epoll.poll(0))

    def test_interface(self) -> None:
        """It is a listening port of Twisted's, and starts and stops its factory."""
        port = self.open()
        self.assertTrue(verifyObject(IListeningPort, port))
        self.assertEqual(port.getHost().host, "127.0.0.1")
        port.stopListening()
        port.stopListening()
        self.assertEqual(self.house.events, ["start", "stop"])

    def test_options(self) -> None:
        """What is accepted has the options of the service without a call for each."""
        self.come(self.open())
        self.hand.turn()
        sock = self.house.guests[0].transport.getHandle()
        for name, value in (("TCP_NODELAY", 1), ("TCP_KEEPIDLE", 60), ("TCP_USER_TIMEOUT", 30000)):
            self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)), value)
        self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertFalse(sock.getblocking())

    def test_everywhere(self) -> None:
        """Where it listens at all addresses, each connection knows the one that it came to."""
        port = self.open("")
        client = socket.create_connection(("127.0.0.5", port.getHost().port))
        self.addCleanup(client.close)
        self.hand.turn()
        transport = self.house.guests[0].transport
        self.assertEqual((transport.here.host, transport.peer.host), ("127.0.0.5", "127.0.0.1"))

    def test_batches(self) -> None:
        """A crowd is let in by batches, so that others have their turn between them."""
        self.come(self.open(), BATCH + 10)
        self.hand.turn(1)
        self.assertEqual(len(self.house.guests), BATCH)
        self.hand.turn(1)
        self.assertEqual(len(self.house.guests), BATCH + 10)

    def test_refused(self) -> None:
        """Whom the factory does not want is closed, and the next one let in."""
        port = self.open()
        [refused] = self.come(port, source="127.0.0.66")
        self.come(port)
        self.hand.turn()
        self.assertEqual(refused.recv(1), b"")
        self.assertEqual(len(self.house.guests), 1)

    def test_a_mistake_in_the_factory(self) -> None:
        """An error in making or beginning a protocol is logged and closes that connection only."""
        port = self.open()
        self.house.mistake = ValueError("a mistake")
        [first] = self.come(port)
        self.hand.turn()
        self.house.mistake = None
        self.assertEqual(first.recv(1), b"")
        with mock.patch.object(Protocol, "makeConnection", side_effect=ValueError("a mistake")):
            [second] = self.come(port)
            self.hand.turn()
        self.assertRaises(ConnectionResetError, second.recv, 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
        self.come(port)
        self.hand.turn()
        self.assertEqual(self.house.guests[-1].connected, 1)
        self.assertEqual(len(self.hand.poller), 2)

    def test_a_full_house(self) -> None:
        """At the limit clients wait outside, without a turn of ours, and come in as others leave."""
        self.house.room = 3
        port = self.open()
        clients = self.come(port, 5)
        self.hand.turn()
        self.assertEqual(len(self.house.guests), 3)
        self.assertIn("paused", repr(port))
        self.assertEqual(self.polls(), 0)
        self.come(port)
        self.assertEqual(self.polls(), 0)
        for client in clients:
            client.setblocking(False)
            self.assertRaises(BlockingIOError, client.recv, 1)
        for left in (1, 2, 3):
            self.house.leave()
            self.hand.turn()
            self.assertEqual(len(self.house.guests), 3, left)
        self.assertEqual(self.polls(), 0)

    def test_a_shortage(self) -> None:
        """Without a descriptor nothing is accepted for a while; it is said once, and nothing circles."""
        port = self.open()
        self.come(port, 2)
        with mock.patch.object(
            accepting._Listening, "accept", side_effect=OSError(errno.EMFILE, "Too many open files")
        ) as accept:
            for turns in range(1, 4):
                self.hand.turn(10)
                self.assertEqual((accept.call_count, self.polls()), (turns, 0))
                self.hand.reactor.advance(PAUSE)
        self.assertEqual(len([line for line in self.lines if "accepts nobody for a while" in line]), 1)
        self.hand.turn()
        self.assertEqual(len(self.house.guests), 2)
        self.assertEqual(self.hand.reactor.getDelayedCalls(), [])

    def test_a_shortage_that_ends_early(self) -> None:
        """When somebody leaves it is tried again at once, and the timer is not needed any more."""
        port = self.open()
        self.come(port)
        self.hand.turn()
        self.come(port)
        failing = OSError(errno.ENFILE, "Too many open files in system")
        with mock.patch.object(accepting._Listening, "accept", side_effect=failing):
            self.hand.turn()
        self.assertEqual(len(self.house.guests), 1)
        self.house.leave()
        self.hand.turn()
        self.assertEqual(len(self.house.guests), 1)
        self.assertEqual(self.hand.reactor.getDelayedCalls(), [])

    def test_one_that_went_away(self) -> None:
        """A client that was reset before it was accepted does not keep others out."""
        port = self.open()
        self.come(port)
        real = accepting._Listening.accept
        gone = [OSError(errno.ECONNABORTED, "Software caused connection abort")]

        def accept(sock: Any) -> Any:
            if gone:
                raise gone.pop()
            return real(sock)

        with mock.patch.object(accepting._Listening, "accept", accept):
            self.hand.turn()
        self.assertEqual(len(self.house.guests), 1)

    def test_a_mistake_of_its_own(self) -> None:
        """An error while it is served is logged, and it goes on after a while."""
        port = self.open()
        self.come(port)
        with mock.patch.object(House, "full", property(lambda self: 1 / 0)):
            self.hand.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.house.guests, [])
        self.hand.reactor.advance(PAUSE)
        self.hand.turn()
        self.assertEqual(len(self.house.guests), 1)

    def test_closed(self) -> None:
        """A closed one accepts nobody, also where it was paused, in a shortage, or in its own turn."""
        for way in ("open", "full", "short", "serving"):
            before = descriptors()
            self.house = House(1)
            port = self.open()
            [client] = self.come(port)
            if way == "full":
                self.house.room = 0
                self.hand.turn()
            elif way == "short":
                failing = OSError(errno.EMFILE, "no more")
                with mock.patch.object(accepting._Listening, "accept", side_effect=failing):
                    self.hand.turn()
            elif way == "serving":
                self.house.buildProtocol = lambda addr, port=port: port.stopListening()  # type: ignore[method-assign]
                self.hand.turn()
            port.stopListening()
            port.resume()
            self.hand.turn()
            self.assertEqual((self.house.guests, self.house.events), ([], ["start", "stop"]))
            self.assertEqual(self.hand.reactor.getDelayedCalls(), [])
            client.close()
            self.assertEqual(descriptors(), before, way)

    def test_the_reactor_stops(self) -> None:
        """It is closed with the poller."""
        port = self.open()
        self.come(port)
        self.hand.turn()
        self.hand.poller.connectionLost(Failure(RuntimeError()))
        self.assertEqual(self.house.events, ["start", "stop"])
        self.assertIn("closed", repr(port))


# 40 clients, a limit below what they need on both sides, and a look at how often the poller had its turn.
SHORT_OF_FILES = """
import resource, socket, sys, time
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from exproxy import accepting, listening
from exproxy.poller import poller
from exproxy.relay import Sweep

class House(Factory):
    name, full, noisy = "house", False, False
    guests = []
    def wait(self, port): pass
    def buildProtocol(self, addr):
        self.guests.append(Protocol())
        return self.guests[-1]

accepting.PAUSE = 0.05
house, made = House(), poller(reactor, Sweep(reactor))
assert made.ready()
sock = listening.bind("127.0.0.1", 0)
listening.listen(sock)
port = accepting.Accepting(made, sock, house, house)
port.startListening()
clients = [socket.create_connection(("127.0.0.1", port.getHost().port)) for _ in range(40)]
resource.setrlimit(resource.RLIMIT_NOFILE, (len(clients) + 30, len(clients) + 30))
turns = 0
read = made.doRead
def count():
    global turns
    turns += 1
    read()
made.doRead = count

def look():
    before = len(house.guests)
    assert 0 < before < 40, before
    print("turns", turns)
    for guest in house.guests[:]:
        guest.transport.abortConnection()
    reactor.callLater(0.3, end)

def end():
    print("guests", len(house.guests))
    reactor.stop()

reactor.callLater(0.5, look)
reactor.run()
"""


class ShortageTests(SynchronousTestCase):
    """A process that really has no descriptor left."""

    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"

    def test_no_descriptor_left(self) -> None:
        """At RLIMIT_NOFILE clients wait, the reactor rests, and they are served when others have gone."""
        done = subprocess.run(
            [sys.executable, "-c", SHORT_OF_FILES],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        words = done.stdout.split()
        self.assertLess(int(words[1]), 40, done.stdout)
        self.assertEqual(words[2:], ["guests", "40"])
