"""Check ``pop``: a greeting ``+OK``, an answer to CAPA (RFC 2449 5; older servers say -ERR), and QUIT.

With STLS where STARTTLS is asked for, and a login by a test account.
"""

from __future__ import annotations

from exproxy.actions import Fail, Outcome
from exproxy.checks.dialogue import Dialogue, Expect, Reading, Secure, Send, Step, seen
from exproxy.checks.record import CheckPlugin
from exproxy.interfaces import ICheck
from protocols.mail.check_options import MailCheckOptions, checking


def greeting(data: bytes) -> int | Outcome | None:
    """One line, ``+OK`` (RFC 1939 4)."""
    line, end, _ = data.partition(b"\n")
    if not end:
        return None
    word = line.split()[:1]
    if word == [b"+OK"]:
        return len(line) + 1
    return Fail("L7STS" if word == [b"-ERR"] else "L7RSP", "greeting", seen(line))


def capabilities(data: bytes) -> int | Outcome | None:
    """``+OK`` and lines to a single dot, or ``-ERR``, which says as well that somebody is at home."""
    lines = data.split(b"\n")[:-1]
    if not lines:
        return None
    word = lines[0].split()[:1]
    if word == [b"-ERR"]:
        return len(lines[0]) + 1
    if word != [b"+OK"]:
        return Fail("L7RSP", "CAPA", seen(lines[0]))
    end = 0
    for line in lines:
        end += len(line) + 1
        if line.rstrip(b"\r") == b".":
            return end
    return None


def good(phase: str) -> Reading:
    """A reading of one line that is to be ``+OK``."""

    def read(data: bytes) -> int | Outcome | None:
        line, end, _ = data.partition(b"\n")
        if not end:
            return None
        return len(line) + 1 if line.split()[:1] == [b"+OK"] else Fail("L7STS", phase, seen(line))

    return read


def check(options: MailCheckOptions) -> ICheck:
    """The check of one pool."""

    def dialogue(starttls: bool) -> Dialogue:
        steps: list[Step] = [Expect("greeting", greeting)]
        if starttls:
            steps += [Send(b"STLS\r\n"), Expect("STLS", good("STLS")), Secure()]
        steps += [Send(b"CAPA\r\n"), Expect("CAPA", capabilities)]
        if options.login is not None:
            for word, value in zip((b"USER", b"PASS"), options.login, strict=True):
                steps += [Send(b"%b %b\r\n" % (word, value)), Expect("login", good("login"))]
        return Dialogue(*steps, Send(b"QUIT\r\n"))

    return checking(options, dialogue)


plugin = CheckPlugin(
    name="pop",
    summary="POP3: +OK, CAPA is answered; a login where there is an account",
    make=check,
    options=MailCheckOptions,
)
