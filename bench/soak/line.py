"""A blocking connection for scripts: a line, so many bytes, the end; plain or TLS; rude ends too."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from contextlib import suppress

from bench.soak.stream import Comparison, Wrong

_READ = 65_536
_LINGER_OFF = struct.pack("ii", 1, 0)
# Bytes of a line or a head that somebody of ours would say.
LONGEST = 65_536


class Cut(Exception):
    """The connection ended, broke, or nothing came in time; the text says which."""


def dial(address: tuple[str, int], source: str = "", patience: float = 20.0, buffer: int = 0) -> Line:
    """Connect, from an address of one's own. ``buffer``: bytes of the receive buffer. Raises Cut."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.settimeout(patience)
        if source:
            sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
            sock.bind((source, 0))
        sock.connect(address)
    except OSError as error:
        sock.close()
        raise Cut(f"cannot connect: {error}") from None
    return Line(sock, patience)


class Line:
    """One connection. All waits are at most ``patience`` seconds, counted from the last byte."""

    def __init__(self, sock: socket.socket, patience: float) -> None:
        self.sock = sock
        self._held = b""
        self.name = "{}:{}".format(*sock.getsockname())
        sock.settimeout(patience)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def patience(self, seconds: float) -> None:
        """Wait so long from now on."""
        self.sock.settimeout(seconds)

    def send(self, data: bytes) -> None:
        """All of it. Raises Cut."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Cut(f"sending: {_said(error)}") from None

    def drip(self, data: bytes, parts: int, pause: float) -> None:
        """Some of it, and then some. Raises Cut."""
        size = max(1, -(-len(data) // parts))
        for at in range(0, len(data), size):
            self.send(data[at : at + size])
            time.sleep(pause)

    def some(self, most: int = _READ) -> bytes:
        """What comes next; nothing is the end. Raises Cut."""
        if self._held:
            data, self._held = self._held[:most], self._held[most:]
            return data
        try:
            return self.sock.recv(most)
        except OSError as error:
            raise Cut(f"reading: {_said(error)}") from None

    def put_back(self, data: bytes) -> None:
        """These come next again."""
        self._held = data + self._held

    def until(self, end: bytes) -> bytes:
        """Up to and with that end. Raises Cut, and Wrong where it is too long."""
        held = self._held
        while end not in held:
            self._held = b""
            data = self.some()
            if not data:
                raise Cut(f"ended after {held[-80:]!r}" if held else "ended")
            held += data
            if len(held) > LONGEST:
                raise Wrong(f"no end of a line: {held[:80]!r}")
        found, _, self._held = held.partition(end)
        return found + end

    def line(self) -> bytes:
        """A line without its end. Raises Cut."""
        return self.until(b"\n").rstrip(b"\r\n")

    def exactly(self, count: int) -> bytes:
        """So many bytes. Raises Cut."""
        parts = []
        while count:
            data = self.some(min(count, _READ))
            if not data:
                raise Cut(f"ended {count} bytes too soon")
            parts.append(data)
            count -= len(data)
        return b"".join(parts)

    def compare(self, number: int, length: int) -> None:
        """The whole of a stream. Raises Cut or Wrong."""
        comparison = Comparison(number, length)
        while comparison.left:
            data = self.some(min(comparison.left, _READ))
            if not data:
                raise Cut(f"ended {comparison.left} bytes too soon")
            comparison.take(data)

    def end(self) -> bytes:
        """Everything up to the end, at most 1 MiB. Raises Cut where it does not end properly."""
        held = b""
        while data := self.some():
            held += data
            if len(held) > 1 << 20:
                raise Wrong(f"no end after 1 MiB: {held[:80]!r}")
        return held

    def secure(self, context: ssl.SSLContext, name: str | None = None) -> None:
        """TLS from here on; ``name`` None: as a server. Raises Cut."""
        if self._held:
            raise Wrong(f"bytes before the handshake: {self._held[:80]!r}")
        try:
            self.sock = context.wrap_socket(self.sock, server_side=name is None, server_hostname=name)
        except OSError as error:
            # wrap_socket has taken the descriptor, and closes it.
            raise Cut(f"TLS: {_said(error)}") from None

    def half(self) -> None:
        """Nothing more will be said. Raises Cut."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise Cut(f"half-close: {_said(error)}") from None

    def goodbye(self) -> None:
        """Say that it is the end, where TLS has a word for it: without, it could be anybody's."""
        if isinstance(self.sock, ssl.SSLSocket):
            with suppress(OSError, ValueError):
                self.sock.setblocking(False)
                self.sock.unwrap()

    def reset(self) -> None:
        """Close with RST."""
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        self.close()

    def close(self) -> None:
        """Close; idempotent."""
        with suppress(OSError):
            self.sock.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def _said(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "nothing in time"
    return error.strerror or str(error)
