"""Connecting from the poller: a socket, its alarm, and who waits; no endpoint and no Deferred."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from exproxy import transparent
from exproxy.errors import ConnectFailed
from exproxy.model import Source
from exproxy.readiness import BROKEN, OUT
from exproxy.socket_options import Numbers, set_numbers
from exproxy.stream import Stream
from exproxy.wire import Wire

if TYPE_CHECKING:
    from exproxy.poller import Poller

Introduce: TypeAlias = Callable[[Wire], bytes]

_KIND = socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0)
# What the system lacks is not the server's fault.
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC)


class Caller(Protocol):
    """Who waits for a connection. One of the two is called, once, and never before the connect returns."""

    def connected(self, wire: Any) -> None:
        """It is there: a Wire, or the socket for who asked for nothing more."""

    def unconnected(self, error: Exception) -> None:
        """It is not: ConnectFailed, or a mistake of ours."""


class Dial:
    """One connect under way."""

    __slots__ = ("_bare", "_caller", "_failure", "_introduce", "_poller", "_socket", "_timeout", "_where")

    def __init__(
        self,
        poller: Poller,
        caller: Caller,
        where: tuple[str, int],
        timeout: float,
        introduce: Introduce | None,
        bare: bool = False,
    ) -> None:
        """``where``: address and port; ``timeout``: seconds; ``introduce(wire)``: what is sent first.
        ``bare``: the caller is given the socket itself, which is in epoll, to be watched next."""
        self._bare = bare
        self._poller = poller
        self._caller: Caller | None = caller
        self._where = where
        self._timeout = timeout
        self._introduce = introduce
        self._socket: socket.socket | None = None
        self._failure: ConnectFailed | None = None

    def __repr__(self) -> str:
        return f"<Dial {self._where[0]}:{self._where[1]}>"

    def start(self, options: Numbers, bind: tuple[str, int] | None, foreign: bool) -> None:
        """Begin. ``bind``: the address to come from, which may be a ``foreign`` one."""
        six = ":" in self._where[0]
        if bind is not None and (":" in bind[0]) != six:
            text = f"{self._where[0]} cannot be reached from {bind[0]}, which is of the other IP version"
            self._later("bind", text, ours=True)
            return
        phase = "connect"
        try:
            sock = self._socket = socket.socket(socket.AF_INET6 if six else socket.AF_INET, _KIND)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            set_numbers(sock, options)
            if bind is not None:
                phase = "bind"
                if foreign:
                    transparent.mark(sock)
                sock.bind(bind)
                phase = "connect"
            code = sock.connect_ex(self._where)
            if code not in (0, errno.EINPROGRESS):
                self._later(phase, os.strerror(code))
                return
            self._poller.watch(sock.fileno(), self)
        except OSError as error:
            number = error.errno or 0
            self._later(phase, os.strerror(number), ours=phase == "bind" or number in SHORTAGES)
            return
        self._poller.alarms.set(self, self._timeout)

    def cancel(self) -> None:
        """Give it up; nobody is told. Idempotent."""
        self._caller = None
        self._close()

    # -- in the poller ---------------------------------------------------------------

    def serve(self, poller: Poller, events: int) -> None:
        """See Served: it is connected, or it has failed."""
        sock = self._socket
        if sock is None:
            return
        if events & BROKEN:
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number == errno.ETIMEDOUT:
                self._fail(ConnectFailed("L4TOUT", "connect", "no answer"))
                return
            if number:
                self._fail(ConnectFailed("L4CON", "connect", os.strerror(number)))
                return
        elif not events & OUT:
            return
        poller.alarms.unset(self, self._timeout)
        self._socket = None
        number = sock.fileno()
        caller, self._caller = self._caller, None
        if caller is None:
            return
        if self._bare:
            caller.connected(sock)
        else:
            caller.connected(self._wired(sock))
        if events != OUT:
            # It has said something already, and epoll reports that once.
            poller.serve(number, events)

    def _wired(self, sock: socket.socket) -> Wire:
        wire = Wire(_met)
        made = Stream(self._poller, sock, Source(*self._where), None, tuned=True)
        made.begin(wire, known=True)
        if self._introduce is not None:
            wire.write(self._introduce(wire))
        return wire

    def fail(self) -> None:
        """See Served."""
        self._fail(ConnectFailed("L4CON", "connect", "internal error", ours=True))

    def stop(self) -> None:
        """See Served."""
        self._fail(ConnectFailed("L4CON", "connect", "the reactor was stopped", ours=True))

    def too_late(self) -> None:
        """See Late."""
        self._fail(ConnectFailed("L4TOUT", "connect", "no answer"))

    # -- ends ------------------------------------------------------------------------

    def _later(self, phase: str, reason: str, ours: bool = False) -> None:
        self._failure = ConnectFailed("L4CON", phase, reason, ours)
        self._poller.later(self._tell)

    def _tell(self) -> None:
        if self._failure is not None:
            self._fail(self._failure)

    def _fail(self, error: ConnectFailed) -> None:
        caller, self._caller = self._caller, None
        self._close()
        if caller is not None:
            caller.unconnected(error)

    def _close(self) -> None:
        sock, self._socket = self._socket, None
        if sock is not None:
            self._poller.alarms.unset(self, self._timeout)
            self._poller.forget(sock.fileno())
            sock.close()


def _met(wire: Any) -> None:
    """Its caller is told when it has been introduced."""
