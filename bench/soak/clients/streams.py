"""Clients of TCP services, TLS ended, passed through or not there at all; and of RPC."""

from __future__ import annotations

import struct
import threading
import time

from bench.load import rpc as words
from bench.soak.clients.attempt import Attempt, Refused
from bench.soak.line import Cut, Line
from bench.soak.site import BEHIND
from bench.soak.stream import Wrong, stream, whole
from exproxy.lab.dcerpc import BIND_ACK, FAULT, HEADER, REQUEST

_MIB = 1 << 20
_WAYS = ("tcp", "tcp-tls", "pass")


def order(attempt: Attempt, line: Line, word: bytes, number: int, *length: int) -> None:
    """Say what is wanted, and hear who serves it. Raises Cut or Wrong."""
    line.send(b" ".join((word, b"%x" % number, *(b"%d" % each for each in length))) + b"\n")
    greeted(attempt, line, number)


def greeted(attempt: Attempt, line: Line, number: int) -> None:
    """Hear who serves."""
    said = line.line()
    name, _, about = said.partition(b" ")
    if about != b"%x" % number:
        raise Wrong(f"{said!r} in answer to {number:x}")
    attempt.served_by(name)


def echoed(attempt: Attempt, line: Line, length: int) -> None:
    """Say a stream and hear it again."""
    number = attempt.number()
    line.send(whole(number, length))
    line.compare(number, length)
    attempt.moved_bytes += 2 * length


def short(attempt: Attempt) -> None:
    """Connect, 64 bytes there and back, close."""
    with attempt.dial(attempt.dice.choice(_WAYS)) as line:
        order(attempt, line, b"ECHO", attempt.number())
        echoed(attempt, line, 64)


def chat(attempt: Attempt) -> None:
    """A connection with many words and pauses."""
    with attempt.dial(attempt.dice.choice(_WAYS)) as line:
        order(attempt, line, b"ECHO", attempt.number())
        for _ in range(attempt.dice.randrange(3, 30)):
            echoed(attempt, line, attempt.length(20_000))
            time.sleep(attempt.dice.random() * 0.1)


def download(attempt: Attempt) -> None:
    """Bulk down."""
    with attempt.dial(attempt.dice.choice(_WAYS)) as line:
        number, length = attempt.number(), attempt.length(12 * _MIB)
        order(attempt, line, b"DOWN", number, length)
        line.compare(number, length)
        attempt.moved_bytes += length


def upload(attempt: Attempt) -> None:
    """Bulk up, and more than once on a connection."""
    with attempt.dial(attempt.dice.choice(_WAYS)) as line:
        for _ in range(attempt.dice.choice((1, 1, 3))):
            number, length = attempt.number(), attempt.length(8 * _MIB)
            order(attempt, line, b"UP", number, length)
            for piece in stream(number, length):
                line.send(piece)
            verdict(line.line())
            attempt.moved_bytes += length


def verdict(said: bytes) -> None:
    """The server's word on what it got."""
    if said.lower() != b"right":
        raise Wrong(f"the server got other bytes: {said!r}")


def both(attempt: Attempt) -> None:
    """Bulk in both directions at the same time."""
    with attempt.dial("tcp") as line:
        number, length = attempt.number(), attempt.length(6 * _MIB)
        order(attempt, line, b"BOTH", number, length)
        failed: list[Cut] = []

        def send() -> None:
            try:
                for piece in stream(number, length):
                    line.send(piece)
            except Cut as cut:
                failed.append(cut)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        try:
            line.compare(number + 1, length)
            sender.join()
            if failed:
                raise failed[0]
            verdict(line.line())
        finally:
            line.reset() if failed else None
        attempt.moved_bytes += 2 * length


def half_closing(attempt: Attempt) -> None:
    """Say all, say that it is all, and hear the answer."""
    with attempt.dial("tcp") as line:
        number, length = attempt.number(), attempt.length(_MIB // 4)
        order(attempt, line, b"ECHO", attempt.number())
        sender = threading.Thread(target=_all, args=(line, number, length), daemon=True)
        sender.start()
        line.compare(number, length)
        sender.join()
        if rest := line.end():
            raise Wrong(f"{len(rest)} bytes after the end")
        attempt.moved_bytes += 2 * length


def _all(line: Line, number: int, length: int) -> None:
    try:
        line.send(whole(number, length))
        line.half()
    except Cut:
        # The reading side says so too.
        return


def slow_reader(attempt: Attempt) -> None:
    """A small window, and pauses: all of it must arrive all the same."""
    with attempt.dial(attempt.dice.choice(_WAYS), buffer=8192) as line:
        number, length = attempt.number(), attempt.length(3 * _MIB)
        order(attempt, line, b"DOWN", number, length)
        time.sleep(attempt.dice.random() * (0.3 if attempt.quick else 3.0))
        line.compare(number, length)
        attempt.moved_bytes += length


def rpc(attempt: Attempt) -> None:
    """Bind, and calls with pauses."""
    with attempt.dial("rpc") as line:
        line.send(words.bind())
        expected = words.bound(BEHIND["rpc"])
        got = line.exactly(HEADER)
        if got[2] != BIND_ACK:
            raise Refused(f"{got!r} in answer to a bind")
        got += line.exactly(len(expected) - HEADER)
        if got != expected:
            raise Wrong(f"{got!r} in answer to a bind")
        for call in range(2, attempt.dice.randrange(4, 20)):
            stub = b"%x" % attempt.number() * attempt.dice.choice((1, 4, 60))
            line.send(_call(call, stub))
            _answered(attempt, line, stub)
            attempt.stays("rpc", attempt.source)
            time.sleep(attempt.dice.random() * 0.1)


def _call(call: int, stub: bytes) -> bytes:
    body = struct.pack("<IHH", len(stub), 0, 4) + stub
    return struct.pack("<BBBBIHHI", 5, 0, REQUEST, 3, 0x10, HEADER + len(body), 0, call) + body


def _answered(attempt: Attempt, line: Line, stub: bytes) -> None:
    head = line.exactly(HEADER)
    length = struct.unpack_from("<H", head, 8)[0]
    if head[2] == FAULT:
        raise Refused(f"fault {line.exactly(length - HEADER)[8:12].hex()}")
    expected = HEADER + 8 + 2 + len(stub)
    if length != expected:
        attempt.lied(f"a packet of {length} bytes instead of {expected}")
        line.exactly(length - HEADER)
        return
    name, _, said = line.exactly(length - HEADER)[8:].partition(b" ")
    if said != stub:
        raise Wrong(f"{said!r} in answer to {stub!r}")
    attempt.served_by(name)
