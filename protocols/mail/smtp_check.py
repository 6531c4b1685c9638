"""Check ``smtp``: a banner 220, an EHLO that is answered with 250 (RFC 5321 4.1.1.1), and QUIT.

With STARTTLS where that is asked for, and a login by a test account.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from exproxy.actions import Fail, Outcome
from exproxy.checks.dialogue import Dialogue, Expect, Reading, Secure, Send, Step, seen
from exproxy.checks.record import CheckPlugin
from exproxy.interfaces import ICheck
from protocols.mail.check_options import MailCheckOptions, checking
from protocols.mail.sasl import Credentials, encoded


class SmtpCheckOptions(MailCheckOptions):
    """Options of the check ``smtp``."""

    ehlo: str = Field(
        default="localhost",
        pattern=r"^[A-Za-z0-9\[\].:_-]{1,255}$",
        description="The name that the check says in EHLO.",
    )
    mechanism: Literal["plain", "login"] = Field(
        default="plain", description="How the test account logs in; Exchange has login only."
    )


def reply(phase: str, good: bytes) -> Reading:
    """A reading of one reply of any number of lines (RFC 5321 4.2.1) whose code begins with ``good``."""

    def read(data: bytes) -> int | Outcome | None:
        end = 0
        for line in data.split(b"\n")[:-1]:
            if not (line[:3].isdigit() and line[3:4] in (b" ", b"-", b"\r", b"")):
                return Fail("L7RSP", phase, seen(line))
            end += len(line) + 1
            if line[3:4] != b"-":
                return end if line.startswith(good) else Fail("L7STS", phase, seen(line))
        return None

    return read


def login(user: bytes, password: bytes, mechanism: str) -> list[Step]:
    """AUTH, in either of the mechanisms that send a password."""
    if mechanism == "plain":
        text = Credentials(user, password).plain()
        return [Send(b"AUTH PLAIN %b\r\n" % text), Expect("AUTH", reply("AUTH", b"235"))]
    steps: list[Step] = [Send(b"AUTH LOGIN\r\n")]
    for value in (user, password):
        steps += [Expect("AUTH", reply("AUTH", b"334")), Send(encoded(value) + b"\r\n")]
    return [*steps, Expect("AUTH", reply("AUTH", b"235"))]


def check(options: SmtpCheckOptions) -> ICheck:
    """The check of one pool."""
    hello = (Send(b"EHLO %b\r\n" % options.ehlo.encode("ascii")), Expect("EHLO", reply("EHLO", b"2")))

    def dialogue(starttls: bool) -> Dialogue:
        steps: list[Step] = [Expect("banner", reply("banner", b"220")), *hello]
        if starttls:
            steps += [Send(b"STARTTLS\r\n"), Expect("STARTTLS", reply("STARTTLS", b"220")), Secure(), *hello]
        steps += login(*options.login, options.mechanism) if options.login is not None else []
        return Dialogue(*steps, Send(b"QUIT\r\n"))

    return checking(options, dialogue)


plugin = CheckPlugin(
    name="smtp",
    summary="SMTP: 220, EHLO is answered with 2xx; a login where there is an account",
    make=check,
    options=SmtpCheckOptions,
)
