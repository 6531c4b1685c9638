"""Check ``pop``: a greeting ``+OK``, an answer to CAPA (RFC 2449 5; older servers say -ERR), and QUIT."""

from __future__ import annotations

from exproxy.actions import Fail, Outcome
from exproxy.checks.dialogue import Dialogue, Expect, Send, seen
from exproxy.checks.record import Check, CheckPlugin


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


def dialogue() -> Dialogue:
    """One question."""
    return Dialogue(
        Expect("greeting", greeting),
        Send(b"CAPA\r\n"),
        Expect("CAPA", capabilities),
        Send(b"QUIT\r\n"),
    )


plugin = CheckPlugin(name="pop", summary="POP3: +OK, CAPA is answered", make=lambda options: Check(dialogue))
