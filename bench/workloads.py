"""The workloads: what is done, by whom it is measured, and what is to be reached."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from bench.figures import OURS, THEIRS, WORKERS, Goal

RELAYED = "relayed"
IN_PATH = "in the path"
MIXED = "both"
# Connections of the crowd, where the limit of open files allows for them.
CROWD = 10_000
# Open files of a process that are no connections of the crowd.
OTHER_FILES = 2_000


@dataclass(frozen=True, slots=True)
class Unit:
    """What a cost is given in: ``sign`` per ``what``, of which a second has ``scale``."""

    sign: str
    what: str
    scale: float

    @property
    def text(self) -> str:
        """``µs/request``."""
        return f"{self.sign}/{self.what}"

    @property
    def many(self) -> str:
        """``requests``."""
        return self.what if self.what.isupper() else f"{self.what}s"


CONNECTION = Unit("µs", "connection", 1e6)
EXCHANGE = Unit("µs", "exchange", 1e6)
REQUEST = Unit("µs", "request", 1e6)
HANDSHAKE = Unit("µs", "handshake", 1e6)
GIGABYTE = Unit("s", "GB", 1.0)
SECOND = Unit("ms", "second", 1e3)
IDLE = Unit("KiB", "connection", 1 / 1024)

NO_GOAL = Goal()


@dataclass(frozen=True, slots=True)
class Workload:
    """``mode`` is what exproxy does with it; ``picture`` the picture that it is in.

    ``services``: those that a peer needs; ``tuned``: haproxy's other configurations take part;
    ``fresh``: with processes that have done nothing yet; ``memory``: what its connections take while they
    are idle is measured, and nothing else where ``longer`` (how much longer than others it runs) is 0; then
    one peer has them at a time. ``ours``, ``theirs``: the peers whose costs make the ratio.
    """

    name: str
    title: str
    kind: str
    mode: str
    unit: Unit
    picture: str
    services: frozenset[str]
    options: dict[str, Any] = field(default_factory=dict)
    goal: Goal = NO_GOAL
    tuned: bool = False
    fresh: bool = False
    memory: bool = False
    longer: float = 1.0
    ours: str = OURS
    theirs: str = THEIRS

    def among(self, peer: str) -> bool:
        """Whether it is for that peer: those with several workers are for comparison with one only."""
        return peer in (self.ours, self.theirs) if WORKERS in (self.ours, peer) else True

    @property
    def weight(self) -> float:
        """Its share of the time: starting processes and making thousands of connections takes some, too."""
        return 1.0 + 2.0 * self.fresh + 2.0 * (self.memory or self.longer > 1)


def _bulk(streams: int, up: bool) -> Workload:
    way = "up" if up else "down"
    return Workload(
        name=f"bulk-{streams}-{way}",
        title=f"{streams} bulk stream{'s' * (streams > 1)} {way}",
        kind="bulk",
        mode=RELAYED,
        unit=GIGABYTE,
        picture="bulk",
        services=frozenset({"bulk"}),
        options={"streams": streams, "up": up, "block": (32 << 20) // streams},
        goal=Goal(0.5, 0.33),
        tuned=True,
    )


def _kept(name: str, title: str, service: str, goal: Goal, fresh: bool = False) -> Workload:
    return Workload(
        name=name,
        title=title,
        kind="keep-alive",
        mode=IN_PATH,
        unit=REQUEST,
        picture="web",
        services=frozenset({service}),
        options={"connections": 32, "service": service, "what": "page", "tls": service != "http"},
        goal=goal,
        fresh=fresh,
    )


def _workers() -> Workload:
    title = "HTTP keep-alive, two workers against one"
    kept = _kept("workers", title, "http", Goal(1.15, 1.05), fresh=True)
    return replace(kept, ours=WORKERS, theirs=OURS, picture="")


def _bodies(way: str) -> Workload:
    return replace(
        _kept(f"http-1m-{way}", f"HTTP bodies of 1 MiB {way}", "http", NO_GOAL),
        unit=GIGABYTE,
        picture="bulk",
        options={"connections": 16, "service": "http", "what": way, "tls": False},
        tuned=True,
    )


def _handshakes(key: str, resumed: bool, most: int) -> Workload:
    how = "resumed" if resumed else "full"
    return Workload(
        name=f"handshake-{how}-{key}",
        title=f"TLS handshakes, {how}, {_KEYS[key]}",
        kind="handshakes",
        mode=IN_PATH,
        unit=HANDSHAKE,
        picture="handshakes",
        services=frozenset({f"tls-{key}"}),
        options={"at-once": 16, "service": f"tls-{key}", "resumed": resumed, "most": most},
        goal=NO_GOAL if resumed else Goal(1.3, 1.0),
    )


_KEYS = {"ec": "ECDSA P-256", "rsa": "RSA-2048"}


def workloads(quick: bool, files: int, crowd: int = CROWD) -> list[Workload]:
    """All of them in the order that they are done; ``files`` is how many files a process may have open."""
    crowd = min(crowd, (files - OTHER_FILES) // 2)
    most = 1500 if quick else 4000
    echo = frozenset({"echo"})
    plain, again = Goal(1.5, 1.2), Goal(2.0, 1.3)
    short = Workload(
        name="tcp-short",
        title="short TCP connections",
        kind="short",
        mode=RELAYED,
        unit=CONNECTION,
        picture="tcp",
        services=echo,
        options={"at-once": 32, "most": most},
        goal=Goal(1.4, 1.1),
        fresh=True,
    )
    return [
        short,
        _ping_pong(1000, Goal(1.1, 1.0)),
        *(_bulk(streams, up) for streams in (1, 16) for up in (False, True)),
        replace(_ping_pong(crowd, NO_GOAL), fresh=True, memory=True),
        _kept("http-keep-alive", "HTTP keep-alive, super-http", "http", Goal(1.4, 1.1), fresh=True),
        _workers(),
        _bodies("down"),
        _bodies("up"),
        _kept("https-plain-ec", f"HTTPS, plain backend, {_KEYS['ec']}", "tls-ec", plain, fresh=True),
        _kept("https-plain-rsa", f"HTTPS, plain backend, {_KEYS['rsa']}", "tls-rsa", plain),
        _kept("https-again-ec", f"HTTPS, re-encrypted, {_KEYS['ec']}", "re-ec", again),
        _kept("https-again-rsa", f"HTTPS, re-encrypted, {_KEYS['rsa']}", "re-rsa", again),
        *(_handshakes(key, resumed, most) for resumed in (False, True) for key in _KEYS),
        _idle_https(min(crowd, 1000) if quick else crowd),
        _day(quick),
    ]


def _ping_pong(connections: int, goal: Goal) -> Workload:
    return Workload(
        name=f"ping-pong-{connections}",
        title=f"ping-pong on {connections:,} connections",
        kind="ping-pong",
        mode=RELAYED,
        unit=EXCHANGE,
        picture="tcp",
        services=frozenset({"echo"}),
        options={"connections": connections},
        goal=goal,
    )


def _idle_https(connections: int) -> Workload:
    kept = _kept("https-idle", "idle HTTPS connections, plain backend", "tls-ec", NO_GOAL, fresh=True)
    options = {**kept.options, "connections": connections}
    return replace(kept, memory=True, longer=0.0, options=options, picture="", unit=IDLE)


def _day(quick: bool) -> Workload:
    # In small, where it has to be quick: a quarter of the Outlooks, each speaking four times as often.
    outlooks, pause, others = (1000, 15.0, 50) if quick else (4000, 60.0, 200)
    return Workload(
        name="mixed-day",
        title="mixed day",
        kind="day",
        mode=MIXED,
        unit=SECOND,
        picture="day",
        services=frozenset({"re-ec", "rpc", "imap"}),
        options={"outlooks": outlooks, "idlers": others, "phones": others, "pause": pause, "bursts": 10},
        fresh=True,
        longer=3.0,
    )
