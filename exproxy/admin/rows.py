"""What is listed or answered besides the status: frozen values, the schemas of the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One client connection. ``id``: "W-N", the worker's number and a count, never used twice.

    ``servers``: where its links go now; ``began``: RFC 3339; ``age``: seconds; ``state``: open, relaying or
    closing. ``fields``: what its protocol has for the access log so far (``user``, ``server_name``,
    ``path``), never a credential.
    """

    id: str
    service: str
    client: str
    local: str
    began: str
    age: float
    state: str
    servers: tuple[str, ...]
    backends: tuple[str, ...]
    tls: str | None
    bytes_in: int
    bytes_out: int
    requests: int
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One persistence entry. ``key``: "KIND:HEX", a keyed digest: nobody gets a client's fact back from it.
    ``expires_in``: seconds, None while open connections (``held`` of them) keep it."""

    key: str
    server: str
    held: int
    expires_in: float | None
    ttl: float


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A certificate that a service shows. ``days_left``: until ``not_after``, less than 0 after it."""

    service: str
    file: str
    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: str
    not_after: str
    days_left: float
    sha256: str
    key: str


@dataclass(frozen=True, slots=True)
class Operated:
    """What was done. ``services``: in which; ``sessions``: links that its backends have now; ``told``: how
    many of them were asked to leave."""

    server: str
    state: str
    services: tuple[str, ...]
    sessions: int
    told: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Weighted:
    """The weight that a server has now in these services."""

    server: str
    weight: int
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a server is from empty. ``left``: links now, by service in ``services``; ``end``: None while it
    goes on, then empty, cut (``timeout`` was over), or ready (it is in use again)."""

    server: str
    left: int
    services: Mapping[str, int]
    seconds: float
    end: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One error of a configuration; ``line`` and ``column`` from 1, 0 where it has none."""

    file: str
    line: int
    column: int
    path: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload did, or (``dry_run``) would do. Not ``ok``: nothing was changed, ``errors`` say why.
    ``changes``: sentences; ``cut``: connections that are (would be) cut."""

    ok: bool
    dry_run: bool
    changes: tuple[str, ...] = ()
    cut: int = 0
    errors: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the log. ``number`` counts from 1 in its process; ``level``: debug, info, warn, error,
    critical."""

    number: int
    time: str
    level: str
    source: str
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """A backend's state changed: ``state`` is what it became."""

    time: str
    backend: str
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """What one service, or one server of it, did in each step; all lists are of equal length, oldest first.

    ``sessions``: at the end of the step; ``rate``, ``requests``, ``bytes_in``, ``bytes_out``, ``answers``: a
    second; ``p50`` … in milliseconds, None where nothing was answered in the minute before.
    """

    sessions: tuple[int, ...]
    rate: tuple[float, ...]
    requests: tuple[float, ...]
    bytes_in: tuple[float, ...]
    bytes_out: tuple[float, ...]
    answers: Mapping[str, tuple[float, ...]]
    p50: tuple[float | None, ...]
    p95: tuple[float | None, ...]
    p99: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class ServiceHistory:
    """One service's past, and that of its servers by name (sessions are links there)."""

    name: str
    whole: Series
    servers: Mapping[str, Series]


@dataclass(frozen=True, slots=True)
class History:
    """``times``: POSIX seconds of the end of each step; ``step``: seconds."""

    step: float
    times: tuple[float, ...]
    services: tuple[ServiceHistory, ...]
    changes: tuple[Change, ...] = ()
