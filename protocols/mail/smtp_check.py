"""Check ``smtp``: a banner 220, an EHLO that is answered with 250 (RFC 5321 4.1.1.1), and QUIT."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from exproxy.actions import Fail, Outcome
from exproxy.checks.dialogue import Dialogue, Expect, Reading, Send, seen
from exproxy.checks.record import Check, CheckPlugin
from exproxy.interfaces import ICheck


class SmtpCheckOptions(BaseModel):
    """Options of the check ``smtp``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ehlo: str = Field(
        default="localhost",
        pattern=r"^[A-Za-z0-9\[\].:_-]{1,255}$",
        description="The name that the check says in EHLO.",
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


def check(options: SmtpCheckOptions) -> ICheck:
    """The check of one pool."""
    hello = b"EHLO %b\r\n" % options.ehlo.encode("ascii")
    return Check(
        lambda: Dialogue(
            Expect("banner", reply("banner", b"220")),
            Send(hello),
            Expect("EHLO", reply("EHLO", b"2")),
            Send(b"QUIT\r\n"),
        )
    )


plugin = CheckPlugin(
    name="smtp", summary="SMTP: 220, EHLO is answered with 2xx", make=check, options=SmtpCheckOptions
)
