"""The web server: pages and bodies by number and length, uploads that are compared, waits, upgrades.

Targets end with ``?number=…&length=…``; a path that contains ``chunked``, ``close``, ``wait`` or ``ws`` says
how the answer is to be. Each answer names the server in ``X-Server``, repeats the number in ``X-Number``, and
says in ``X-From`` which address the client is said to have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.soak.line import Line
from bench.soak.servers.modes import Modes, nap
from bench.soak.stream import Comparison, Wrong, stream

_NUMBER = re.compile(rb"[?&]number=([0-9a-f]+)")
_LENGTH = re.compile(rb"[?&]length=([0-9]+)")
_SECONDS = re.compile(rb"[?&]seconds=([0-9.]+)")
_HAS = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_FROM = re.compile(rb"\r\nx-forwarded-for: *([^\r]*)", re.IGNORECASE)


def web(line: Line, modes: Modes) -> None:
    """Requests until the client ends, or an answer ends the connection."""
    while first := line.some():
        line.put_back(first)
        head = line.until(b"\r\n\r\n")
        if not _answer(line, modes, head):
            return


def _of(pattern: re.Pattern[bytes], head: bytes, otherwise: bytes = b"0") -> bytes:
    found = pattern.search(head)
    return found[1] if found else otherwise


def _answer(line: Line, modes: Modes, head: bytes) -> bool:
    target = head.split(b" ", 2)[1]
    number, length = int(_of(_NUMBER, target), 16), int(_of(_LENGTH, target))
    about = b"X-Server: %s\r\nX-Number: %x\r\nX-From: %s\r\n" % (modes.name, number, _of(_FROM, head, b"-"))
    if b"/ws" in target:
        modes.say(
            line,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%s\r\n"
            % about,
        )
        while data := line.some():
            modes.say(line, data)
        return False
    if verdict := _body(line, head, number):
        modes.say(line, b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (about, len(verdict), verdict))
        return True
    if b"/wait" in target:
        nap(float(_of(_SECONDS, target)))
    return _send(line, modes, target, about, number, length)


def _send(line: Line, modes: Modes, target: bytes, about: bytes, number: int, length: int) -> bool:
    start = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nCache-Control: private\r\n" + about
    if b"/chunked" in target:
        modes.say(line, start + b"Transfer-Encoding: chunked\r\n\r\n")
        modes.say_all(line, _chunks(number, length))
        # A lie of another kind: no end of the chunks, and more of something.
        modes.say(line, b"zz\r\n" if modes.lies() else b"0\r\n\r\n")
        return True
    if b"/close" in target:
        modes.say(line, start + b"Connection: close\r\n\r\n")
        modes.say_all(line, stream(number, length))
        return False
    claimed = length
    if modes.lies():
        # Too many, and the end comes before; or too few, and the rest belongs to no request.
        claimed = length + 100 if number & 1 else length // 2
    modes.say(line, start + b"Content-Length: %d\r\n\r\n" % claimed)
    modes.say_all(line, stream(number, length))
    return claimed == length


def _chunks(number: int, length: int) -> Iterator[bytes]:
    for piece in stream(number, length):
        middle = 1 + number % (len(piece) - 1) if len(piece) > 1 else len(piece)
        for part in (piece[:middle], piece[middle:]):
            if part:
                yield b"%x\r\n%s\r\n" % (len(part), part)


def _body(line: Line, head: bytes, number: int) -> bytes:
    """What there is to say about a request's body; nothing where there is none."""
    declared = _HAS.search(head)
    try:
        if declared and int(declared[1]):
            line.compare(number, int(declared[1]))
            return b"right"
        if _CHUNKED.search(head):
            comparison = Comparison(number, 1 << 40)
            while size := int(line.line(), 16):
                comparison.take(line.exactly(size))
                if line.exactly(2) != b"\r\n":
                    raise Wrong("a chunk without an end")
            if line.line():
                raise Wrong("something after the last chunk")
            return b"right"
    except ValueError as error:
        return b"wrong: %s" % str(error).encode()
    except Wrong as wrong:
        return b"wrong: %s" % str(wrong).encode()
    return b""
