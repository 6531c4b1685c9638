"""IMAP, POP and SMTP: enough of each for a dialogue with a message of so many bytes in it.

The message is named by its number and length wherever the protocol has a place for a name.
"""

from __future__ import annotations

import base64
import ssl

from bench.soak.line import Cut, Line
from bench.soak.servers.modes import Modes
from bench.soak.stream import whole

_SHOWN = 76


def message(number: int, length: int) -> bytes:
    """A stream as lines of text."""
    text = base64.b64encode(whole(number, length))
    return b"\r\n".join(text[at : at + _SHOWN] for at in range(0, len(text), _SHOWN)) + b"\r\n"


def imap(line: Line, modes: Modes) -> None:
    """LOGIN, NOOP, IDLE, FETCH NUMBER LENGTH, LOGOUT; the login's answer names the server."""
    modes.say(line, b"* OK [CAPABILITY IMAP4rev1 IDLE] ready\r\n")
    while True:
        tag, word, *rest = line.line().split(b" ")
        word = word.upper()
        if word == b"CAPABILITY":
            modes.say(line, b"* CAPABILITY IMAP4rev1 IDLE\r\n%s OK done\r\n" % tag)
        elif word in (b"LOGIN", b"AUTHENTICATE"):
            if word == b"AUTHENTICATE" and len(rest) < 2:
                modes.say(line, b"+ \r\n")
                line.line()
            modes.say(line, b"%s OK server %s\r\n" % (tag, modes.name))
        elif word == b"FETCH":
            text = message(int(rest[0], 16), int(rest[1]))
            length = len(text) + 10 if modes.lies() else len(text)
            modes.say(line, b"* 1 FETCH (BODY[] {%d}\r\n" % length, text, b")\r\n%s OK done\r\n" % tag)
        elif word == b"IDLE":
            modes.say(line, b"+ idling\r\n")
            line.line()
            modes.say(line, b"%s OK done\r\n" % tag)
        elif word == b"LOGOUT":
            modes.say(line, b"* BYE\r\n%s OK done\r\n" % tag)
            return
        else:
            modes.say(line, b"%s OK done\r\n" % tag)


def pop(line: Line, modes: Modes) -> None:
    """USER, PASS, RETR NUMBER, QUIT. POP's messages have small numbers, so the length is in the login."""
    modes.say(line, b"+OK ready %s\r\n" % modes.name)
    length = 0
    while True:
        word, *rest = line.line().split(b" ")
        word = word.upper()
        if word == b"CAPA":
            modes.say(line, b"+OK\r\nUSER\r\nUIDL\r\n.\r\n")
        elif word == b"USER":
            length = int(rest[0].partition(b"-")[2] or 0)
            modes.say(line, b"+OK\r\n")
        elif word == b"PASS":
            modes.say(line, b"+OK server %s\r\n" % modes.name)
        elif word == b"RETR":
            text = message(int(rest[0]), length)
            if modes.lies():
                modes.say(line, b"+OK\r\n", text[: len(text) // 2])
                raise Cut("we have lied")
            modes.say(line, b"+OK\r\n", text, b".\r\n")
        else:
            modes.say(line, b"+OK\r\n")
            if word == b"QUIT":
                return


def smtp(line: Line, modes: Modes, tls: ssl.SSLContext) -> None:
    """EHLO, STARTTLS, MAIL FROM:<NUMBER-LENGTH@…>, RCPT, DATA, QUIT; the last answers name the server."""
    modes.say(line, b"220 %s ready\r\n" % modes.name)
    secured, number, length = False, 0, 0
    while True:
        said = line.line()
        word = said.split(b" ")[0].upper()
        if word == b"EHLO":
            offers = b"250-SIZE 100000000\r\n" if secured else b"250-STARTTLS\r\n"
            modes.say(line, b"250-%s\r\n%s250 8BITMIME\r\n" % (modes.name, offers))
        elif word == b"STARTTLS":
            modes.say(line, b"220 go on\r\n")
            line.secure(tls)
            secured = True
        elif word == b"MAIL":
            name = said.partition(b"<")[2].partition(b"@")[0]
            number, length = int(name.partition(b"-")[0], 16), int(name.partition(b"-")[2])
            modes.say(line, b"250 ok\r\n")
        elif word == b"DATA":
            modes.say(line, b"354 go on\r\n")
            modes.say(line, b"250 %s %s\r\n" % (_verdict(line, number, length), modes.name))
        else:
            modes.say(line, b"250 ok\r\n" if word != b"QUIT" else b"221 bye\r\n")
            if word == b"QUIT":
                return


def _verdict(line: Line, number: int, length: int) -> bytes:
    expected = message(number, length) + b".\r\n"
    got = line.exactly(len(expected))
    return b"right" if got == expected else b"wrong"
