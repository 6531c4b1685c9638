"""Listening sockets in the poller: batches, and pauses where there is no room."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
from typing import Any

from twisted.internet import reactor, task
from twisted.trial.unittest import SkipTest, TestCase

from exproxy import accepting
from exproxy.accepting import Accepting
from exproxy.door import Door
from exproxy.listening import bind, listen
from exproxy.poller import Poller, poller
from exproxy.relay import Sweep
from exproxy.wire import Wire


class Clients:
    """A factory whose wires are kept; ``refusing`` gives none, ``failing`` raises."""

    def __init__(self) -> None:
        self.met: list[Wire] = []
        self.refusing = self.failing = False
        self.started = 0

    def buildProtocol(self, addr: Any) -> Wire | None:
        if self.failing:
            raise ValueError("a mistake")
        return None if self.refusing else Wire(self.met.append)

    def doStart(self) -> None:
        self.started += 1

    def doStop(self) -> None:
        self.started -= 1


class AcceptingTests(TestCase):
    """On loopback, with a real poller."""

    timeout = 20

    def setUp(self) -> None:
        made = poller(reactor, Sweep(reactor))  # type: ignore[arg-type]  # a reactor keeps time
        if made is None:
            raise SkipTest("no epoll here")
        self.poller: Poller = made
        self.poller.ready()
        self.addCleanup(self.poller.close)
        self.clients = Clients()

    def open(self, most: int = 1000) -> Accepting:
        self.door = Door("imap", reactor, self.clients.met, most)  # type: ignore[arg-type]
        sock = bind("127.0.0.1", 0)
        listen(sock)
        port = Accepting(self.poller, sock, self.clients, self.door)
        port.startListening()
        self.addCleanup(port.stopListening)
        self.address = (port.getHost().host, port.getHost().port)
        return port

    def connect(self, count: int = 1) -> list[socket.socket]:
        made = [socket.create_connection(self.address, 5) for _ in range(count)]
        for each in made:
            self.addCleanup(each.close)
        return made

    async def until(self, condition: Any) -> None:
        while not condition():
            await task.deferLater(reactor, 0.005)

    async def test_batches(self) -> None:
        """More clients than a batch come in more than one turn, and all of them come in."""
        self.patch(accepting, "BATCH", 3)
        self.open()
        self.connect(10)
        await self.until(lambda: len(self.clients.met) == 10)

    async def test_full(self) -> None:
        """Beyond the limit clients wait unharmed, and nothing turns; when one leaves the next comes."""
        port = self.open(most=2)
        waiting = self.connect(4)
        await self.until(lambda: "paused" in repr(port))
        turns = []
        serve = port.serve
        self.patch(
            Accepting, "serve", lambda port, poller, events: (turns.append(events), serve(poller, events))
        )
        for _ in range(20):
            await task.deferLater(reactor, 0.005)
        self.assertEqual((len(self.clients.met), turns), (2, []))
        waiting[3].setblocking(False)
        self.assertRaises(BlockingIOError, waiting[3].recv, 1)
        self.clients.met.pop(0).abort()
        self.door.left()
        await self.until(lambda: len(self.clients.met) == 2)
        self.clients.met.clear()
        self.door.left()
        await self.until(lambda: len(self.clients.met) == 1)

    async def test_refused(self) -> None:
        """A client that the factory does not want is closed, and the next one is asked for."""
        self.open()
        self.clients.refusing = True
        [unwanted] = self.connect()
        unwanted.setblocking(False)

        def closed() -> bool:
            try:
                return unwanted.recv(1) == b""
            except BlockingIOError:
                return False

        await self.until(closed)
        self.clients.refusing = False
        self.connect()
        await self.until(lambda: self.clients.met)

    async def test_a_mistake(self) -> None:
        """An exception of the factory ends that connection alone, and is logged."""
        self.open()
        self.clients.failing = True
        self.connect()
        await self.until(lambda: self.flushLoggedErrors(ValueError))
        self.clients.failing = False
        self.connect()
        await self.until(lambda: self.clients.met)

    async def test_stop(self) -> None:
        """It listens no more, also where it was pausing; stopping it twice is stopping it once."""
        port = self.open(most=1)
        self.connect(2)
        await self.until(lambda: "paused" in repr(port))
        port.stopListening()
        port.stopListening()
        self.assertEqual(self.clients.started, 0)
        self.door.left()
        self.assertRaises(ConnectionRefusedError, socket.create_connection, self.address, 5)

    async def test_another_shortage(self) -> None:
        """What only one client could not have (accept(2)) keeps nobody else out."""
        port = self.open()
        errors = [ConnectionAbortedError(103, "Software caused connection abort")]

        class Moody:
            def __init__(self, sock: socket.socket) -> None:
                self.sock = sock

            def accept(self) -> Any:
                if errors:
                    raise errors.pop()
                return self.sock.accept()

            def __getattr__(self, name: str) -> Any:
                return getattr(self.sock, name)

        port._socket = Moody(port._socket)  # type: ignore[assignment, arg-type]
        self.connect()
        await self.until(lambda: self.clients.met)


SHORT = """
import json, resource, socket, sys
from twisted.internet import reactor
from twisted.logger import globalLogPublisher
from exproxy import accepting
from exproxy.accepting import Accepting
from exproxy.door import Door
from exproxy.listening import bind, listen
from exproxy.poller import poller
from exproxy.relay import Sweep
from exproxy.wire import Wire

accepting.PAUSE = 0.2
met, said, turns = [], [], []
globalLogPublisher.addObserver(lambda event: said.append(event) if event.get("service") else None)

class Clients:
    def buildProtocol(self, addr): return Wire(met.append)
    def doStart(self): pass
    def doStop(self): pass

made = poller(reactor, Sweep(reactor))
made.ready()
sock = bind("127.0.0.1", 0)
listen(sock)
port = Accepting(made, sock, Clients(), Door("imap", reactor, met, 1000))
port.startListening()
serve = Accepting.serve
def counted(self, poller, events):
    turns.append(events)
    serve(self, poller, events)
Accepting.serve = counted
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
print(port.getHost().port, flush=True)

def release():
    before = len(met), len(turns)
    met[0].abort()
    reactor.callLater(1.0, over, before)

def over(before):
    seen = {"before": before[0], "turns": before[1], "after": len(met), "said": len(said)}
    print(json.dumps(seen), flush=True)
    reactor.stop()

reactor.callLater(1.5, release)
reactor.run()
"""


class ShortageTests(TestCase):
    """A process of its own, since its limit of open files is lowered."""

    timeout = 60

    def test_no_descriptor_left(self) -> None:
        """Where no file can be opened clients wait, in a few turns and one line, until one leaves."""
        most = 40
        process = subprocess.Popen(
            [sys.executable, "-c", SHORT, str(most)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.kill)
        assert process.stdout is not None
        number = int(process.stdout.readline())
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.assertGreater(soft, 2 * most)
        clients = [socket.create_connection(("127.0.0.1", number), 5) for _ in range(2 * most)]
        for each in clients:
            self.addCleanup(each.close)
        output, errors = process.communicate(timeout=30)
        seen = json.loads(output)
        self.assertLess(seen["before"], most)
        self.assertGreater(seen["before"], 5)
        # Each of the few pauses ends with one attempt; a busy loop would make thousands.
        self.assertLess(seen["turns"], most)
        self.assertEqual((seen["after"], seen["said"]), (seen["before"] + 1, 1), errors)
