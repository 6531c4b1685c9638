"""The operating plane of the make-believe installation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from exproxy.admin.explanation import BackendView, Explanation, KnownAs, Question
from exproxy.admin.plane import IPlane, Refused, Unknown
from exproxy.admin.rows import (
    CertificateRow,
    EntryRow,
    Event,
    History,
    Operated,
    Problem,
    Reloaded,
    Series,
    ServiceHistory,
    SessionRow,
    Weighted,
)
from exproxy.admin.status import CLASSES, Operator, Status

from . import fake_status
from .fake_world import ADDRESSES, HOUR, SPECS, STEP, Point, Spec, World, stamp, target_name


@implementer(IPlane)
class FakePlane:
    """Answers from a :class:`World`. ``broken``: the configuration file has an error now."""

    def __init__(self, world: World) -> None:
        self._watchers: list[Callable[[Event], None]] = []
        self.begin(world)

    def begin(self, world: World) -> None:
        """Have another installation."""
        self.world = world
        self.broken = False
        # What was done, for tests to ask.
        self.done: list[str] = []
        self.killed: set[str] = set()
        self.forgotten: set[str] = set()
        self.moved: dict[str, str] = {}
        world.told = self._tell

    def _tell(self, event: Event) -> None:
        for told in [*self._watchers]:
            told(event)

    def status(self) -> Status:
        return fake_status.status(self.world)

    # -- sessions

    def sessions(
        self,
        *,
        service: str | None = None,
        server: str | None = None,
        client: str | None = None,
        limit: int = 1000,
    ) -> list[SessionRow]:
        rows = [
            row
            for row in map(self._session, range(60))
            if row.id not in self.killed
            and service in (None, row.service)
            and (server is None or server in row.servers)
            and (client is None or row.client.startswith(client))
            and all(self.world.state("smtp", each) in ("UP", "DRAIN") for each in row.servers)
        ]
        return rows[:limit]

    def _session(self, number: int) -> SessionRow:
        spec = SPECS[number % len(SPECS)]
        server = tuple(ADDRESSES)[number % 2]
        http = spec.protocol == "https"
        return SessionRow(
            id=f"0-{number}",
            service=spec.name,
            client=f"10.4.{number}.{number + 1}:{40000 + number}",
            local="192.0.2.7:443",
            began=stamp(self.world.now - 61 * (60 - number)),
            age=61.0 * (60 - number),
            state="open" if http else "relaying",
            servers=(server,),
            backends=(f"{target_name(spec, *spec.targets[0])}/{server}",),
            tls="TLSv1.3" if http else None,
            bytes_in=1400 * number,
            bytes_out=91000 * number,
            requests=3 * number if http else 1,
            fields={"user": f"user{number}@litware.com"} if spec.protocol in ("https", "imap") else {},
        )

    def kill(self, session_id: str, reason: str, *, who: str = "") -> bool:
        self.killed.add(session_id)
        self.world.say(f"Session {session_id} is cut by {who}: {reason}")
        return True

    def kill_where(self, **chosen: Any) -> int:
        raise Refused("not in this story")

    # -- the operator's wish

    def operate(
        self,
        server: str,
        state: str,
        *,
        service: str | None = None,
        reason: str = "",
        who: str = "",
        until: float | None = None,
        force: bool = False,
        timeout: float | None = None,
        drain: str | None = None,
    ) -> Operated:
        if server not in self.world.servers:
            raise Unknown(f"there is no server {server}")
        self.done.append(f"{state} {service or 'all'} {server}")
        end = stamp(until) if until is not None else None
        wish = Operator(state, reason, who, None, end, service, drain or "keep")
        self.world.operate(server, wish, force=force)
        services = tuple(spec.name for spec in SPECS if service in (None, spec.name))
        return Operated(server, state, services, self.world.held(server))

    def weight(self, server: str, value: int, *, service: str | None = None, who: str = "") -> Weighted:
        services = tuple(spec.name for spec in SPECS if service in (None, spec.name))
        for name in services:
            self.world.weights[f"{name}/{server}"] = value
        return Weighted(server, value, services)

    def emptying(self, *args: Any, **named: Any) -> Any:
        raise Refused("not in this story")

    # -- persistence

    def entries(
        self, group: str, *, server: str | None = None, limit: int = 1000, **chosen: Any
    ) -> list[EntryRow]:
        if group != "mapi":
            raise Unknown(f"there is no group {group}")
        keys = [f"source-ip:{number * 7919 + 4369:012x}" for number in range(12)]
        rows = [
            EntryRow(
                key=key,
                server=self.moved.get(key, "exch2" if number % 4 == 0 else "exch1"),
                held=number % 3,
                expires_in=None if number % 3 else 7200.0 - 130 * number,
                ttl=7200.0,
            )
            for number, key in enumerate(keys)
            if key not in self.forgotten
        ]
        return [row for row in rows if server in (None, row.server)][:limit]

    def delete_entries(self, group: str, *, key: str | None = None, **chosen: Any) -> int:
        if key is None:
            raise Refused("say which: a key, a server, a client or a user")
        self.forgotten.add(key)
        return 1

    def move_entries(self, group: str, to: str, *, key: str | None = None, **chosen: Any) -> int:
        self.moved[str(key)] = to
        return 1

    def explain(self, question: Question) -> Explanation:
        service = question.service or "exchange-https"
        views = tuple(self._view(service, name, place) for place, name in enumerate(ADDRESSES, 1))
        return Explanation(
            service=service,
            route="owa",
            target=f"{service}/owa",
            table=service,
            facts={"Source": question.client.source or "192.0.2.7", "Request": f"GET {question.client.path}"},
            known=(
                KnownAs("cookie", None, ("Request",), None, False, "the request shows no cookie of ours"),
                KnownAs(
                    "address", "address:5b9f1c77aa0e", ("Source",), "exch1", True, "the table has it on exch1"
                ),
            ),
            claims=("address:5b9f1c77aa0e",),
            backends=views,
            server="exch1",
            persistence="hit",
            reason="its address is bound to exch1, which is usable",
        )

    def _view(self, service: str, name: str, place: int) -> BackendView:
        state, taken = self.world.state(service, name), place == 1
        why = "its client is bound here" if taken else "usable, but the client is bound to exch1"
        return BackendView(
            f"{service}/owa/{name}", name, state, 1, 1.0, 51, 2, None, False, place, taken, why
        )

    # -- configuration

    def reload(self, *, dry_run: bool = False, who: str = "") -> Reloaded:
        if self.broken:
            where = ("/etc/exproxy/exchange.yaml", 31, 16, "services.smtp.listen")
            return Reloaded(False, dry_run, errors=(Problem(*where, "99999 is no port: 1 to 65535"),))
        changes = ("services.imap: listen is 143, 993 and 1143", "servers.exch3: added, 192.168.2.13")
        return Reloaded(True, dry_run, changes, 4)

    def validate(self, text: str) -> list[Problem]:
        return []

    def configuration(self) -> dict[str, Any]:
        return {
            "secret": "***",
            "servers": {name: {"address": address} for name, address in ADDRESSES.items()},
            "services": {
                spec.name: {"protocol": spec.protocol, "listen": list(spec.listen)} for spec in SPECS
            },
        }

    def certificates(self) -> list[CertificateRow]:
        rows = (("exchange-https", "outlook.litware.com", 11.4), ("imap", "mail.litware.com", 76.0))
        return [
            CertificateRow(
                service=service,
                file=f"/etc/exproxy/{name}.pem",
                subject=f"CN={name}",
                issuer="CN=Litware Issuing CA 2",
                names=(name, "autodiscover.litware.com"),
                not_before=stamp(self.world.now - (90 - days) * 86400),
                not_after=stamp(self.world.now + days * 86400),
                days_left=days,
                sha256="5b9f1c77aa0e" * 5 + "5b9f",
                key="RSA 2048",
            )
            for service, name, days in rows
        ]

    # -- the past

    def events(self, *, since: int = 0, limit: int = 1000) -> list[Event]:
        return [event for event in self.world.events if event.number > since][-limit:]

    def watch_events(self, told: Callable[[Event], None]) -> Callable[[], None]:
        self._watchers.append(told)
        return lambda: self._watchers.remove(told)

    def history(self, *, service: str | None = None, seconds: float = 3600.0) -> History:
        count = min(HOUR, max(1, int(seconds / STEP)))
        chosen = [spec for spec in SPECS if service in (None, spec.name)]
        times = tuple(point.time for point in self.world.points[SPECS[0].name][-count:])
        histories = tuple(_history(spec, self.world.points[spec.name][-count:]) for spec in chosen)
        return History(STEP, times, histories, tuple(self.world.changes))


def _history(spec: Spec, points: list[Point]) -> ServiceHistory:
    whole = _series(points, [point.total for point in points])
    servers = {name: _series(points, [point.sessions[name] for point in points]) for name in ADDRESSES}
    return ServiceHistory(spec.name, whole, servers)


def _series(points: list[Point], sessions: list[int]) -> Series:
    parts = [count / (point.total or 1) for count, point in zip(sessions, points, strict=True)]
    both = list(zip(points, parts, strict=True))
    return Series(
        sessions=tuple(sessions),
        rate=tuple(round(count * 0.06, 1) for count in sessions),
        requests=tuple(round(point.requests * part, 1) for point, part in both),
        bytes_in=tuple(round(point.total * 900 * point.wave * part) for point, part in both),
        bytes_out=tuple(round(point.total * 7400 * point.wave * part) for point, part in both),
        answers={
            kind: tuple(round(point.answers(kind) * part, 2) for point, part in both) for kind in CLASSES
        },
        p50=tuple(point.latency(50) for point in points),
        p95=tuple(point.latency(95) for point in points),
        p99=tuple(point.latency(99) for point in points),
    )
