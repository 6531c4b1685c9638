"""Binding: what is bound, and what an administrator is told where it cannot be."""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from exproxy import listening
from exproxy.listening import CannotListen, bind, listen


class ListeningTests(SynchronousTestCase):
    """Sockets of this machine."""

    def bound(self, host: str, port: int = 0) -> socket.socket:
        sock = bind(host, port)
        self.addCleanup(sock.close)
        return sock

    def refused(self, host: str, port: int, number: int | None = None) -> str:
        """The text of the refusal; ``number`` pretends that errno."""
        if number is not None:

            def refuse(*args: Any) -> socket.socket:
                raise OSError(number, "pretended")

            self.patch(listening, "_bind", refuse)
        return str(self.assertRaises(CannotListen, bind, host, port))

    def test_not_yet_listening(self) -> None:
        """bind() binds without listening: nobody can connect before listen()."""
        sock = self.bound("127.0.0.1")
        address = sock.getsockname()
        self.assertRaises(ConnectionRefusedError, socket.create_connection, address, 5)
        listen(sock)
        socket.create_connection(address, 5).close()

    def test_socket_options(self) -> None:
        """It does not block, may be re-used after a restart, and is not inherited."""
        sock = self.bound("127.0.0.1")
        self.assertFalse(sock.getblocking())
        self.assertFalse(sock.get_inheritable())
        self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR))

    def test_taken(self) -> None:
        """A port that is in use is told with the command that finds who has it, and nothing stays bound."""
        first = self.bound("127.0.0.1")
        first.listen()
        port = first.getsockname()[1]
        self.patch(listening, "PAUSE", 0.0)
        text = self.refused("127.0.0.1", port)
        self.assertIn(f"cannot listen on 127.0.0.1:{port}: Address already in use", text)
        self.assertIn(f"ss -ltnp 'sport = :{port}'", text)

    def test_ephemeral_ports_are_tried_again(self) -> None:
        """A port in the range of outgoing connections may come free in a moment; the advice says so."""
        tries = []

        def refuse(family: int, host: str, port: int) -> socket.socket:
            tries.append(port)
            raise OSError(errno.EADDRINUSE, "pretended")

        self.patch(listening, "_bind", refuse)
        self.patch(listening, "_ephemeral", lambda port: port > 32767)
        pauses: list[float] = []
        self.patch(listening.time, "sleep", pauses.append)
        self.assertIn("ip_local_reserved_ports=59531", str(self.assertRaises(CannotListen, bind, "", 59531)))
        self.assertEqual(len(tries), listening.TRIES)
        self.assertEqual(pauses, [listening.PAUSE] * (listening.TRIES - 1))
        text = str(self.assertRaises(CannotListen, bind, "", 443))
        self.assertEqual(tries[listening.TRIES :], [443])
        self.assertNotIn("reserved_ports", text)

    def test_free_at_the_second_try(self) -> None:
        """A port that comes free between two tries is had."""
        real, tries = listening._bind, []

        def flaky(family: int, host: str, port: int) -> socket.socket:
            tries.append(port)
            if len(tries) == 1:
                raise OSError(errno.EADDRINUSE, "pretended")
            return real(family, host, port)

        self.patch(listening, "_bind", flaky)
        self.patch(listening, "_ephemeral", lambda port: True)
        self.patch(listening.time, "sleep", lambda seconds: None)
        self.assertTrue(self.bound("127.0.0.1").getsockname()[1])

    def test_not_allowed(self) -> None:
        """A privileged port is told with the ways to have it."""
        text = self.refused("", 443, errno.EACCES)
        self.assertIn("cannot listen on *:443: Permission denied", text)
        self.assertIn("CAP_NET_BIND_SERVICE", text)
        self.assertIn("--uid", text)

    def test_no_such_address(self) -> None:
        """An address that this machine does not have is told so."""
        self.assertEqual(
            self.refused("192.0.2.1", 9443),
            "cannot listen on 192.0.2.1:9443: Cannot assign requested address; "
            "this machine has no such address; see `ip address`",
        )

    def test_ipv6_addresses_have_brackets(self) -> None:
        """An IPv6 address is shown as it is written in a configuration."""
        self.assertIn("[2001:db8::1]:9443", self.refused("2001:db8::1", 9443, errno.EADDRNOTAVAIL))

    def test_anything_else(self) -> None:
        """Any other error is told in the system's words."""
        self.assertIn("Too many open files", self.refused("127.0.0.1", 9443, errno.EMFILE))

    def test_taken_between_bind_and_listen(self) -> None:
        """Two may bind a port before either listens: the second is told at listen()."""
        first = self.bound("127.0.0.1")
        second = self.bound("127.0.0.1", first.getsockname()[1])
        listen(first)
        text = str(self.assertRaises(CannotListen, listen, second))
        self.assertIn("Address already in use", text)

    def test_every_address(self) -> None:
        """No address is IPv4 and IPv6; "::" is IPv6 alone; "0.0.0.0" is IPv4 alone."""
        if not socket.has_dualstack_ipv6():
            return
        self.assertEqual(self._reached(""), {socket.AF_INET, socket.AF_INET6})
        self.assertEqual(self._reached("0.0.0.0"), {socket.AF_INET})
        self.assertEqual(self._reached("::"), {socket.AF_INET6})

    def _reached(self, host: str) -> set[int]:
        sock = self.bound(host)
        listen(sock)
        reached = set()
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as client:
                client.settimeout(5)
                if client.connect_ex((address, sock.getsockname()[1])) == 0:
                    reached.add(family)
        return reached

    def test_without_ipv6(self) -> None:
        """On a machine without IPv6, no address means IPv4."""
        self.patch(socket, "has_dualstack_ipv6", lambda: False)
        self.assertEqual(self.bound("").family, socket.AF_INET)

    def test_nothing_left_open(self) -> None:
        """A failed bind leaves no descriptor behind."""
        made: list[socket.socket] = []
        real = socket.socket

        def noting(*args: Any) -> socket.socket:
            made.append(real(*args))
            return made[-1]

        self.patch(listening.socket, "socket", noting)
        self.assertRaises(CannotListen, bind, "192.0.2.1", 9443)
        self.assertEqual([sock.fileno() for sock in made], [-1])
