"""The servers behind the proxies: echo, bulk, HTTP, HTTPS, RPC and IMAP on one address, in one process.

``python -m bench.load.origin '{"host": …, "ports": {"echo": …}, "certificate": …}'``; it prints a line when
it listens, and ends with its stdin.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any

from bench.load import day, rpc
from bench.load.bulk import ORDER, Taking
from bench.load.http import DONE, HEAD_END, LENGTH
from bench.load.loop import AGAIN, Channel, Loop
from bench.load.pattern import BODY, PAGE, matches
from exproxy.lab.dcerpc import Malformed, read_pdu

_BACKLOG = 4096
_WAIT = re.compile(rb"[?&]wait=([0-9.]+)")
# Requests are whatever our own clients send; more is a mistake.
_HEAD = 65_536


class Echo(Channel):
    """Says what it hears."""

    def received(self, data: bytes) -> None:
        self.write(data)


class Store(Taking):
    """See bench.load.bulk."""

    def received(self, data: bytes) -> None:
        way, length = ORDER.unpack(data[: ORDER.size])
        if way == b"D":
            self.feed(length)
            return
        self.take(length)
        early = data[ORDER.size :]
        if early:
            self._taken = len(early)
            if not matches(early, 0) or self._taken == length:
                self.took(matches(early, 0))

    def took(self, right: bool) -> None:
        self._wanted = self._taken
        self.write(b"K" if right else b"X")


def page(body: bytes) -> bytes:
    """An answer's head."""
    return (
        b"HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Wed, 25 Nov 2026 10:00:00 GMT\r\n"
        b"Content-Type: text/html\r\nCache-Control: private\r\nContent-Length: %d\r\n\r\n" % len(body)
    )


_PAGE, _BODY, _DONE = page(PAGE) + PAGE, page(BODY), page(DONE) + DONE
_GET_PAGE = b"GET /owa/page "
_WRONG = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


class Web(Channel):
    """Pages, bodies and waits."""

    def __init__(self, loop: Loop, sock: Any) -> None:
        self._held = b""
        self._got = self._length = 0
        self._right = True
        super().__init__(loop, sock)

    def received(self, data: bytes) -> None:
        if self._got < self._length:
            data = self._take(data)
        if data.startswith(_GET_PAGE) and data.find(HEAD_END) == len(data) - len(HEAD_END) and not self._held:
            # Most of what comes, without a second look.
            self._answer(data)
            return
        self._held += data
        while (at := self._held.find(HEAD_END)) >= 0:
            head, self._held = self._held[:at], self._held[at + len(HEAD_END) :]
            length = LENGTH.search(head)
            if length:
                self._got, self._length, self._right = 0, int(length[1]), True
                early, self._held = self._held, b""
                self._held = self._take(early)
            else:
                self._answer(head)
        if len(self._held) > _HEAD:
            self.close()

    def _take(self, data: bytes) -> bytes:
        body, rest = data[: self._length - self._got], data[self._length - self._got :]
        self._right = self._right and matches(body, self._got)
        self._got += len(body)
        if self._got == self._length:
            self.write(_DONE if self._right else _WRONG)
        return rest

    def _answer(self, head: bytes) -> None:
        if head.startswith(_GET_PAGE):
            self.write(_PAGE)
            return
        line = head[: head.find(b"\r\n")]
        wait = _WAIT.search(line)
        if wait:
            self.loop.later(float(wait[1]), self._told)
        elif b" /ews/body" in line:
            self.write(_BODY)
            self.write(BODY)
        else:
            self.write(_PAGE)

    def _told(self) -> None:
        if self.open:
            self.write(_PAGE)


class Rpc(Channel):
    """Binds and calls."""

    def __init__(self, loop: Loop, sock: Any) -> None:
        self._held = b""
        super().__init__(loop, sock)

    def received(self, data: bytes) -> None:
        self._held += data
        try:
            while read := read_pdu(self._held):
                self._held = self._held[read[1] :]
                self.write(rpc.answer(read[0], self.sock.getsockname()[1]))
        except Malformed:
            self.close()


_IMAP = {
    ask.rstrip(): answer
    for ask, answer in (
        (day.LOGIN, day.WELCOME),
        (day.IDLE, day.IDLING),
        (day.DONE, day.STOPPED),
    )
}


class Imap(Channel):
    """A greeting, and IDLE."""

    def __init__(self, loop: Loop, sock: Any) -> None:
        self._held = b""
        super().__init__(loop, sock)
        self.write(day.GREETING)

    def received(self, data: bytes) -> None:
        self._held += data
        *lines, self._held = self._held.split(b"\r\n")
        for line in lines:
            self.write(_IMAP.get(line, b"b BAD unknown\r\n"))


KINDS: dict[str, Callable[[Loop, Any], Channel]] = {
    "echo": Echo,
    "bulk": Store,
    "http": Web,
    "https": Web,
    "rpc": Rpc,
    "imap": Imap,
}


class Door:
    """One listening socket."""

    def __init__(
        self,
        loop: Loop,
        make: Callable[[Loop, Any], Channel],
        address: tuple[str, int],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._loop, self._make, self._tls = loop, make, tls
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind(address)
        self._sock.listen(_BACKLOG)
        self._sock.setblocking(False)
        self.port: int = self._sock.getsockname()[1]
        loop.add(self._sock.fileno(), self._accept)

    def close(self) -> None:
        """Let nobody in any more."""
        self._loop.remove(self._sock.fileno())
        self._sock.close()

    def _accept(self, events: int) -> None:
        for _ in range(64):
            try:
                sock: Any = self._sock.accept()[0]
            except AGAIN:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                if self._tls is not None:
                    sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                self._make(self._loop, sock)
            except OSError:
                # Gone again already.
                sock.close()


def main() -> None:
    """Serve until stdin ends."""
    order = json.loads(sys.argv[1])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(order["certificate"])
    loop = Loop()
    doors = [
        Door(loop, KINDS[kind], (order["host"], port), tls if kind == "https" else None)
        for kind, port in order["ports"].items()
    ]
    over: list[int] = []
    loop.add(sys.stdin.fileno(), over.append)
    print(json.dumps({"listening": len(doors)}), flush=True)
    while not over:
        loop.turn(10.0)


if __name__ == "__main__":
    main()
