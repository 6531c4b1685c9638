"""HTTP and HTTPS on connections that are kept: small pages, and bodies of 1 MiB either way."""

from __future__ import annotations

import re
from typing import Any

from bench.load import tls
from bench.load.loop import Channel, connect
from bench.load.pattern import BODY, PAGE
from bench.load.work import PREPARING, Work

HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
# Connections that are made before the first of them must have been answered.
_BATCH = 16
_COOKIE = re.compile(rb"\r\nset-cookie: *([^;\r]+)", re.IGNORECASE)
_AGENT = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36"
DONE = b"got all of it"
WHAT: dict[str, tuple[bytes, bytes, bytes]] = {
    "page": (b"GET /owa/page", b"", PAGE),
    "down": (b"GET /ews/body", b"", BODY),
    "up": (b"POST /ews/body", BODY, DONE),
}
"""What is asked: method and target, the request's body, the answer's."""


def request(line: bytes, body: bytes, cookie: bytes, agent: bytes = _AGENT) -> bytes:
    """A request's head, as a browser writes it."""
    fields = [
        line + b" HTTP/1.1",
        b"Host: " + tls.NAME.encode(),
        b"User-Agent: " + agent,
        b"Accept: text/html,application/xhtml+xml,*/*;q=0.8",
        b"Accept-Language: en",
    ]
    if body:
        fields.append(b"Content-Length: %d" % len(body))
    if cookie:
        fields.append(b"Cookie: " + cookie)
    return b"\r\n".join(fields) + HEAD_END


class Requester(Channel):
    """One client connection; one request at a time. ``answered`` hears of each answer."""

    def __init__(self, loop: Any, sock: Any) -> None:
        self.cookie = b""
        self._since = 0.0
        self._head = b""
        self._status = b""
        self._length = self._taken = 0
        self._right = True
        self._expected = b""
        super().__init__(loop, sock)

    def ask(self, line: bytes, body: bytes, expected: bytes, head: bytes = b"") -> None:
        """Send a request (``head``: the same as before, made once) and wait for that body."""
        self._since = self.loop.clock()
        self._expected = expected
        self.write(head or request(line, body, self.cookie))
        if body:
            self.write(body)

    def answered(self, since: float, problem: str) -> None:
        """The answer is whole; ``problem``: what is wrong with it, if anything."""

    def received(self, data: bytes) -> None:
        if not self._status:
            self._head += data
            at = self._head.find(HEAD_END)
            if at < 0:
                return
            head, data = self._head[: at + 2], self._head[at + len(HEAD_END) :]
            self._begin(head)
        # Compared piece by piece, so that nothing large is kept.
        wanted = self._expected[self._taken : self._taken + len(data)]
        self._right = self._right and data == wanted
        self._taken += len(data)
        if self._taken >= self._length:
            self._finish()

    def _begin(self, head: bytes) -> None:
        length = LENGTH.search(head)
        cookie = None if self.cookie else _COOKIE.search(head)
        self._head, self._status = b"", head[9:12]
        self._length, self._taken, self._right = int(length[1]) if length else 0, 0, True
        if cookie:
            self.cookie = cookie[1]

    def _finish(self) -> None:
        problem = ""
        if self._status != b"200":
            problem = f"the answer was {self._status.decode('latin-1')}"
        elif not self._right or self._taken != len(self._expected):
            problem = "another body came than was sent"
        self._status = b""
        self.answered(self._since, problem)


class _Kept(Requester):
    def __init__(self, work: KeepAlive) -> None:
        self.work = work
        self._head_bytes = b""
        super().__init__(work.loop, work.socket())

    def again(self) -> None:
        line, body, expected = self.work.what
        self.ask(line, body, expected, self._head_bytes)

    def answered(self, since: float, problem: str) -> None:
        work = self.work
        if not self._head_bytes:
            line, body, _ = work.what
            self._head_bytes = request(line, body, self.cookie)
        now = work.loop.clock()
        work.units += work.unit
        work.samples.append(now - since)
        if problem:
            work.fail(problem)
        elif now < work.until:
            self.again()
        else:
            work.busy -= 1

    def ended(self, reason: str) -> None:
        self.work.fail(f"a connection ended: {reason}")


class KeepAlive(Work):
    """``connections`` to ``service``, each with one request at a time: ``page``, ``down`` or ``up``.

    A unit is a request, of bodies a gigabyte. Each connection has had one request before it is measured:
    cookies are there, and connections to the server.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.what = WHAT[self.options["what"]]
        body = max(len(self.what[1]), len(self.what[2]))
        self.unit = 1.0 if self.options["what"] == "page" else body / 1e9
        self._kept: list[_Kept] = []
        self._context = tls.context() if self.options.get("tls") else None

    def socket(self) -> Any:
        """A new connection's."""
        address = self.target.address(self.options["service"])
        return connect(address) if self._context is None else tls.wrapped(self._context, address)

    def prepare(self) -> int:
        self.until = 0.0
        for first in range(0, self.options["connections"], _BATCH):
            # A few at a time: a thousand handshakes at once would be another measurement.
            made = [_Kept(self) for _ in range(min(_BATCH, self.options["connections"] - first))]
            self._kept += made
            self.busy += len(made)
            for kept in made:
                kept.again()
            self.wait(PREPARING)
        if self._context is not None:
            self.notes["cipher"] = self._kept[0].sock.cipher()[0]
        return len(self._kept)

    def warm(self) -> None:
        # A proxy may have let idle connections to the server go; to make them anew is another measurement.
        self.until = 0.0
        self.begin()
        self.wait(PREPARING)

    def begin(self) -> None:
        self.busy += len(self._kept)
        for kept in self._kept:
            kept.again()

    def close(self) -> None:
        for kept in self._kept:
            kept.close()
        self._kept.clear()
