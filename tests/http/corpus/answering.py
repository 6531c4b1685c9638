"""The answers of the corpus: said by a server, heard by a client through a proxy, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

from tests.http.corpus import Case, unescape
from tests.http.corpus.reading import Request
from tests.http.corpus.replay import PROBE, Outcome, Server, answers_in, ask

TARGET = "/answer"


@dataclass
class Right:
    """The lines of ``Case.right`` for an answer, read."""

    method: str = "GET"
    version: str = "1.1"
    ends: bool = False
    closes: bool = False
    status: int = 0
    body: bytes = b""
    whole: bool = True

    @classmethod
    def of(cls, case: Case) -> Right:
        """What is right for ``case``."""
        right = cls()
        for line in case.right:
            word, _, rest = line.partition(" ")
            status, _, body = rest.partition(" ")
            if word == "asked":
                right.method, right.version = status, body or "1.1"
            elif word in ("ends", "closes"):
                setattr(right, word, True)
            elif word in ("passed", "refused", "cut"):
                right.status, right.body = int(status), unescape(body)
                right.whole = word != "cut"
                right.closes |= word != "passed"
            else:
                raise ValueError(f"{case.name}: {line!r}")
        return right

    @property
    def refused(self) -> bool:
        """Whether the proxy answers instead."""
        return self.status == 502


def play_answer(case: Case, server: Server, port: int, *, quiet: float | None = None) -> Outcome:
    """Ask through the proxy at ``port``, let the server say ``case.raw``, and gather what came of it.

    A further request behind shows whether the connection is in order.
    """
    right = Right.of(case)

    def script(request: Request) -> tuple[bytes, bool] | None:
        return (case.raw, right.ends) if request.target == TARGET else None

    server.forget()
    server.script = script
    length = "Content-Length: 0\r\n" if right.method == "POST" else ""
    asked = f"{right.method} {TARGET} HTTP/{right.version}\r\nHost: a\r\n{length}\r\n".encode()
    outcome = Outcome()
    outcome.heard, outcome.ended = ask(port, asked + (b"" if right.closes else PROBE), quiet=quiet)
    outcome.links = list(server.links)
    outcome.answers = answers_in(outcome.heard, [right.method], outcome.ended == "end")
    return outcome


def wrong_answer(case: Case, outcome: Outcome) -> list[str]:
    """In what ``outcome`` is not what is right for an answer; empty where it is."""
    right = Right.of(case)
    wanted = [(right.status, right.body, right.whole)]
    got = list(outcome.answers)
    if not right.whole and got:
        # What breaks off may be so much at once that it can still be refused.
        [(status, body, whole), *_] = got
        if (status, whole) == (502, True) or (not whole and right.body.startswith(body)):
            got = wanted
    elif right.refused:
        got = [(status, b"", whole) for status, _, whole in got]
    if not right.closes:
        wanted.append((200, b"GET /probe 0", True))
    found = []
    if got != wanted:
        found.append(f"the client got {got}, {outcome.heard[-300:]!r}")
    if outcome.ended == "open" or (outcome.ended == "reset" and right.whole):
        found.append(f"the client's connection: {outcome.ended}")
    return found
