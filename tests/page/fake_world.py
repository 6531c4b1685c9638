"""A make-believe installation: seven services on two servers, an hour of history, and what happens to them.

Nothing here is random: the same calls make the same numbers, so that pictures can be compared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from exproxy.admin.plane import LastUsable
from exproxy.admin.rows import Change, Event
from exproxy.admin.status import Operator

STEP = 2
HOUR = 1800


@dataclass(frozen=True)
class Spec:
    """What never changes of a service. ``targets``: (route, port) each; ``busy``: sessions on average."""

    name: str
    protocol: str
    listen: tuple[str, ...]
    persistence: str
    targets: tuple[tuple[str | None, int], ...]
    busy: int
    group: str | None = None


SPECS = (
    Spec(
        "exchange-https",
        "https",
        ("*:443",),
        "super-http",
        tuple((route, 443) for route in ("owa", "ecp", "ews", "activesync", "autodiscover", "rpc")),
        640,
    ),
    Spec("exchange-epm", "epm", ("*:135",), "source-ip", ((None, 135),), 4, "mapi"),
    Spec("exchange-rpc", "rpc", ("*:59531",), "source-ip", ((None, 59531),), 210, "mapi"),
    Spec("exchange-ab", "rpc", ("*:59532",), "source-ip", ((None, 59532),), 96, "mapi"),
    Spec("smtp", "smtp", ("*:25", "*:587"), "none", ((None, 25), (None, 587)), 12),
    Spec("imap", "imap", ("*:143", "*:993"), "none", ((None, 143), (None, 993)), 58),
    Spec("pop", "pop", ("*:110", "*:995"), "none", ((None, 110), (None, 995)), 6),
)
ADDRESSES = {"exch1": "192.168.2.11", "exch2": "192.168.2.12"}


def stamp(moment: float) -> str:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass
class Server:
    """What may happen to a real server."""

    alive: bool = True
    operator: Operator | None = None
    weight: int = 1
    downs: int = 0
    down_since: float = 0.0
    back: float | None = None
    services: dict[str, Operator] = field(default_factory=dict)

    def wish(self, service: str) -> Operator | None:
        """What the operator wants of it for that service."""
        return self.services.get(service, self.operator)


class World:
    """The installation. ``tick`` lets one step of time pass; the rest happens when it is called."""

    def __init__(self, *, now: float | None = None, past: int = HOUR) -> None:
        self.now = (time.time() if now is None else now) - past * STEP
        self.started = self.now - 9 * 86400
        self.turn = 0
        self.servers = {name: Server() for name in ADDRESSES}
        self.points: dict[str, list[Point]] = {spec.name: [] for spec in SPECS}
        self.states: dict[str, str] = {}
        self.changes: list[Change] = []
        self.events: list[Event] = []
        self.totals: dict[str, int] = dict.fromkeys(self.backend_names(), 0)
        self.told: Callable[[Event], None] = lambda event: None
        self.weights: dict[str, int] = {}
        self._note_states()
        self.say("exproxy 0.1.0 has started: 7 services on 2 servers.")
        for _ in range(past):
            self.tick()

    @staticmethod
    def backend_names() -> list[str]:
        """All backends, in the order of the configuration."""
        return [f"{target_name(s, *t)}/{server}" for s in SPECS for t in s.targets for server in ADDRESSES]

    # ---- what happens

    def tick(self) -> None:
        """Two seconds pass."""
        self.now += STEP
        self.turn += 1
        for spec in SPECS:
            self.points[spec.name].append(self._point(spec))
            del self.points[spec.name][:-HOUR]
            for target in spec.targets:
                for server in ADDRESSES:
                    name = f"{target_name(spec, *target)}/{server}"
                    self.totals[name] += self.sessions(spec, server) // (4 * len(spec.targets))

    def kill(self, name: str) -> None:
        """A server dies; its checks have noticed."""
        server = self.servers[name]
        server.alive, server.down_since = False, self.now
        server.downs += 1
        self._note_states()
        self.say(
            f'Server exchange-https/owa/{name} is DOWN, reason: Layer4 connection problem, info: "Connection '
            'refused", check duration: 1ms. 1 active and 0 backup servers left.',
            level="warn",
        )

    def revive(self, name: str) -> None:
        """It comes back."""
        server = self.servers[name]
        server.alive, server.back = True, self.now
        self._note_states()
        self.say(
            f"Server exchange-https/owa/{name} is UP, reason: check passed, check duration: 4ms. "
            "2 active and 0 backup servers online."
        )

    def operate(self, name: str, wish: Operator, *, force: bool) -> None:
        """What an operator wants of a server; LastUsable where nobody would be left and it is not forced."""
        server = self.servers[name]
        others = [s for other, s in self.servers.items() if other != name and s.alive and s.operator is None]
        if wish.state != "ready" and not others and not force:
            raise LastUsable(name, [spec.name for spec in SPECS if wish.service in (None, spec.name)])
        kept = None if wish.state == "ready" else replace(wish, since=stamp(self.now))
        if wish.service is None:
            server.operator = kept
            server.services.clear()
        elif kept is None:
            server.services.pop(wish.service, None)
        else:
            server.services[wish.service] = kept
        self._note_states(wish.reason)
        where = f"{wish.service}/{name}" if wish.service else name
        self.say(
            f"Server {where} is set to {wish.state} by {wish.who}: {wish.reason}", source="exproxy.admin"
        )

    def say(self, text: str, level: str = "info", source: str = "exproxy.monitor") -> None:
        """One line of the event log."""
        event = Event(len(self.events) + 1, stamp(self.now), level, source, text)
        self.events.append(event)
        self.told(event)

    def _note_states(self, reason: str = "") -> None:
        for spec in SPECS:
            for target in spec.targets:
                for server in ADDRESSES:
                    name = f"{target_name(spec, *target)}/{server}"
                    state = self.state(spec.name, server)
                    if self.states.get(name) != state:
                        self.states[name] = state
                        self.changes.append(Change(stamp(self.now), name, state, reason))

    # ---- numbers

    def state(self, service: str, name: str) -> str:
        """The word that a backend of the server shows."""
        server = self.servers[name]
        wish = server.wish(service)
        if wish and wish.state == "maint":
            return "MAINT"
        if not server.alive:
            return "DOWN"
        return "DRAIN" if wish else "UP"

    def ramp(self, name: str) -> float:
        """The part of its weight that counts: a server that came back has all of it after a minute."""
        back = self.servers[name].back
        return 1.0 if back is None else min(1.0, 0.1 + (self.now - back) / 60)

    def _wave(self, spec: Spec) -> float:
        slow = math.sin(self.turn / 220 + spec.busy) * 0.22 + math.sin(self.turn / 61 + spec.busy * 3) * 0.07
        return 1 + slow + math.sin(self.turn * 2.4 + spec.busy) * 0.015

    def sessions(self, spec: Spec, name: str) -> int:
        """What the server carries of the service now."""
        takers = [s for s in ADDRESSES if self.state(spec.name, s) == "UP"]
        if name not in takers:
            return 3 if self.state(spec.name, name) == "DRAIN" else 0
        lean = 1.08 if name == "exch1" and len(takers) > 1 else 0.92 if len(takers) > 1 else 1.0
        return max(1, int(spec.busy * self._wave(spec) * lean / len(takers)))

    def held(self, name: str) -> int:
        """What the server carries of everything."""
        return sum(self.sessions(spec, name) for spec in SPECS)

    def _point(self, spec: Spec) -> Point:
        by = {name: self.sessions(spec, name) for name in ADDRESSES}
        slow = 3.0 if any(not s.alive for s in self.servers.values()) else 1.0
        return Point(self.now, by, self._wave(spec), slow, spec.protocol == "https")


@dataclass(frozen=True)
class Point:
    """Two seconds of one service."""

    time: float
    sessions: dict[str, int]
    wave: float
    slow: float
    http: bool

    @property
    def total(self) -> int:
        """Sessions on all servers."""
        return sum(self.sessions.values())

    @property
    def requests(self) -> float:
        """A second."""
        return round(self.total * (0.9 if self.http else 0.06), 1)

    def answers(self, kind: str) -> float:
        """Of that class, a second."""
        shares = {"2xx": 0.83, "3xx": 0.06, "4xx": 0.1, "5xx": 0.004 * self.slow}
        return round(self.requests * (shares if self.http else {"other": 1.0}).get(kind, 0.0), 2)

    def latency(self, percent: int) -> float | None:
        """Of that percentile, milliseconds."""
        base = {50: 18, 95: 74 * self.slow, 99: 190 * self.slow}[percent]
        return round(base * self.wave * (1 if self.http else 0.2), 1)


def target_name(spec: Spec, route: str | None, port: int) -> str:
    """``service[/route][:port]``."""
    name = f"{spec.name}/{route}" if route else spec.name
    return f"{name}:{port}" if len(spec.targets) > 1 and not route else name
