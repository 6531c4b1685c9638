"""Check ``imap``: a greeting ``* OK``, CAPABILITY that is answered with OK (RFC 9051 6.1.1), and LOGOUT."""

from __future__ import annotations

from exproxy.actions import Fail, Outcome
from exproxy.checks.dialogue import Dialogue, Expect, Send, seen
from exproxy.checks.record import Check, CheckPlugin


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


def capability(data: bytes) -> int | Outcome | None:
    """Untagged lines, then the one with the tag of our command."""
    end = 0
    for line in data.split(b"\n")[:-1]:
        end += len(line) + 1
        words = line.upper().split()
        if words[:1] == [b"A"]:
            return end if words[1:2] == [b"OK"] else Fail("L7STS", "CAPABILITY", seen(line))
        if words[:2] == [b"*", b"BYE"]:
            return Fail("L7STS", "CAPABILITY", seen(line))
        if words[:1] != [b"*"]:
            return Fail("L7RSP", "CAPABILITY", seen(line))
    return None


def dialogue() -> Dialogue:
    """One question."""
    return Dialogue(
        Expect("greeting", greeting),
        Send(b"a CAPABILITY\r\n"),
        Expect("CAPABILITY", capability),
        Send(b"b LOGOUT\r\n"),
    )


plugin = CheckPlugin(
    name="imap",
    summary="IMAP: * OK, CAPABILITY is answered with OK",
    make=lambda options: Check(dialogue),
)
