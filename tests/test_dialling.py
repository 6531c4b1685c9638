"""Connecting from the poller, turn by turn: every end, told once and never too early, and nothing left."""

from __future__ import annotations

import errno
import select
import socket
from typing import Any
from unittest import mock

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from exproxy import dialling
from exproxy.dialling import Dial
from exproxy.errors import ConnectFailed
from exproxy.socket_options import Numbers
from exproxy.wire import Wire
from tests.loopback.pairs import Recorder
from tests.relay.sockets import Hand, descriptors, read


class Caller:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def connected(self, wire: Any) -> None:
        self.told.append(wire)

    def unconnected(self, error: Exception) -> None:
        self.told.append(error)


class DialTests(SynchronousTestCase):
    """Against listening sockets that the tests serve by hand."""

    if not hasattr(select, "epoll"):
        skip = "this system has no epoll"

    def setUp(self) -> None:
        self.hand = Hand(self)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.server.close)
        self.before = descriptors()

    def dial(
        self,
        where: tuple[str, int] | None = None,
        options: Numbers = (),
        bind: tuple[str, int] | None = None,
        **words: Any,
    ) -> tuple[Dial, Caller]:
        caller = Caller()
        dial = Dial(
            self.hand.poller,
            caller,
            where or self.server.getsockname(),
            5.0,
            words.pop("introduce", None),
            **words,
        )
        dial.start(options, bind, False)
        self.assertEqual(caller.told, [])
        return dial, caller

    def failed(self, caller: Caller) -> tuple[str, str, str, bool]:
        self.hand.turn()
        [error] = caller.told
        assert isinstance(error, ConnectFailed)
        self.assertEqual((len(self.hand.poller), len(self.hand.poller.alarms)), (0, 0))
        self.assertEqual(descriptors(), self.before)
        return error.code, error.phase, error.reason, error.ours

    def answered(self, caller: Caller) -> tuple[Wire, socket.socket]:
        far, _ = self.server.accept()
        self.addCleanup(far.close)
        self.hand.turn()
        [wire] = caller.told
        return wire, far

    def test_connected(self) -> None:
        """A wire with both addresses, that is read and written at once."""
        _, caller = self.dial(options=((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),))
        wire, far = self.answered(caller)
        self.addCleanup(wire.abort)
        user = Recorder()
        wire.attach(user)
        self.assertEqual((wire.peer.host, wire.peer.port), self.server.getsockname())
        self.assertEqual((wire.local.host, wire.local.port), far.getpeername())
        wire.write(b"hello")
        far.send(b"world")
        self.hand.turn()
        self.assertEqual((read(far), user.bytes()), (b"hello", b"world"))
        sock = wire.transport.getHandle()
        self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertTrue(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        self.assertEqual(len(self.hand.poller.alarms), 0)

    def test_a_greeting_at_once(self) -> None:
        """What the server says before we know that we are connected is not left lying; so its end."""
        _, caller = self.dial()
        far, _ = self.server.accept()
        far.send(b"220 ready\r\n")
        far.close()
        user = Recorder()
        with mock.patch.object(caller, "connected", lambda wire: wire.attach(user)):
            self.hand.turn()
        self.assertEqual(user.heard, [("received", b"220 ready\r\n"), ("ended", None)])

    def test_bare(self) -> None:
        """Who asks for nothing more is given the socket, which is in epoll already."""
        _, caller = self.dial(bare=True)
        sock, far = self.answered(caller)
        assert isinstance(sock, socket.socket)
        self.addCleanup(sock.close)
        sock.send(b"hello")
        self.assertEqual(far.recv(10), b"hello")
        self.assertFalse(sock.getblocking())
        self.hand.poller.forget(sock.fileno())

    def test_introduced(self) -> None:
        """What introduces the connection is sent before anything else."""
        _, caller = self.dial(introduce=lambda wire: b"PROXY\r\n")
        wire, far = self.answered(caller)
        self.addCleanup(wire.abort)
        wire.write(b"hello")
        self.assertEqual(far.recv(100)[:7], b"PROXY\r\n")

    def test_refused(self) -> None:
        """Nobody listens there."""
        where = self.server.getsockname()
        self.server.close()
        self.before -= 1
        _, caller = self.dial(where)
        self.assertEqual(self.failed(caller), ("L4CON", "connect", "Connection refused", False))

    def test_no_answer(self) -> None:
        """Our own time is over, or the system's."""
        with mock.patch.object(socket.socket, "connect_ex", return_value=errno.EINPROGRESS):
            _, caller = self.dial()
        # A socket that is not connected hangs up at once; one that waits does not.
        with mock.patch.object(self.hand.poller, "_served", {}):
            self.hand.turn()
        self.hand.reactor.advance(5.0)
        self.assertEqual(self.failed(caller), ("L4TOUT", "connect", "no answer", False))
        _, caller = self.dial()
        with (
            mock.patch.object(dialling, "BROKEN", 0xFFFF),
            mock.patch.object(socket.socket, "getsockopt", return_value=errno.ETIMEDOUT),
        ):
            self.assertEqual(self.failed(caller), ("L4TOUT", "connect", "no answer", False))

    def test_the_other_version(self) -> None:
        """A source of IPv6 cannot reach a server of IPv4; nobody is asked."""
        _, caller = self.dial(bind=("2001:db8::1", 0))
        code, phase, reason, ours = self.failed(caller)
        self.assertEqual((code, phase, ours), ("L4CON", "bind", True))
        self.assertIn("other IP version", reason)

    def test_a_source_that_is_not_ours(self) -> None:
        """An address that cannot be bound is no fault of the server's."""
        _, caller = self.dial(bind=("192.0.2.1", 0))
        code, phase, _, ours = self.failed(caller)
        self.assertEqual((code, phase, ours), ("L4CON", "bind", True))

    def test_shortages(self) -> None:
        """Without a descriptor, or room in epoll, it is our fault and not the server's."""
        with mock.patch.object(socket, "socket", side_effect=OSError(errno.EMFILE, "no more")):
            _, caller = self.dial()
        self.assertEqual(self.failed(caller), ("L4CON", "connect", "Too many open files", True))
        with mock.patch.object(self.hand.poller, "watch", side_effect=OSError(errno.ENOSPC, "no more")):
            _, caller = self.dial()
        self.assertEqual(self.failed(caller)[3], True)

    def test_unreachable(self) -> None:
        """What the system says at once is told later, in its words."""
        with mock.patch.object(socket.socket, "connect_ex", return_value=errno.ENETUNREACH):
            _, caller = self.dial()
        self.assertEqual(self.failed(caller), ("L4CON", "connect", "Network is unreachable", False))

    def test_cancelled(self) -> None:
        """Whoever gives it up hears nothing, before it is connected, after it has failed, or later."""
        dial, caller = self.dial()
        dial.cancel()
        dial.cancel()
        with mock.patch.object(socket.socket, "connect_ex", return_value=errno.ENETUNREACH):
            failing, other = self.dial()
        failing.cancel()
        self.hand.turn()
        self.hand.reactor.advance(6.0)
        self.assertEqual((caller.told, other.told), ([], []))
        self.assertEqual(descriptors(), self.before)

    def test_ends_of_the_poller(self) -> None:
        """The reactor's end, and a mistake of ours, fail it, and blame no server."""
        _, caller = self.dial()
        with mock.patch.object(Dial, "serve", side_effect=ValueError("a mistake")):
            self.assertEqual(self.failed(caller)[2:], ("internal error", True))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        _, caller = self.dial()
        self.hand.poller.connectionLost(Failure(RuntimeError()))
        self.before -= 1
        self.assertEqual(self.failed(caller)[2:], ("the reactor was stopped", True))
