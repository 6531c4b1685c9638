"""A question from a command: names resolved, a reactor of its own, and an outcome whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import Any

from twisted.internet import reactor, threads
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from exproxy import actions
from exproxy.asking import ask
from exproxy.checks.record import Check
from tests.loopback.world import Server
from tests.test_asking import banner
from tests.test_locating import Asked
from tests.test_names import Resolver

ONCE = """
import sys
from exproxy.asking import ask_once
from exproxy.checks.record import Check
from tests.test_asking import banner
print(ask_once(Check(banner), sys.argv[1], int(sys.argv[2]), float(sys.argv[3])), flush=True)
"""


class AskTests(SynchronousTestCase):
    """With a resolver and a reactor of ours."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.resolver = self.reactor.nameResolver = Resolver()
        self.resolver.hosts = {"exch1": ["192.0.2.1", "192.0.2.2"]}

    def ask(self, host: str = "exch1") -> Deferred[Any]:
        return ask(self.reactor, Check(banner), host, 25, 3.0)

    def asked(self, number: int) -> Asked:
        self.assertEqual(len(self.reactor.tcpClients), number + 1)
        return Asked(self.reactor, number)

    def test_address(self) -> None:
        """An address is not looked up."""
        asking = self.ask("192.0.2.9")
        asked = self.asked(0)
        self.assertEqual((asked.host, asked.port, self.resolver.asked), ("192.0.2.9", 25, []))
        asked.say(b"220 ready\r\n")
        self.assertEqual(self.successResultOf(asking), actions.Pass())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_addresses(self) -> None:
        """Where one address of a name refuses, the next one is tried; the last one's word counts."""
        asking = self.ask()
        self.asked(0).refuse()
        self.assertEqual(self.asked(1).host, "192.0.2.2")
        self.asked(1).refuse()
        refused = actions.Fail("L4CON", "connect", "Connection refused")
        self.assertEqual(self.successResultOf(asking), refused)

    def test_a_bad_answer(self) -> None:
        """A server that answers is the one that was meant, whatever it says."""
        asking = self.ask()
        asked = self.asked(0).accept()
        asked.wire.connectionLost(Failure(ConnectionRefusedError()))
        self.assertEqual(self.successResultOf(asking).code, "L7RSP")
        self.asked(0)

    def test_no_such_name(self) -> None:
        """A name without an address is a failure that says so."""
        failed = actions.Fail("L4CON", "name", "nowhere cannot be resolved")
        self.assertEqual(self.successResultOf(self.ask("nowhere")), failed)

    def test_silent_resolver(self) -> None:
        """A name server that says nothing is not waited for any longer; its late word is dropped."""
        self.resolver.slow = True
        asking = self.ask()
        self.reactor.advance(3)
        failed = actions.Fail("L4TOUT", "name", "exch1 cannot be resolved in 3 s")
        self.assertEqual(self.successResultOf(asking), failed)
        receiver, _ = self.resolver.pending.pop()
        receiver.addressResolved(IPv4Address("TCP", "192.0.2.1", 0))
        receiver.resolutionComplete()
        self.assertEqual((self.reactor.tcpClients, self.reactor.getDelayedCalls()), ([], []))

    def test_cancelled(self) -> None:
        """Given up, nothing is left."""
        asking = self.ask()
        asked = self.asked(0).accept()
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual((asked.transport.asked, self.reactor.getDelayedCalls()), (["abort"], []))


class OnceTests(TestCase):
    """A process of its own, as a command is."""

    timeout = 30

    async def once(self, port: int, timeout: float = 10.0) -> str:
        """What a process that asks prints."""
        command = [sys.executable, "-W", "error", "-c", ONCE, "localhost", str(port), str(timeout)]

        def run() -> str:
            done = subprocess.run(command, capture_output=True, text=True, timeout=25, check=False)
            return done.stdout + done.stderr

        return await threads.deferToThread(run)

    async def test_answered(self) -> None:
        """A server that is named is asked, and its answer is what the call returns."""
        server = Server("a", b"220 ready\r\n")
        port = server.listen()
        self.addCleanup(lambda: Deferred.fromCoroutine(server.close()))
        self.assertEqual(await self.once(port), "Pass(learnt=None)\n")

    async def test_refused(self) -> None:
        """Where nobody is there it returns too, and raises nothing."""
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            printed = await self.once(nobody.getsockname()[1])
        self.assertEqual(printed, f"{actions.Fail('L4CON', 'connect', 'Connection refused')}\n")

    async def test_interrupted(self) -> None:
        """Ctrl-C while a silent server is asked is a KeyboardInterrupt, as everywhere."""
        server = Server("a")
        port = server.listen()
        self.addCleanup(lambda: Deferred.fromCoroutine(server.close()))
        command = [sys.executable, "-c", ONCE, "127.0.0.1", str(port), "25"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while not server.far:
            await self.turn()
        os.kill(process.pid, signal.SIGINT)
        printed, _ = await threads.deferToThread(process.communicate, timeout=25)
        self.assertIn("KeyboardInterrupt", printed)

    def turn(self) -> Deferred[None]:
        made: Deferred[None] = Deferred()
        reactor.callLater(0.01, made.callback, None)
        return made
