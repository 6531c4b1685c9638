"""A plane without traffic, and a status that has something of everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from exproxy.admin import rows, status
from exproxy.admin.explanation import Explanation, Question
from exproxy.admin.plane import IPlane, LastUsable, Refused, Unknown

TIME = "2026-11-23T13:44:38.853Z"


def backend(service: str, server: str, *, state: str = "UP", **changed: Any) -> status.Backend:
    """A backend like any other but for what is ``changed``."""
    values: dict[str, Any] = {
        "name": f"{service}/{server}",
        "server": server,
        "host": "192.0.2.11",
        "port": 443,
        "state": state,
        "usable": state.startswith("UP"),
        "operator": None,
        "weight": 1,
        "ramp": 1.0,
        "limit": None,
        "backup": False,
        "sessions": status.Links(2, 5, 40),
        "load": 2,
        "queue": 0,
        "bytes_in": 1000,
        "bytes_out": 9000,
        "errors": status.Errors(0, 1, 2),
        "retries": 1,
        "redispatches": 1,
        "requests": status.Requests(30, 1.5),
        "answers": {"2xx": 28, "5xx": 2},
        "latency": latency(),
        "check": status.Check("http", "L7OK", "", "200 OK", 3.5, TIME),
        "down": status.Down(1, 12.5),
    }
    return status.Backend(**{**values, **changed})


def latency() -> status.Latency:
    """Some answers, most of them quick."""
    counts = tuple(10 if index < 3 else 0 for index in range(len(status.BOUNDS) + 1))
    return status.Latency(1.5, 4.0, 5.0, counts, status.Histogram(counts, 62.5))


def service(name: str, backends: tuple[status.Backend, ...], protocol: str = "https") -> status.Service:
    """A service with one target."""
    target = status.Target(
        name, None, 443, "mapi", "source-ip", "round-robin", 0, 0, 0, 0, backends
    )  # fmt: skip
    return status.Service(
        name=name,
        protocol=protocol,
        state="OPEN",
        listen=("*:443",),
        persistence="source-ip",
        scheduling="round-robin",
        group="mapi",
        sessions=status.Sessions(4, 9, 10000, 80, 0.5, 3.0),
        bytes_in=2000,
        bytes_out=18000,
        refused=1,
        errors=status.Errors(3, 1, 2),
        retries=1,
        redispatches=1,
        requests=status.Requests(60, 3.0),
        answers={"2xx": 56, "4xx": 1, "5xx": 3},
        latency=latency(),
        persistence_results={"hit": 50, "new": 9, "moved": 1, "none": 0},
        tls=status.TlsCounts(20, 5),
        counts={"ntlm-unfinished": 1},
        waiting=0,
        targets=(target,),
    )


def made(draining: bool = False, wishes: dict[tuple[str, str], str] | None = None) -> status.Status:
    """Two servers, two services, one table; ``wishes``: states by (service, server)."""
    wanted = wishes or {}

    def one(name: str, server: str) -> status.Backend:
        wish = wanted.get((name, server))
        if wish in (None, "ready"):
            return backend(name, server)
        return backend(name, server, state=wish.upper(), operator=status.Operator(wish, who="anna"))

    services = tuple(service(name, (one(name, "ex1"), one(name, "ex2"))) for name in ("https", "imap"))
    servers = tuple(
        status.Server(name, f"192.0.2.1{name[-1]}", 1, None, "UP", 4, (f"https/{name}", f"imap/{name}"))
        for name in ("ex1", "ex2")
    )
    group = status.Group("mapi", ("https", "imap"), 12, 100000, 3, {"ex1": 7, "ex2": 5})
    reload = status.LastReload(TIME, True)
    process = status.Process(
        version="0.1.0",
        pid=4711,
        started=TIME,
        uptime=3600.0,
        node="lb1",
        draining=draining,
        workers=(status.Worker(0, 4711, "DRAIN" if draining else "READY", 4, 12.5, 50_000_000),),
        config=status.Configured("/etc/exproxy/exproxy.yaml", TIME, reload),
    )
    notice = status.Notice("skew", "one address has most of https", "https")
    return status.Status(TIME, process, services, servers, (group,), (notice,))


@implementer(IPlane)
class FakePlane:
    """Remembers what was done in ``done``; ``later``: every answer is a Deferred that has fired."""

    def __init__(self) -> None:
        self.draining = False
        self.wishes: dict[tuple[str, str], str] = {}
        self.done: list[tuple[Any, ...]] = []
        self.told: list[Callable[[rows.Event], None]] = []
        self.waiting: Deferred[Any] | None = None
        self.broken: Exception | None = None
        self.asked = 0
        self.problems: list[rows.Problem] = []

    def status(self) -> Any:
        self.asked += 1
        if self.broken is not None:
            raise self.broken
        if self.waiting is not None:
            return self.waiting
        return succeed(made(self.draining, self.wishes))

    def sessions(
        self,
        *,
        service: str | None = None,
        server: str | None = None,
        client: str | None = None,
        limit: int = 1000,
    ) -> Any:
        self.done.append(("sessions", service, server, client, limit))
        row = rows.SessionRow(
            "0-7", "imap", "192.0.2.7:40000", "192.0.2.1:143", TIME, 12.0, "relaying", ("ex1",),
            ("imap/ex1",), "TLSv1.3", 10, 20, 1, {"user": "anna"},
        )  # fmt: skip
        return [row]

    def kill(self, session_id: str, reason: str, *, who: str = "") -> Any:
        self.done.append(("kill", session_id, reason, who))
        return session_id == "0-7"

    def kill_where(
        self,
        *,
        service: str | None = None,
        server: str | None = None,
        client: str | None = None,
        reason: str,
        who: str = "",
    ) -> Any:
        if not (service or server or client):
            raise Refused("say which sessions: a service, a server or a client")
        self.done.append(("kill_where", service, server, client, reason, who))
        return 3

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
    ) -> Any:
        if server not in ("ex1", "ex2"):
            raise Unknown(f"there is no server {server!r}; there are ex1, ex2")
        services = (service,) if service else ("https", "imap")
        other = "ex2" if server == "ex1" else "ex1"
        last = [each for each in services if self.wishes.get((each, other), "ready") != "ready"]
        if state != "ready" and last and not force:
            raise LastUsable(server, last)
        self.done.append(("operate", server, state, service, reason, who, until, force, timeout, drain))
        for each in services:
            self.wishes[each, server] = state
        return succeed(rows.Operated(server, state, services, 4, 1, ("a warning",)))

    def weight(self, server: str, value: int, *, service: str | None = None, who: str = "") -> Any:
        self.done.append(("weight", server, value, service, who))
        return rows.Weighted(server, value, (service,) if service else ("https", "imap"))

    def emptying(
        self, server: str, told: Callable[[rows.Progress], None], *, service: str | None = None
    ) -> Any:
        return succeed(rows.Progress(server, 0, {}, 0.0, "empty"))

    def entries(
        self,
        group: str,
        *,
        server: str | None = None,
        key: str | None = None,
        client: str | None = None,
        user: str | None = None,
        limit: int = 1000,
    ) -> Any:
        if group != "mapi":
            raise Unknown(f"there is no table {group!r}; there is mapi")
        return [rows.EntryRow("source-ip:00ff", "ex1", 1, None, 7200.0)]

    def delete_entries(
        self,
        group: str,
        *,
        server: str | None = None,
        key: str | None = None,
        client: str | None = None,
        user: str | None = None,
        who: str = "",
    ) -> Any:
        if not (server or key or client or user):
            raise Refused("say which entries")
        self.done.append(("delete", group, server, key, client, user, who))
        return 2

    def move_entries(
        self,
        group: str,
        to: str,
        *,
        server: str | None = None,
        key: str | None = None,
        client: str | None = None,
        user: str | None = None,
        who: str = "",
    ) -> Any:
        self.done.append(("move", group, to, server, key, client, user, who))
        return 1

    def explain(self, question: Question) -> Any:
        self.done.append(("explain", question))
        return Explanation(
            question.service, None, "https", "mapi", {"Source": question.client.source}, (), (), (), "ex1",
            "new", "first in the order",
        )  # fmt: skip

    def reload(self, *, dry_run: bool = False, who: str = "") -> Any:
        self.done.append(("reload", dry_run, who))
        if self.problems:
            return rows.Reloaded(False, dry_run, errors=tuple(self.problems))
        return rows.Reloaded(True, dry_run, ("server ex3 is new",), 2)

    def validate(self, text: str) -> Any:
        self.done.append(("validate", text))
        return self.problems

    def configuration(self) -> Any:
        return {"servers": {"ex1": {"address": "192.0.2.11"}}, "secret": "(hidden)"}

    def certificates(self) -> Any:
        return [
            rows.CertificateRow(
                "https", "/etc/exproxy/mail.pem", "CN=mail.litware.com", "CN=ca", ("mail.litware.com",),
                "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", 39.4, "00" * 32, "EC P-256",
            )
        ]  # fmt: skip

    def events(self, *, since: int = 0, limit: int = 1000) -> Any:
        events = [
            rows.Event(number, TIME, "info", "exproxy.monitor", f"event {number}") for number in (1, 2, 3)
        ]
        return [each for each in events if each.number > since][-limit:]

    def watch_events(self, told: Callable[[rows.Event], None]) -> Callable[[], None]:
        self.told.append(told)
        return lambda: self.told.remove(told)

    def history(self, *, service: str | None = None, seconds: float = 3600.0) -> Any:
        return rows.History(2.0, (1.0,), ())
