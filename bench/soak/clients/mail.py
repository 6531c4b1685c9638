"""Clients of the mail services; all but one of them ask for TLS."""

from __future__ import annotations

import time

from bench.soak.clients.attempt import Attempt, Refused
from bench.soak.clients.streams import verdict
from bench.soak.line import Line
from bench.soak.servers.mail import message
from bench.soak.site import NAME
from bench.soak.stream import Wrong


def _said(line: Line, good: bytes, bad: tuple[bytes, ...]) -> bytes:
    """The next line. Raises Refused for one of the refusals, Wrong for anything but a good one."""
    said = line.line()
    if said.startswith(bad):
        raise Refused(said.decode("latin-1"))
    if not said.startswith(good):
        raise Wrong(f"{said!r} instead of {good!r}")
    return said


def _ask(line: Line, words: bytes, good: bytes, bad: tuple[bytes, ...]) -> bytes:
    line.send(words + b"\r\n")
    return _said(line, good, bad)


# -- IMAP -------------------------------------------------------------------------------

_BYE = (b"* BYE", b"b NO [UNAVAILABLE]", b"c NO [UNAVAILABLE]")


def imap(attempt: Attempt) -> None:
    """STARTTLS, a login that keeps its server, messages, IDLE."""
    name = f"imap{attempt.thread}-{attempt.dice.randrange(3)}"
    with attempt.dial("imap") as line:
        _said(line, b"* OK", _BYE)
        _ask(line, b"a STARTTLS", b"a OK", _BYE)
        line.secure(attempt.context, NAME)
        line.send(b"b LOGIN %s secret\r\n" % name.encode())
        said = _untagged(line)
        if not said.startswith(b"b OK server "):
            raise Refused(said.decode()) if said.startswith(_BYE) else Wrong(f"{said!r} for a login")
        attempt.served_by(said.rpartition(b" ")[2])
        attempt.stays("imap", name)
        for _ in range(attempt.dice.randrange(1, 4)):
            _fetch(attempt, line)
        _ask(line, b"d IDLE", b"+", _BYE)
        time.sleep(attempt.dice.random() * (0.1 if attempt.quick else 3.0))
        _ask(line, b"DONE", b"d OK", _BYE)
        _ask(line, b"e LOGOUT", b"* BYE", ())


def _untagged(line: Line) -> bytes:
    while (said := line.line()).startswith((b"* CAP", b"* OK")):
        continue
    return said


def _fetch(attempt: Attempt, line: Line) -> None:
    number, length = attempt.number(), attempt.length(1 << 19)
    said = _ask(line, b"c FETCH %x %d" % (number, length), b"* 1 FETCH", _BYE)
    expected = message(number, length)
    claimed = int(said.rpartition(b"{")[2].rstrip(b"}"))
    got = line.exactly(len(expected))
    if got != expected:
        raise Wrong(f"another message than {number:x}")
    if claimed != len(expected):
        attempt.lied(f"a literal of {claimed} bytes instead of {len(expected)}")
    if line.line() != b")":
        raise Wrong("a message without an end")
    _said(line, b"c OK", _BYE)
    attempt.moved_bytes += len(expected)


# -- POP --------------------------------------------------------------------------------

_ERR = (b"-ERR [SYS/TEMP]",)


def pop(attempt: Attempt) -> None:
    """STLS, a login, messages."""
    number, length = attempt.dice.randrange(1, 1 << 30), attempt.length(1 << 18)
    with attempt.dial("pop") as line:
        _said(line, b"+OK", _ERR)
        _ask(line, b"STLS", b"+OK", _ERR)
        line.secure(attempt.context, NAME)
        _ask(line, b"USER u-%d" % length, b"+OK", _ERR)
        attempt.served_by(_ask(line, b"PASS secret", b"+OK server ", _ERR).rpartition(b" ")[2])
        _ask(line, b"RETR %d" % number, b"+OK", _ERR)
        expected = message(number, length)
        if line.exactly(len(expected) + 3) != expected + b".\r\n":
            raise Wrong(f"another message than {number}")
        _ask(line, b"QUIT", b"+OK", _ERR)
        attempt.moved_bytes += len(expected)


# -- SMTP -------------------------------------------------------------------------------

_LATER = (b"421", b"454")


def smtp(attempt: Attempt) -> None:
    """STARTTLS, and mails; the server is reached with STARTTLS as well."""
    with attempt.dial("smtp") as line:
        _said(line, b"220", _LATER)
        _ehlo(line)
        _ask(line, b"STARTTLS", b"220", _LATER)
        line.secure(attempt.context, NAME)
        _mails(attempt, line)


def relayed_smtp(attempt: Attempt) -> None:
    """Mails through a service that only relays."""
    with attempt.dial("relayed-smtp") as line:
        _said(line, b"220", _LATER)
        _mails(attempt, line)


def _ehlo(line: Line) -> None:
    said = _ask(line, b"EHLO client.example", b"250", _LATER)
    while said[3:4] == b"-":
        said = _said(line, b"250", _LATER)


def _mails(attempt: Attempt, line: Line) -> None:
    _ehlo(line)
    for _ in range(attempt.dice.choice((1, 1, 2))):
        number, length = attempt.number(), attempt.length(1 << 19)
        _ask(line, b"MAIL FROM:<%x-%d@soak.test>" % (number, length), b"250", _LATER)
        _ask(line, b"RCPT TO:<somebody@soak.test>", b"250", _LATER)
        _ask(line, b"DATA", b"354", _LATER)
        line.send(message(number, length) + b".\r\n")
        verdict_, _, name = _said(line, b"250 ", _LATER)[4:].partition(b" ")
        attempt.served_by(name)
        verdict(verdict_)
        attempt.moved_bytes += length
    _ask(line, b"QUIT", b"221", _LATER)
