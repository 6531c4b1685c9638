"""What runs, as frozen values: the answer of ``IPlane.status``, and the schemas of the API.

All counters are ints since the start and never fall. Times are RFC 3339 in UTC with milliseconds; durations
say their unit in their name. :mod:`exproxy.admin.merging` puts those of several workers together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exproxy.tally import BOUNDS as BOUNDS
from exproxy.tally import CLASSES as CLASSES


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that serves. ``state``: READY, DRAIN or DOWN."""

    number: int
    pid: int
    state: str
    sessions: int
    cpu_seconds: float
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class LastReload:
    """The latest reload: whether it was taken, and why not."""

    time: str
    ok: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Configured:
    """The configuration that is served. ``loaded``: when it was read."""

    file: str | None
    loaded: str
    last_reload: LastReload | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """exproxy itself. ``uptime``: seconds; ``node``: the machine's name."""

    version: str
    pid: int
    started: str
    uptime: float
    node: str
    draining: bool
    workers: tuple[Worker, ...]
    config: Configured


@dataclass(frozen=True, slots=True)
class Histogram:
    """``counts``: one more than BOUNDS (upper bounds in milliseconds), not cumulative; ``sum_ms``: of all
    that was counted."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    sum_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of the last minute in milliseconds, None where nothing was answered.

    What is timed: an HTTP request from its head to the end of its answer; a connection of any other protocol
    from the choice of its server until that was connected. ``minute``: the counts of the last minute,
    ``total`` those since the start.
    """

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    minute: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    total: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True, slots=True)
class Sessions:
    """Client connections. ``max``: most at one time; ``rate``: new ones a second, over the last ten;
    ``rate_max``: the most of it."""

    current: int
    max: int
    limit: int
    total: int
    rate: float = 0.0
    rate_max: float = 0.0


@dataclass(frozen=True, slots=True)
class Links:
    """Connections to one backend."""

    current: int
    max: int
    total: int


@dataclass(frozen=True, slots=True)
class Errors:
    """``request``: clients that were refused for what they said; ``connect``, ``response``: servers that did
    not connect, or not answer as they should."""

    request: int = 0
    connect: int = 0
    response: int = 0


@dataclass(frozen=True, slots=True)
class Requests:
    """Access-log records: HTTP requests, else connections. ``rate``: a second, over the last ten."""

    total: int = 0
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class TlsCounts:
    """Handshakes with clients that were finished; ``resumed`` are among them."""

    handshakes: int = 0
    resumed: int = 0


@dataclass(frozen=True, slots=True)
class Operator:
    """What the operator wants of a server: ``state`` is ready, drain or maint. ``until``: when it goes back
    to ready by itself; ``service``: the one it is for, None for all; ``drain``: keep or move (its known
    clients)."""

    state: str
    reason: str = ""
    who: str = ""
    since: str | None = None
    until: str | None = None
    service: str | None = None
    drain: str = "keep"


@dataclass(frozen=True, slots=True)
class Check:
    """The latest check: ``code`` as HAProxy's (L4OK, L7STS …), None before the first."""

    name: str
    code: str | None = None
    phase: str = ""
    reason: str = ""
    duration_ms: float | None = None
    last: str | None = None


@dataclass(frozen=True, slots=True)
class Down:
    """How often and for how many seconds it was DOWN; ``since``: since when it is, None where it is not."""

    count: int = 0
    seconds: float = 0.0
    since: str | None = None


@dataclass(frozen=True, slots=True)
class Backend:
    """One real server as one pool sees it. ``state``: UP, UP 2/3, DOWN, DOWN 1/2, DRAIN, MAINT, no check,
    no address, no port. ``ramp``: the part of ``weight`` that counts, 0 to 1; ``limit`` None: none."""

    name: str
    server: str
    host: str | None
    port: int
    state: str
    usable: bool
    operator: Operator | None
    weight: int
    ramp: float
    limit: int | None
    backup: bool
    sessions: Links
    load: int
    queue: int
    bytes_in: int
    bytes_out: int
    errors: Errors
    retries: int
    redispatches: int
    requests: Requests
    answers: Mapping[str, int]
    latency: Latency
    check: Check
    down: Down


@dataclass(frozen=True, slots=True)
class Target:
    """One pool of a service. ``route`` None: the service's own; ``table``: the group or service in whose
    table its clients are remembered; ``split``, ``ambiguous``, ``disagreed``: clients met apart, known on
    several servers, or of a name that belongs elsewhere."""

    name: str
    route: str | None
    port: int
    table: str
    persistence: str
    scheduling: str
    waiting: int
    split: int
    ambiguous: int
    disagreed: int
    backends: tuple[Backend, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """A virtual service. ``state``: OPEN, FULL (``limits.connections``), DRAIN (it is being emptied), STOP.
    ``persistence_results``: hit, new, moved, none. ``counts``: what its protocol counts, by name."""

    name: str
    protocol: str
    state: str
    listen: tuple[str, ...]
    persistence: str
    scheduling: str
    group: str | None
    sessions: Sessions
    bytes_in: int
    bytes_out: int
    refused: int
    errors: Errors
    retries: int
    redispatches: int
    requests: Requests
    answers: Mapping[str, int]
    latency: Latency
    persistence_results: Mapping[str, int]
    tls: TlsCounts
    counts: Mapping[str, int]
    waiting: int
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Server:
    """A real server across all services. ``operator``: the wish for all of them, else None; ``state``: the
    worst word of its backends; ``backends``: their names."""

    name: str
    address: str
    weight: int
    operator: Operator | None
    state: str
    sessions: int
    backends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A client address and how many connections it has now."""

    host: str
    sessions: int


@dataclass(frozen=True, slots=True)
class Group:
    """One persistence table: a group's, or a service's own. ``held``: entries that open connections hold;
    ``top_sources``: the addresses with the most connections to its services."""

    name: str
    services: tuple[str, ...]
    entries: int
    limit: int
    held: int
    by_server: Mapping[str, int]
    top_sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that an operator should know now. ``kind``: skew, certificate, down, verify-none, workers,
    reload …; ``service`` None: not of one service."""

    kind: str
    text: str
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Everything at one moment, ``time``."""

    time: str
    process: Process
    services: tuple[Service, ...]
    servers: tuple[Server, ...]
    groups: tuple[Group, ...]
    warnings: tuple[Notice, ...]
