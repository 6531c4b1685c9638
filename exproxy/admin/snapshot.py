"""The status of one process, made of what its services and pools have counted."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from exproxy import __version__, actions
from exproxy.admin import status as shown
from exproxy.admin.history import NOTHING, Reading, Recent, Recorder
from exproxy.admin.moments import Day, rfc3339
from exproxy.admin.operating import Operating, Place, places_in
from exproxy.admin.states import worst
from exproxy.admin.tables import Tables
from exproxy.admin.warnings import Warnings
from exproxy.backend import Backend
from exproxy.build import Built
from exproxy.config import Reaching, Target
from exproxy.pool import Pool
from exproxy.tally import CLASSES, FOUND, Tally

if TYPE_CHECKING:
    from exproxy.service import ExproxyService
    from exproxy.virtual import Present

# Sessions that are looked at in one step: 20,000 take 20 seconds.
VISITED = 2000


class Rounds:
    """Has the bytes of open connections counted while they flow: so many sessions are looked at in each step,
    those of the longest ago first."""

    def __init__(self, built: Callable[[], Sequence[Built]]) -> None:
        self._built = built
        self._left: list[Present] = []

    def step(self) -> None:
        """Look at the next VISITED of them; a round that is over begins again with the next step."""
        if not self._left:
            self._left = [session for one in self._built() for session in one.service.sessions]
        visited, self._left = self._left[-VISITED:], self._left[:-VISITED]
        for session in visited:
            if session in session.service.sessions:
                session.record.note(*session.moved)


class Snapshot:
    """Makes the status. ``recorder`` knows what is recent."""

    def __init__(self, service: ExproxyService, operating: Operating, day: Day) -> None:
        self._service = service
        self._operating = operating
        self._day = day
        self._began = day.now()
        self._node = socket.gethostname()
        self._layers: dict[str, str] = {}
        self._tables = Tables(service)
        self._warnings = Warnings(service)
        self._rounds = Rounds(lambda: service.built)
        self.recorder = Recorder(service.reactor, self.readings, day.now)

    # -- for the recorder ------------------------------------------------------------

    def readings(self) -> Iterable[tuple[str, Reading, bool]]:
        """Every service's by its name, and its servers' by "service\\nserver", all pools together; those of
        backends are not kept."""
        self._rounds.step()
        for one in self._service.built:
            service = one.service
            yield service.name, _reading(len(service.sessions), [service.tally]), True
            servers: dict[str, list[Backend]] = {}
            for pool, _ in one.pools:
                for backend in pool.backends:
                    servers.setdefault(backend.server, []).append(backend)
            for server, those in servers.items():
                tallies = [each.tally for each in those]
                yield line(service.name, server), _reading(sum(each.links for each in those), tallies), True
        for one in self._service.built:
            for pool, _ in one.pools:
                for backend in pool.backends:
                    yield backend.name, _reading(backend.links, [backend.tally]), False

    # -- the whole -------------------------------------------------------------------

    def status(self) -> shown.Status:
        """See IPlane."""
        services = tuple(self._of_service(one) for one in self._service.built)
        return shown.Status(
            rfc3339(self._day.now()),
            self._process(),
            services,
            tuple(self._servers()),
            self._tables.groups(),
            tuple(self._warnings),
        )

    def _process(self) -> shown.Process:
        service, now = self._service, self._day.now()
        used = resource.getrusage(resource.RUSAGE_SELF)
        draining = any(one.service.draining for one in service.built)
        worker = shown.Worker(
            1,
            os.getpid(),
            "DRAIN" if draining else "READY",
            sum(len(one.service.sessions) for one in service.built),
            round(used.ru_utime + used.ru_stime, 2),
            _resident(used),
        )
        return shown.Process(
            __version__,
            os.getpid(),
            rfc3339(self._began),
            round(now - self._began, 3),
            self._node,
            draining,
            (worker,),
            shown.Configured(str(service.config.path), rfc3339(self._began)),
        )

    def _of_service(self, one: Built) -> shown.Service:
        service, config = one.service, one.config
        tally, recent = service.tally, self.recorder.recent(service.name)
        places = {each.pool: each for each in places_in([one])}
        targets = tuple(
            self._target(places[pool], one.owners[pool], pool, target) for pool, target in one.pools
        )
        return shown.Service(
            name=service.name,
            protocol=service.protocol,
            state=_state(one),
            listen=tuple(_address(each.host, each.port) for each in service.listenings()),
            persistence=config.persistence.name,
            scheduling=config.scheduling.name,
            group=config.group,
            sessions=shown.Sessions(
                len(service.sessions),
                tally.most,
                service.limits.connections,
                tally.total,
                recent.rate,
                recent.rate_max,
            ),
            bytes_in=tally.bytes_in,
            bytes_out=tally.bytes_out,
            refused=tally.refused,
            errors=_errors(tally),
            retries=tally.retries,
            redispatches=tally.redispatches,
            requests=shown.Requests(tally.requests, recent.requests),
            answers=_answers(tally),
            latency=_latency(tally, recent),
            persistence_results=dict(zip(FOUND, tally.found, strict=True)),
            tls=shown.TlsCounts(tally.handshakes, tally.resumed),
            counts=dict(sorted(service.counts.items())),
            waiting=sum(each.waiting for each in targets),
            targets=targets,
        )

    def _target(self, place: Place, owner: Reaching, pool: Pool, target: Target) -> shown.Target:
        return shown.Target(
            name=pool.name,
            route=owner.name.partition("/")[2] or None,
            port=target.port,
            table=pool.table,
            persistence=owner.persistence.name,
            scheduling=owner.scheduling.name,
            waiting=pool.waiting,
            split=pool.split,
            ambiguous=pool.ambiguous,
            disagreed=pool.disagreed,
            backends=tuple(self._backend(place, owner, pool, each) for each in pool.backends),
        )

    def _backend(self, place: Place, owner: Reaching, pool: Pool, backend: Backend) -> shown.Backend:
        tally, recent = backend.tally, self.recorder.recent(backend.name)
        now = self._service.reactor.seconds()
        past = backend.past
        since = None if past.down_since is None else self._day.text(past.down_since)
        return shown.Backend(
            name=backend.name,
            server=backend.server,
            host=backend.host,
            port=backend.port,
            state=backend.state,
            usable=backend.usable_for_new(),
            operator=self._operating.shown(place, backend.server),
            weight=backend.weight,
            ramp=round(backend.part(now, pool.slow_ramp), 4),
            limit=backend.limit,
            backup=backend.backup,
            sessions=shown.Links(backend.links, tally.most, tally.total),
            load=backend.load,
            queue=0,
            bytes_in=tally.bytes_in,
            bytes_out=tally.bytes_out,
            errors=_errors(tally),
            retries=tally.retries,
            redispatches=tally.redispatches,
            requests=shown.Requests(tally.requests, recent.requests),
            answers=_answers(tally),
            latency=_latency(tally, recent),
            check=self._check(owner, backend),
            down=shown.Down(past.downs, round(past.down_seconds(now), 3), since),
        )

    def _check(self, owner: Reaching, backend: Backend) -> shown.Check:
        name, checked = owner.check.name, backend.past.checked
        if checked is None:
            return shown.Check(name)
        outcome = checked.outcome
        code, phase, reason = "", "", ""
        if isinstance(outcome, actions.Fail):
            code, phase, reason = outcome.code, outcome.phase, outcome.reason
        elif isinstance(outcome, actions.Drain):
            code, reason = f"{self._layer(owner)}OKC", outcome.reason
        else:
            code = f"{self._layer(owner)}OK"
        took = round(checked.seconds * 1000, 1)
        return shown.Check(name, code, phase, reason, took, self._day.text(checked.at))

    def _layer(self, owner: Reaching) -> str:
        layer = self._layers.get(owner.name)
        if layer is None:
            check = owner.check.plugin.check(owner.check.options)
            layer = self._layers[owner.name] = check.layer
        return layer

    def _servers(self) -> Iterable[shown.Server]:
        for name, config in self._service.config.servers.items():
            backends = [
                backend
                for one in self._service.built
                for pool, _ in one.pools
                if (backend := pool.find(name)) is not None
            ]
            yield shown.Server(
                name,
                config.address,
                backends[0].weight if backends else config.weight,
                self._operating.everywhere(name),
                worst(each.state for each in backends),
                sum(each.links for each in backends),
                tuple(each.name for each in backends),
            )


def line(service: str, server: str) -> str:
    """The recorder's name for a server of a service; no service is called so."""
    return f"{service}\n{server}"


