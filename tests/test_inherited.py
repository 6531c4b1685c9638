"""Listening sockets that whoever started us has opened."""

from __future__ import annotations

import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from exproxy import inherited
from exproxy.inherited import Inherited, shown


class InheritedTests(SynchronousTestCase):
    """Sockets of this machine."""

    def bound(self, host: str, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        sock = socket.socket(family, kind)
        self.addCleanup(sock.close)
        sock.bind((host, 0))
        return sock

    def test_the_same_address(self) -> None:
        """A socket is taken for the address that it is bound to, once, and does not block."""
        sock = self.bound("127.0.0.1")
        port = sock.getsockname()[1]
        found = Inherited([sock])
        self.assertIs(found.take("127.0.0.1", port), sock)
        self.assertFalse(sock.getblocking())
        self.assertIsNone(found.take("127.0.0.1", port))

    def test_another_address(self) -> None:
        """Neither another port nor another address will do, and port 0 is any but none of these."""
        sock = self.bound("127.0.0.1")
        port = sock.getsockname()[1]
        found = Inherited([sock])
        for host, number in (("127.0.0.1", port + 1), ("127.0.0.2", port), ("", port), ("127.0.0.1", 0)):
            self.assertIsNone(found.take(host, number))

    def test_every_address(self) -> None:
        """No host is every address: IPv6's socket is preferred, since it has the others' clients too."""
        four, six = self.bound("0.0.0.0"), self.bound("::", socket.AF_INET6)
        port = six.getsockname()[1]
        self.assertIs(Inherited([four, six]).take("", port), six)
        self.assertIs(Inherited([four]).take("", four.getsockname()[1]), four)

    def test_other_kinds(self) -> None:
        """Datagram and unix sockets are nobody's listening address."""
        datagrams = self.bound("127.0.0.1", kind=socket.SOCK_DGRAM)
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        found = Inherited([datagrams, ours])
        self.assertIsNone(found.take("127.0.0.1", datagrams.getsockname()[1]))
        texts = [shown(datagrams), "a socket without a name"]
        self.assertEqual(found.close(), texts)
        self.assertEqual(ours.fileno(), -1)

    def test_close(self) -> None:
        """Those that nobody took are closed and named."""
        sock = self.bound("127.0.0.1")
        text = shown(sock)
        found = Inherited([sock])
        self.assertEqual(found.close(), [text])
        self.assertEqual(sock.fileno(), -1)
        self.assertEqual(found.close(), [])

    def test_environment(self) -> None:
        """Descriptors from the first on are taken over, closed at exec, and the environment is cleared."""
        sock = self.bound("127.0.0.1")
        port = sock.getsockname()[1]
        number = sock.detach()
        self.patch(inherited, "FIRST", number)
        os.set_inheritable(number, True)
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "imap", "HOME": "/"}
        found = Inherited.taken_from(environ)
        self.assertEqual(environ, {"HOME": "/"})
        taken = found.take("127.0.0.1", port)
        assert taken is not None
        self.addCleanup(taken.close)
        self.assertFalse(os.get_inheritable(taken.fileno()))

    def test_no_socket(self) -> None:
        """A descriptor that is no socket, or not open, is passed over."""
        reads, writes = os.pipe()
        self.addCleanup(os.close, reads)
        self.addCleanup(os.close, writes)
        for number in (reads, 987):
            self.patch(inherited, "FIRST", number)
            found = Inherited.taken_from({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
            self.assertEqual(found.close(), [])

    def test_not_for_us(self) -> None:
        """Descriptors of another process, or none at all, are not touched."""
        for environ in ({}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid())}):
            self.assertEqual(Inherited.taken_from(environ).close(), [])
