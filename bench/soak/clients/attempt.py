"""One thing that one client does: with whom, what came of it, and what is to be told of it."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.soak.line import Line, dial
from bench.soak.site import NAME, PORTS, Site


class Refused(Exception):
    """exproxy said, in the protocol's words, that there is no server."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What somebody has to account for: ``what`` is cut, refused, lied, moved or wrong.

    ``server`` is the one that served, "" where nobody knew yet; ``since`` and ``until`` are readings of
    the system's monotonic clock; ``client`` is the address of the last connection, as the access log has it.
    """

    what: str
    kind: str
    pool: str
    server: str
    since: float
    until: float
    why: str
    client: str


@dataclass
class Attempt:
    """See the module. ``memory`` is the thread's own: what its persons were served by, and when."""

    kind: str
    pool: str
    site: Site
    dice: random.Random
    thread: int
    context: ssl.SSLContext
    memory: dict[tuple[str, ...], tuple[str, float]]
    tell: Callable[[Outcome], None]
    # Only what does not wait for long.
    quick: bool = False
    server: str = ""
    rules: int = 0
    moved_bytes: int = 0
    client: str = ""
    since: float = field(default_factory=time.monotonic)
    _lines: list[Line] = field(default_factory=list)

    @property
    def source(self) -> str:
        """The client's address: the thread's own."""
        return self.site.client(self.thread)

    def dial(self, service: str, patience: float = 20.0, buffer: int = 0) -> Line:
        """Connect; over TLS where the service begins with it. Raises Cut."""
        line = self.plain(service, patience, buffer)
        if service in ("tcp-tls", "pass", "https", "again"):
            line.secure(self.context, NAME)
        return line

    def plain(self, service: str, patience: float = 20.0, buffer: int = 0) -> Line:
        """Connect and no more. Raises Cut."""
        line = dial((self.site.front(self.pool), PORTS[service]), self.source, patience, buffer)
        self._lines.append(line)
        self.client = line.name
        return line

    def number(self) -> int:
        """For a new stream."""
        return self.dice.getrandbits(63)

    def length(self, most: int = 1 << 20) -> int:
        """Small ones more often than large ones; at least 1."""
        return 1 + int(most ** self.dice.random())

    def served_by(self, name: bytes) -> None:
        """That server has answered."""
        self.server = name.decode("latin-1")

    def unknown(self) -> None:
        """Somebody else may serve what comes next."""
        self.server = ""
        self.since = time.monotonic()

    def stays(self, *person: str) -> None:
        """This person has to be served by who served it before."""
        now, key = time.monotonic(), (self.pool, *person)
        before = self.memory.get(key)
        if before is not None and before[0] != self.server:
            self._say("moved", before[0], before[1], f"{'/'.join(person)} came to {self.server}")
        self.memory[key] = self.server, now

    def lied(self, why: str) -> None:
        """The server did not keep to what it had announced."""
        self._say("lied", self.server, self.since, why)

    def failed(self, what: str, why: str) -> None:
        """This is how it ended."""
        self._say(what, self.server, self.since, why)

    def rule(self) -> None:
        """One of exproxy's rules was obeyed."""
        self.rules += 1

    def close(self) -> None:
        """Leave no connection behind."""
        for line in self._lines:
            line.close()

    def _say(self, what: str, server: str, since: float, why: str) -> None:
        self.tell(Outcome(what, self.kind, self.pool, server, since, time.monotonic(), why, self.client))


Kind = Callable[[Attempt], Any]
