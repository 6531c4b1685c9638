"""Clients that nobody wants: rubbish, too much, too slow, nothing at all, gone in the middle.

exproxy has to let go of each of them by one of its rules; whoever is still there after the longest of its
waits is a mistake.
"""

from __future__ import annotations

import socket
import ssl
import time

from bench.load import rpc as words
from bench.soak.clients.attempt import Attempt
from bench.soak.clients.streams import order
from bench.soak.clients.web import Person, target
from bench.soak.line import Cut, Line
from bench.soak.site import FEW, NAME, PORTS, WAITS
from bench.soak.stream import Wrong, stream

_MIB = 1 << 20
# Beyond the longest wait: what a busy machine may add.
_PATIENCE = max(WAITS.values()) + 15.0
_SLOW = {"http": 3.0, "https": 3.0, "imap": 6.0, "pop": 6.0, "smtp": 6.0}


def _let_go(attempt: Attempt, line: Line, what: str) -> None:
    """exproxy ends the connection, whatever it says before. Raises Wrong."""
    line.patience(_PATIENCE)
    end, said = time.monotonic() + _PATIENCE, 0
    try:
        while data := line.some():
            said += len(data)
            if said > 1 << 20 or time.monotonic() > end:
                raise Wrong(f"{what} is answered without end")
    except Cut as cut:
        if "in time" in str(cut):
            raise Wrong(f"{what} was not let go") from None
    attempt.rule()


def rubbish(attempt: Attempt) -> None:
    """Random bytes, to any service."""
    service = attempt.dice.choice([name for name in PORTS if name != "few"])
    with attempt.plain(service) as line:
        _say(line, attempt.dice.randbytes(attempt.dice.choice((10, 300, 20_000))) + b"\r\n\r\n")
        if attempt.quick:
            _half(line)
        _let_go(attempt, line, f"rubbish to {service}")


def _say(line: Line, data: bytes) -> None:
    """Say it to somebody who need not listen any more."""
    try:
        line.send(data)
    except Cut:
        return


def _half(line: Line) -> None:
    try:
        line.half()
    except Cut:
        return


def too_much(attempt: Attempt) -> None:
    """Lines and heads without an end."""
    service = attempt.dice.choice(("http", "https", "imap", "pop", "smtp", "rpc", "proxied"))
    with attempt.dial(service) as line:
        starts = {"http": b"GET / HTTP/1.1\r\nHost: x\r\n", "rpc": words.bind()[:8] + b"\xff\xff"}
        start = starts.get("http" if service == "https" else service, b"")
        _say(line, start + b"x" * attempt.dice.choice((70_000, 300_000)))
        _let_go(attempt, line, f"too much for {service}")


def too_slow(attempt: Attempt) -> None:
    """A byte now and then."""
    service = attempt.dice.choice(("http", "https") if attempt.quick else tuple(_SLOW))
    with attempt.dial(service) as line:
        end = time.monotonic() + _SLOW[service] + 1.5
        _say(line, b"GET / HTTP/1.1\r\nX: " if "http" in service else b"NOOP")
        while time.monotonic() < end:
            _say(line, b"x")
            time.sleep(0.3)
        _let_go(attempt, line, f"a slow client of {service}")


def slow_body(attempt: Attempt) -> None:
    """A request's body that hardly comes."""
    person = Person(attempt.source)
    with attempt.dial(attempt.dice.choice(("http", "https"))) as line:
        line.send(person.request(b"POST", target(b"/ews/up", 1, 0), b"Content-Length: 100000\r\n"))
        for _ in range(20):
            _say(line, b"\0")
            time.sleep(0.3)
        _let_go(attempt, line, "a slow body")


def nothing(attempt: Attempt) -> None:
    """Connect, and that is all; some wait to be let go."""
    quick = ("proxied", "https", "rpc", "pass", "again")
    service = attempt.dice.choice(quick if attempt.quick else [name for name in PORTS if name != "few"])
    with attempt.plain(service) as line:
        if attempt.dice.random() < 0.5 and not attempt.quick:
            time.sleep(attempt.dice.random())
        else:
            _let_go(attempt, line, f"a silent client of {service}")


def half_a_hello(attempt: Attempt) -> None:
    """The begin of a TLS handshake."""
    outgoing, context = ssl.MemoryBIO(), attempt.context
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=NAME)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        hello = outgoing.read()
    whole = attempt.dice.random() < 0.3
    with attempt.plain(attempt.dice.choice(("https", "tcp-tls", "pass"))) as line:
        _say(line, hello if whole else hello[: attempt.dice.randrange(1, len(hello))])
        _leave(attempt, line)


