"""Clients of the web services."""

from __future__ import annotations

import base64
import re
import time
from dataclasses import dataclass

from bench.soak.clients.attempt import Attempt, Refused
from bench.soak.line import Cut, Line
from bench.soak.site import NAME
from bench.soak.stream import Comparison, Wrong, stream, whole
from exproxy.model import Destination, Source
from exproxy.proxy_protocol import build

_MIB = 1 << 20
_BROWSER = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36"
_PHONE = b"Apple-iPhone14C2/2001.52"
_COOKIE = re.compile(rb"\r\nset-cookie: *([^;\r]+)", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_ABOUT = re.compile(rb"\r\nx-server: ([^\r]*)\r\nx-number: ([^\r]*)\r\nx-from: ([^\r]*)\r\n", re.IGNORECASE)
_UNAVAILABLE = (b"502", b"503", b"504")


@dataclass
class Person:
    """What goes along with each request, and where it comes from."""

    source: str
    agent: bytes = _BROWSER
    cookie: bytes = b""
    login: bytes = b""

    def request(self, method: bytes, target: bytes, more: bytes = b"") -> bytes:
        """A head; ``more`` are whole lines."""
        fields = [
            b"%s %s HTTP/1.1" % (method, target),
            b"Host: " + NAME.encode(),
            b"User-Agent: " + self.agent,
        ]
        if self.cookie:
            fields.append(b"Cookie: other=1; " + self.cookie)
        if self.login:
            fields.append(b"Authorization: Basic " + base64.b64encode(self.login))
        return b"\r\n".join(fields) + b"\r\n" + more + b"\r\n"


def target(path: bytes, number: int, length: int) -> bytes:
    """What is asked for."""
    return b"%s?number=%x&length=%d" % (path, number, length)


def head_of(attempt: Attempt, line: Line, person: Person, number: int) -> bytes:
    """An answer's head that belongs to this request. Raises Refused, Cut, Wrong."""
    head = line.until(b"\r\n\r\n")
    status = head[9:12]
    if status in _UNAVAILABLE and b"\r\nX-Server" not in head:
        raise Refused(head[9:40].decode("latin-1"))
    about = _ABOUT.search(head)
    if about is None or status not in (b"200", b"101"):
        raise Wrong(f"{head[:120]!r} in answer to {number:x}")
    attempt.served_by(about[1])
    if about[2] != b"%x" % number:
        raise Wrong(f"the answer to {about[2]!r} in answer to {number:x}")
    if about[3].decode() != person.source:
        raise Wrong(f"the server was told {about[3]!r}, the client is {person.source}")
    cookie = _COOKIE.search(head)
    if cookie:
        person.cookie = cookie[1]
    return head


def answered(attempt: Attempt, line: Line, person: Person, number: int, length: int) -> None:
    """The whole answer is what was asked for."""
    head = head_of(attempt, line, person, number)
    declared = _LENGTH.search(head)
    if declared:
        claimed = int(declared[1])
        if claimed != length:
            attempt.lied(f"{claimed} bytes instead of {length}")
        line.compare(number, min(claimed, length))
        if claimed > length:
            line.exactly(claimed - length)
    elif _CHUNKED.search(head):
        _chunks(line, number, length)
    else:
        line.compare(number, length)
        if line.end():
            raise Wrong("something after the body")
    attempt.moved_bytes += length


def _chunks(line: Line, number: int, length: int) -> None:
    comparison = Comparison(number, length)
    while size := _size(line.line()):
        comparison.take(line.exactly(size))
        if line.exactly(2) != b"\r\n":
            raise Wrong("a chunk without an end")
    if line.line():
        raise Wrong("something after the last chunk")
    if comparison.left:
        raise Wrong(f"an end {comparison.left} bytes too soon")


def _size(text: bytes) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise Cut(f"{text!r} is no size of a chunk") from None


def _get(attempt: Attempt, line: Line, person: Person, path: bytes, most: int) -> None:
    number, length = attempt.number(), attempt.length(most)
    attempt.unknown()
    line.send(person.request(b"GET", target(path, number, length)))
    answered(attempt, line, person, number, length)


def browser(attempt: Attempt) -> None:
    """Somebody in OWA: connections with several requests, and one cookie that keeps the server."""
    service = attempt.dice.choice(("http", "https", "again"))
    person, name = Person(attempt.source), f"{attempt.number():x}"
    try:
        for _ in range(attempt.dice.choice((1, 2, 3))):
            with attempt.dial(service) as line:
                for _ in range(attempt.dice.randrange(1, 8)):
                    _get(attempt, line, person, b"/owa/page", 40_000)
                    attempt.stays(service, name)
                    time.sleep(attempt.dice.random() * 0.05)
    finally:
        attempt.memory.pop((attempt.pool, service, name), None)
    if not person.cookie:
        raise Wrong("there was no cookie")


def user(attempt: Attempt) -> None:
    """Somebody with Basic credentials and no cookie: the name keeps the server."""
    service = attempt.dice.choice(("http", "https", "again"))
    name = f"user{attempt.thread}-{attempt.dice.randrange(3)}"
    person = Person(attempt.source, _PHONE, login=f"{name}:secret".encode())
    with attempt.dial(service) as line:
        for _ in range(attempt.dice.randrange(1, 6)):
            _get(attempt, line, person, b"/Microsoft-Server-ActiveSync", 5000)
            attempt.stays(service, name)


def download(attempt: Attempt) -> None:
    """Large answers: with a length, in chunks, and up to the end of the connection."""
    service = attempt.dice.choice(("http", "https", "again"))
    person = Person(attempt.source)
    with attempt.dial(service) as line:
        _get(attempt, line, person, attempt.dice.choice((b"/ews/body", b"/ews/chunked")), 8 * _MIB)
        _get(attempt, line, person, attempt.dice.choice((b"/ews/chunked", b"/ews/close")), _MIB)


def upload(attempt: Attempt) -> None:
    """Large requests: with a length, and in chunks."""
    service = attempt.dice.choice(("http", "https", "again"))
    person = Person(attempt.source)
    with attempt.dial(service) as line:
        for _ in range(attempt.dice.choice((1, 2))):
            attempt.unknown()
            number, length = attempt.number(), attempt.length(6 * _MIB)
            chunked = attempt.dice.random() < 0.5
            kind = b"Transfer-Encoding: chunked\r\n" if chunked else b"Content-Length: %d\r\n" % length
            line.send(person.request(b"POST", target(b"/ews/up", number, 0), kind))
            for piece in stream(number, length):
                line.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if chunked:
                line.send(b"0\r\n\r\n")
            _verdict(attempt, line, person, number)
            attempt.moved_bytes += length


def _verdict(attempt: Attempt, line: Line, person: Person, number: int) -> None:
    head = head_of(attempt, line, person, number)
    declared = _LENGTH.search(head)
    said = line.exactly(int(declared[1])) if declared else b""
    if said != b"right":
        raise Wrong(f"the server got other bytes: {said!r}")


def ahead(attempt: Attempt) -> None:
    """Several requests at once; the answers come in their order."""
    person = Person(attempt.source)
    with attempt.dial(attempt.dice.choice(("http", "https"))) as line:
        asked = [(attempt.number(), attempt.length(30_000)) for _ in range(4)]
        line.send(b"".join(person.request(b"GET", target(b"/owa/page", *each)) for each in asked))
        for number, length in asked:
            attempt.server = ""
            answered(attempt, line, person, number, length)


def half_closing(attempt: Attempt) -> None:
    """A request, and no more after it."""
    person = Person(attempt.source)
    with attempt.dial("http") as line:
        number, length = attempt.number(), attempt.length(_MIB)
        line.send(person.request(b"GET", target(b"/owa/page", number, length)))
        line.half()
        answered(attempt, line, person, number, length)
        if rest := line.end():
            raise Wrong(f"{rest[:80]!r} after the answer")


def waiting(attempt: Attempt) -> None:
    """A request that is answered when something has come."""
    person = Person(attempt.source, _PHONE)
    with attempt.dial(attempt.dice.choice(("http", "https"))) as line:
        number, seconds = attempt.number(), attempt.dice.uniform(0.1, 0.5 if attempt.quick else 6.0)
        line.send(person.request(b"GET", target(b"/wait", number, 100) + b"&seconds=%.2f" % seconds))
        answered(attempt, line, person, number, 100)


def upgraded(attempt: Attempt) -> None:
    """A WebSocket, or so: after the upgrade both say what they like."""
    person = Person(attempt.source)
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    with attempt.dial(attempt.dice.choice(("http", "https", "again"))) as line:
        number = attempt.number()
        line.send(person.request(b"GET", target(b"/ws", number, 0), upgrade))
        head_of(attempt, line, person, number)
        for _ in range(attempt.dice.randrange(1, 12)):
            number, length = attempt.number(), attempt.length(60_000)
            line.send(whole(number, length))
            line.compare(number, length)
            attempt.moved_bytes += 2 * length
            time.sleep(attempt.dice.random() * 0.1)


def proxied(attempt: Attempt) -> None:
    """A proxy before us tells who the client is; nobody else is believed."""
    person = Person(f"198.51.100.{attempt.dice.randrange(1, 250)}")
    version = attempt.dice.choice(("v1", "v2"))
    with attempt.dial("proxied") as line:
        header = build(version, Source(person.source, 4000), Destination("198.51.100.251", 80, 80))
        cut = attempt.dice.randrange(len(header))
        line.send(header[:cut])
        line.send(header[cut:])
        for _ in range(2):
            _get(attempt, line, person, b"/owa/page", 20_000)