def _state(one: Built) -> str:
    service = one.service
    if service.draining:
        return "DRAIN"
    if not service.listenings():
        return "STOP"
    return "FULL" if len(service.sessions) >= service.limits.connections else "OPEN"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host or '*'}:{port}"


def _errors(tally: Tally) -> shown.Errors:
    return shown.Errors(tally.request_errors, tally.connect_errors, tally.response_errors)


def _answers(tally: Tally) -> Mapping[str, int]:
    return dict(zip(CLASSES, tally.answers, strict=True))


def _latency(tally: Tally, recent: Recent = NOTHING) -> shown.Latency:
    total = shown.Histogram(tuple(tally.buckets), round(tally.sum_ms, 1))
    p50, p95, p99 = recent.percentiles
    return shown.Latency(p50, p95, p99, recent.minute, total)


def _reading(present: int, tallies: Sequence[Tally]) -> Reading:
    return Reading(
        present,
        sum(each.total for each in tallies),
        sum(each.requests for each in tallies),
        sum(each.bytes_in for each in tallies),
        sum(each.bytes_out for each in tallies),
        tuple(map(sum, zip(*(each.answers for each in tallies), strict=True))),
        tuple(map(sum, zip(*(each.buckets for each in tallies), strict=True))),
    )


def _resident(used: resource.struct_rusage) -> int:
    """Bytes in memory now; where the system does not say, the most there ever were."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return used.ru_maxrss * 1024
