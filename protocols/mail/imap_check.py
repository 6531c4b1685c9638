"""Check ``imap``: a greeting ``* OK``, CAPABILITY that is answered with OK (RFC 9051 6.1.1), and LOGOUT.

With STARTTLS where that is asked for, and a login by a test account.
"""

from __future__ import annotations

from exproxy.actions import Fail, Outcome
from exproxy.checks.dialogue import Dialogue, Expect, Reading, Secure, Send, Step, seen
from exproxy.checks.record import CheckPlugin
from exproxy.interfaces import ICheck
from protocols.mail.check_options import MailCheckOptions, checking
from protocols.mail.imap_words import quoted


def greeting(data: bytes) -> int | Outcome | None:
    """One line, ``* OK`` or ``* PREAUTH`` (RFC 9051 7.1); ``* BYE`` is a refusal."""
    line, end, _ = data.partition(b"\n")
    if not end:
        return None
    words = line.upper().split()
    if words[:1] != [b"*"]:
        return Fail("L7RSP", "greeting", seen(line))
    good = words[1:2] in ([b"OK"], [b"PREAUTH"])
    return len(line) + 1 if good else Fail("L7STS", "greeting", seen(line))


def answer(tag: bytes, phase: str) -> Reading:
    """A reading of untagged lines, then the one with the tag of our command; "+" is enough where the
    command goes on."""

    def read(data: bytes) -> int | Outcome | None:
        end = 0
        for line in data.split(b"\n")[:-1]:
            end += len(line) + 1
            words = line.upper().split()
            if words[:1] == [tag.upper()]:
                return end if words[1:2] == [b"OK"] else Fail("L7STS", phase, seen(line))
            if words[:1] == [b"+"]:
                return end
            if words[:2] == [b"*", b"BYE"]:
                return Fail("L7STS", phase, seen(line))
            if words[:1] != [b"*"]:
                return Fail("L7RSP", phase, seen(line))
        return None

    return read


def login(user: bytes, password: bytes) -> list[Step]:
    """LOGIN, its arguments as literals where they have to be."""
    steps: list[Step] = []
    text = b"c LOGIN"
    for value in (user, password):
        shown = quoted(value)
        if shown is not None:
            text += b" " + shown
            continue
        steps += [Send(text + b" {%d}\r\n" % len(value)), Expect("LOGIN", answer(b"c", "LOGIN"))]
        text = value
    return [*steps, Send(text + b"\r\n"), Expect("LOGIN", answer(b"c", "LOGIN"))]


def check(options: MailCheckOptions) -> ICheck:
    """The check of one pool."""

    def dialogue(starttls: bool) -> Dialogue:
        steps: list[Step] = [Expect("greeting", greeting)]
        if starttls:
            steps += [Send(b"s STARTTLS\r\n"), Expect("STARTTLS", answer(b"s", "STARTTLS")), Secure()]
        steps += [Send(b"a CAPABILITY\r\n"), Expect("CAPABILITY", answer(b"a", "CAPABILITY"))]
        steps += login(*options.login) if options.login is not None else []
        return Dialogue(*steps, Send(b"b LOGOUT\r\n"))

    return checking(options, dialogue)


plugin = CheckPlugin(
    name="imap",
    summary="IMAP: * OK, CAPABILITY is answered with OK; a login where there is an account",
    make=check,
    options=MailCheckOptions,
)
