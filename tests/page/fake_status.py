"""The status of the make-believe installation."""

from __future__ import annotations

from exproxy.admin.status import (
    CLASSES,
    Backend,
    Check,
    Configured,
    Down,
    Errors,
    Group,
    LastReload,
    Latency,
    Links,
    Notice,
    Process,
    Requests,
    Server,
    Service,
    Sessions,
    Source,
    Status,
    Target,
    TlsCounts,
    Worker,
)

from .fake_world import ADDRESSES, SPECS, Point, Spec, World, stamp, target_name

_WORST = ("DOWN", "MAINT", "DRAIN", "UP")


def status(world: World) -> Status:
    """All of it."""
    return Status(
        time=stamp(world.now),
        process=_process(world),
        services=tuple(_service(world, spec) for spec in SPECS),
        servers=tuple(_server(world, name) for name in ADDRESSES),
        groups=(_group(),),
        warnings=tuple(_warnings(world)),
    )


def _process(world: World) -> Process:
    loaded = stamp(world.started + 86400)
    return Process(
        version="0.1.0",
        pid=814,
        started=stamp(world.started),
        uptime=world.now - world.started,
        node="lb1.litware.com",
        draining=False,
        workers=tuple(Worker(n, 815 + n, "READY", 498, 8123.4, 91_000_000) for n in range(2)),
        config=Configured("/etc/exproxy/exchange.yaml", loaded, LastReload(loaded, True)),
    )


def _service(world: World, spec: Spec) -> Service:
    point = world.points[spec.name][-1]
    total = sum(world.totals[f"{target_name(spec, *t)}/{s}"] for t in spec.targets for s in ADDRESSES)
    failed = _downs(world) * 3
    requests = total * (15 if spec.protocol == "https" else 1)
    return Service(
        name=spec.name,
        protocol=spec.protocol,
        state="OPEN",
        listen=spec.listen,
        persistence=spec.persistence,
        scheduling="round-robin",
        group=spec.group,
        sessions=Sessions(
            point.total,
            int(spec.busy * 1.31),
            10000,
            total,
            round(point.total * 0.06, 1),
            round(spec.busy * 0.09, 1),
        ),
        bytes_in=total * 5400,
        bytes_out=total * 44200,
        refused=0,
        errors=Errors(12 if spec.protocol == "https" else 0, failed, 0),
        retries=failed,
        redispatches=failed,
        requests=Requests(requests, point.requests),
        answers={kind: int(requests * point.answers(kind) / (point.requests or 1)) for kind in CLASSES},
        latency=_latency(point),
        persistence_results={"hit": total * 12, "new": total, "moved": _downs(world) * 40, "none": 0},
        tls=TlsCounts(total, int(total * 0.71)) if spec.protocol == "https" else TlsCounts(),
        counts={},
        waiting=0,
        targets=tuple(_target(world, spec, *target) for target in spec.targets),
    )


def _latency(point: Point) -> Latency:
    return Latency(point.latency(50), point.latency(95), point.latency(99))


def _downs(world: World) -> int:
    return sum(server.downs for server in world.servers.values())


def _target(world: World, spec: Spec, route: str | None, port: int) -> Target:
    name = target_name(spec, route, port)
    return Target(
        name=name,
        route=route,
        port=port,
        table=spec.group or spec.name,
        persistence=spec.persistence,
        scheduling="round-robin",
        waiting=0,
        split=0,
        ambiguous=0,
        disagreed=0,
        backends=tuple(_backend(world, spec, name, server, port) for server in ADDRESSES),
    )


def _backend(world: World, spec: Spec, target: str, name: str, port: int) -> Backend:
    server = world.servers[name]
    current = world.sessions(spec, name) // len(spec.targets)
    total = world.totals[f"{target}/{name}"]
    state = world.state(spec.name, name)
    failed = 3 * server.downs
    down = Down(server.downs, world.now - server.down_since, stamp(server.down_since))
    return Backend(
        name=f"{target}/{name}",
        server=name,
        host=ADDRESSES[name],
        port=port,
        state=state,
        usable=state in ("UP", "DRAIN"),
        operator=server.wish(spec.name),
        weight=world.weights.get(f"{spec.name}/{name}", server.weight),
        ramp=world.ramp(name),
        limit=None,
        backup=False,
        sessions=Links(current, current + 41, total),
        load=current // 30,
        queue=0,
        bytes_in=total * 5400,
        bytes_out=total * 44200,
        errors=Errors(0, failed, 0),
        retries=failed,
        redispatches=failed,
        requests=Requests(total * 15, 0.0),
        answers=dict.fromkeys(CLASSES, 0),
        latency=_latency(world.points[spec.name][-1]),
        check=_check(world, spec, name),
        down=Down(server.downs, 4.0 * server.downs, None) if server.alive else down,
    )


def _check(world: World, spec: Spec, name: str) -> Check:
    if not world.servers[name].alive:
        return Check(spec.protocol, "L4CON", "connect", "Connection refused", 1.0, stamp(world.now - 1))
    return Check(spec.protocol, "L7OK", "answer", "", 4.2, stamp(world.now - 1))


def _server(world: World, name: str) -> Server:
    server = world.servers[name]
    states = {world.state(spec.name, name) for spec in SPECS}
    return Server(
        name=name,
        address=ADDRESSES[name],
        weight=server.weight,
        operator=server.operator,
        state=next(word for word in _WORST if word in states),
        sessions=world.held(name),
        backends=tuple(b for b in world.backend_names() if b.endswith(f"/{name}")),
    )


def _group() -> Group:
    return Group(
        name="mapi",
        services=("exchange-epm", "exchange-rpc", "exchange-ab"),
        entries=412,
        limit=100_000,
        held=306,
        by_server={"exch1": 361, "exch2": 51},
        top_sources=(Source("10.4.0.1", 188), Source("10.9.0.1", 61)),
    )


def _warnings(world: World) -> list[Notice]:
    skew = (
        "2 of 412 sources hold 60% of the clients of group mapi, so exch1 carries 88% of them: clients "
        "behind one address look like one. persistence: rpc-association tells them apart."
    )
    down = [
        Notice("down", f"{name} is DOWN in all 7 services: Connection refused.")
        for name, server in world.servers.items()
        if not server.alive
    ]
    return [*down, Notice("skew", skew, "exchange-rpc")]
