"""An epoll loop and a non-blocking connection, plain or TLS: as little as a load generator needs."""

from __future__ import annotations

import heapq
import itertools
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any

AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_EVENTS = 512
# Seconds; a listening proxy on the same machine takes a connection at once.
CONNECT_TIMEOUT = 5.0
READ = 65_536


class Loop:
    """Calls whoever has something to read or write, and whatever is due. ``clock()``: seconds."""

    clock = staticmethod(time.perf_counter)

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._users: dict[int, Callable[[int], None]] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def add(self, fd: int, user: Callable[[int], None], mask: int = _IN) -> None:
        """Call ``user(events)`` from now on."""
        self._poll.register(fd, mask)
        self._users[fd] = user

    def change(self, fd: int, writing: bool) -> None:
        """Whether to hear of room for writing as well."""
        self._poll.modify(fd, _IN | _OUT if writing else _IN)

    def remove(self, fd: int) -> None:
        """No more calls."""
        if self._users.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once, in so many seconds."""
        heapq.heappush(self._due, (self.clock() + seconds, next(self._numbers), call))

    def forget(self) -> None:
        """Nothing is due any more."""
        self._due.clear()

    def turn(self, timeout: float) -> None:
        """One wait, at most so long, and all that came of it."""
        if self._due:
            timeout = max(0.0, min(timeout, self._due[0][0] - self.clock()))
        users = self._users
        for fd, events in self._poll.poll(timeout, _EVENTS):
            user = users.get(fd)
            if user is not None:
                user(events)
        while self._due and self._due[0][0] <= self.clock():
            heapq.heappop(self._due)[2]()

    def until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Turn until ``done()``, at most so long; whether it was."""
        end = self.clock() + seconds
        while not done():
            left = end - self.clock()
            if left <= 0:
                return False
            self.turn(min(left, 0.5))
        return True

    def close(self) -> None:
        """The end, of every connection that is still there too."""
        for user in list(self._users.values()):
            owner = getattr(user, "__self__", None)
            if isinstance(owner, Channel):
                owner.close()
        self._poll.close()


def connect(address: tuple[str, int]) -> socket.socket:
    """A connected non-blocking socket; on a loopback address nothing has to be waited for."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.settimeout(CONNECT_TIMEOUT)
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


class Channel:
    """One connection in a loop. Subclasses say what comes of ``received``, ``secured`` and ``ended``."""

    def __init__(self, loop: Loop, sock: Any) -> None:
        """``sock`` is non-blocking; an ssl.SSLSocket has its handshake still before it."""
        self.loop = loop
        self.sock = sock
        self.open = True
        self._fd = sock.fileno()
        self._rest: deque[memoryview] = deque()
        self._tls = isinstance(sock, ssl.SSLSocket)
        self.shaking = self._tls
        loop.add(self._fd, self._ready)
        if self.shaking:
            self._shake()

    def received(self, data: bytes) -> None:
        """Bytes came."""

    def secured(self) -> None:
        """The TLS handshake is done."""

    def ended(self, reason: str) -> None:
        """The other side closed, or the connection broke."""

    def write(self, data: bytes | memoryview) -> None:
        """Send now what goes, the rest as there is room."""
        if self._rest or self.shaking:
            self._rest.append(memoryview(data))
            return
        sent = self._send(data)
        if sent < len(data) and self.open:
            self._rest.append(memoryview(data)[sent:])
            self.loop.change(self._fd, True)

    def close(self) -> None:
        """Close without a word to ``ended``."""
        if self.open:
            self.open = False
            self.loop.remove(self._fd)
            self.sock.close()

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return int(self.sock.send(data))
        except AGAIN:
            return 0
        except OSError as error:
            self._end(str(error))
            return 0

    def _end(self, reason: str) -> None:
        if self.open:
            self.close()
            self.ended(reason)

    def _ready(self, events: int) -> None:
        if self.shaking:
            self._shake()
            return
        if events & _OUT:
            self._flush()
        if events & ~_OUT and self.open:
            self._read()

    def _flush(self) -> None:
        while self._rest and self.open:
            sent = self._send(self._rest[0])
            if sent < len(self._rest[0]):
                self._rest[0] = self._rest[0][sent:]
                return
            self._rest.popleft()
        if self.open:
            self.loop.change(self._fd, False)

    def _read(self) -> None:
        try:
            data = self.sock.recv(READ)
            while self._tls and self.sock.pending():
                data += self.sock.recv(READ)
        except AGAIN:
            return
        except OSError as error:
            self._end(str(error))
            return
        if data:
            self.received(data)
        else:
            self._end("closed")

    def _shake(self) -> None:
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLWantWriteError:
            self.loop.change(self._fd, True)
            return
        except OSError as error:
            self._end(f"TLS: {error}")
            return
        self.shaking = False
        self.loop.change(self._fd, bool(self._rest))
        self.secured()