def gone_down(attempt: Attempt) -> None:
    """Ask for much, take some of it, and go."""
    with attempt.dial(attempt.dice.choice(("tcp", "tcp-tls", "pass"))) as line:
        order(attempt, line, b"DOWN", attempt.number(), 8 * _MIB)
        if attempt.dice.random() < 0.5:
            line.exactly(attempt.dice.randrange(1, 2 * _MIB))
        time.sleep(attempt.dice.random() * 0.3)
        _leave(attempt, line)


def gone_up(attempt: Attempt) -> None:
    """Begin to send much, and go."""
    with attempt.dial(attempt.dice.choice(("tcp", "tcp-tls", "pass"))) as line:
        number = attempt.number()
        order(attempt, line, b"UP", number, 8 * _MIB)
        for piece in stream(number, attempt.length(4 * _MIB)):
            line.send(piece)
        _leave(attempt, line)


def gone_web(attempt: Attempt) -> None:
    """The same in HTTP: before, in, and after an answer, in a body, in a tunnel."""
    person, dice = Person(attempt.source), attempt.dice
    with attempt.dial(dice.choice(("http", "https", "again"))) as line:
        number, path = attempt.number(), dice.choice((b"/owa/page", b"/wait", b"/chunked", b"/ws", b"/up"))
        length = attempt.length(4 * _MIB)
        asked = target(path, number, length) + b"&seconds=2"
        if path == b"/up":
            line.send(person.request(b"POST", asked, b"Content-Length: %d\r\n" % (length + 1)))
            for piece in stream(number, length // 2):
                line.send(piece)
        elif path == b"/ws":
            line.send(person.request(b"GET", asked, b"Connection: Upgrade\r\nUpgrade: x\r\n") + b"early")
        else:
            line.send(person.request(b"GET", asked))
        time.sleep(dice.random() * 0.3)
        _leave(attempt, line)


def gone_mail(attempt: Attempt) -> None:
    """Anywhere in a dialogue."""
    service, dice = attempt.dice.choice(("imap", "pop", "smtp", "relayed-smtp")), attempt.dice
    asks = {"imap": b"a STARTTLS", "pop": b"STLS", "smtp": b"STARTTLS", "relayed-smtp": b"NOOP"}
    with attempt.dial(service) as line:
        if dice.random() < 0.7:
            line.line()
        if service == "smtp":
            line.send(b"EHLO x\r\n")
        if dice.random() < 0.7:
            line.send(asks[service] + b"\r\n")
        if dice.random() < 0.5:
            line.send(b"\x16\x03\x01\x00\x50\x01")
        time.sleep(dice.random() * 0.1)
        _leave(attempt, line)


def deaf(attempt: Attempt) -> None:
    """Ask for much and read none of it; then go."""
    with attempt.dial(attempt.dice.choice(("tcp", "tcp-tls")), buffer=4096) as line:
        order(attempt, line, b"DOWN", attempt.number(), 12 * _MIB)
        time.sleep(attempt.dice.random() * (0.3 if attempt.quick else 4.0))
        _leave(attempt, line)


def too_many(attempt: Attempt) -> None:
    """More connections than one address may have; and then, when they are gone, one more."""
    lines = [attempt.plain("few") for _ in range(FEW + 2)]
    served = sum(_served(line) for line in lines)
    if served > FEW:
        raise Wrong(f"{served} connections where {FEW} are allowed")
    attempt.rules += len(lines) - served
    for line in lines:
        line.close()
    for _ in range(100):
        with attempt.plain("few") as line:
            if _served(line):
                return
        time.sleep(0.1)
    raise Cut("nobody is let in any more")


def _served(line: Line) -> bool:
    try:
        line.send(b"ECHO 1\n")
        return bool(line.line())
    except Cut as cut:
        if "in time" in str(cut):
            raise
        return False


def _leave(attempt: Attempt, line: Line) -> None:
    """Go: politely, by RST, or by the half first."""
    way = attempt.dice.randrange(4)
    if way == 0:
        line.close()
    elif way == 1 and not isinstance(line.sock, ssl.SSLSocket):
        _half(line)
        time.sleep(attempt.dice.random() * 0.2)
    elif way == 2:
        socket.socket.shutdown(line.sock, socket.SHUT_RD) if attempt.dice.random() < 0.5 else None
    line.reset()
    attempt.rule()
