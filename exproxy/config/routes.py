"""The routes of one service: what each takes, which settings it has, and which of them can be reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exproxy.config import grammar, membership
from exproxy.config.answers import answer
from exproxy.config.backends import agree, backend, locator
from exproxy.config.context import Context
from exproxy.config.errors import Where
from exproxy.config.fitting import fitting, health
from exproxy.config.layers import Layer, Layers
from exproxy.config.listens import Placed
from exproxy.config.models import ServiceSection
from exproxy.config.resolved import BackendConfig, RouteConfig
from exproxy.config.route_models import RouteSection, written_pool_keys
from exproxy.config.validation import validate
from exproxy.plugins import Selected
from exproxy.routes import Route
from exproxy.settings import SLOW_RAMP, HealthSettings, Limits, Networks, Timeouts, WhenFull


@dataclass(frozen=True, slots=True)
class RouteDraft:
    """A route after all the checks of its own; what is wrong is None or left out."""

    name: str
    route: Route
    layers: Layers
    servers: tuple[str, ...]
    backend: BackendConfig
    persistence: Selected[Any] | None
    scheduling: Selected[Any] | None
    check: Selected[Any] | None
    group: str | None
    group_where: Where


def routes(
    context: Context,
    service: str,
    section: ServiceSection,
    stack: Layers,
    protocol: Selected[Any] | None,
    addresses: Sequence[Placed],
) -> tuple[RouteDraft, ...]:
    """Look at all of a service's routes; what is wrong is told to the context's document."""
    document = context.document
    _routed(context, section, protocol, ("services", service))
    found: list[tuple[RouteDraft, Where]] = []
    for name, data in (section.routes or {}).items():
        where: Where = ("services", service, "routes", name)
        try:
            grammar.name(name)
        except ValueError as error:
            document.error(where, str(error), at_key=True)
        written = validate(document, where, RouteSection, data)
        if written is None:
            continue
        layers = Layers((*stack.layers, Layer(written, where)))
        one = _draft(context, f"{service}/{name}", written, layers, where, section, protocol, addresses)
        _reachable(context, one, where, found)
        asked = section.tls is not None and section.tls.client_certificates is not None
        if written.client_certificate is not None and not asked:
            text = "nobody is asked for a certificate: the service needs tls: {client-certificates: …}"
            document.error((*where, "client-certificate"), text)
        found.append((one, where))
    return tuple(one for one, _ in found)


def _routed(context: Context, section: ServiceSection, protocol: Selected[Any] | None, where: Where) -> None:
    if protocol is None or getattr(protocol.plugin, "routed", False):
        return
    for key in ("routes", "redirect", "status", "text"):
        if getattr(section, key) is not None:
            text = f"protocol {protocol.name!r} has no requests to look at; http and https have"
            context.document.error((*where, key), text, at_key=True)


def _draft(
    context: Context,
    name: str,
    section: RouteSection,
    stack: Layers,
    where: Where,
    service: ServiceSection,
    protocol: Selected[Any] | None,
    addresses: Sequence[Placed],
) -> RouteDraft:
    document, selection = context.document, context.selection
    said = answer(document, section, where)
    if said is not None:
        for key in written_pool_keys(section):
            document.error((*where, key), "has no effect: this route asks no server", at_key=True)
    persistence = selection.of("persistence", stack)
    group, group_where = selection.group(stack)
    own = backend(document, stack, context.made_by_lab)
    if said is None:
        ports = [one for one in addresses if section.backend is not None]
        agree(document, stack, own, ports, locator(protocol, own) is not None)
        if section.health is not None:
            health(context, stack)
        if section.persistence is not None and protocol is not None:
            fitting(context, stack, persistence, protocol)
    at = where if section.servers is not None else where[:2]
    named = section.servers if section.servers is not None else service.servers
    return RouteDraft(
        name,
        _route(name, section, stack, said),
        stack,
        _servers(context, named, at, own_list=section.servers is not None),
        own,
        persistence,
        selection.of("scheduling", stack),
        selection.of("check", stack),
        group if said is None else None,
        group_where,
    )


def _servers(context: Context, named: list[str] | None, where: Where, own_list: bool) -> tuple[str, ...]:
    if own_list:
        return membership.servers(context.draft, named, where)
    # What is wrong with the service's own list is told there.
    known = context.draft.servers_named
    return known if named is None else tuple(name for name in known if name in named)


def _route(name: str, section: RouteSection, stack: Layers, said: Any) -> Route:
    return Route(
        name.partition("/")[2],
        tuple(section.path or ()),
        tuple(section.exact or ()),
        tuple(section.host or ()),
        None if section.allow is None else Networks.parse(section.allow),
        None if section.deny is None else Networks.parse(section.deny),
        said,
        stack.values("timeouts", Timeouts),
        stack.values("limits", Limits),
        section.client_certificate == "required",
    )


def route(one: RouteDraft, protocol: Selected[Any]) -> RouteConfig:
    """The frozen route; only for a document without errors."""
    stack = one.layers
    if one.persistence is None or one.scheduling is None or one.check is None:
        raise ValueError(f"route {one.name!r} has errors that nobody told of")
    ramp, full, down = (stack.pick(key) for key in ("slow_ramp", "when_full", "on_down"))
    return RouteConfig(
        name=one.name,
        route=one.route,
        protocol=protocol,
        servers=one.servers,
        backend=one.backend,
        persistence=one.persistence,
        group=one.group,
        scheduling=one.scheduling,
        check=one.check,
        health=stack.values("health", HealthSettings),
        slow_ramp=SLOW_RAMP if ramp is None else ramp,
        when_full=full or WhenFull(),
        on_down=down or "keep",
        locator=locator(protocol, one.backend),
        transparent=bool(stack.pick("transparent")),
        drain=stack.pick("drain") or "keep",
    )


# -- which can be reached --------------------------------------------------------------------


def _reachable(
    context: Context, one: RouteDraft, where: Where, before: list[tuple[RouteDraft, Where]]
) -> None:
    for other, there in before:
        if _covers(other.route, one.route):
            line = context.document.keys[there].line if there in context.document.keys else 0
            text = f"is never reached: {other.route.name!r} (line {line}) takes all its requests before"
            context.document.warn(where, text, at_key=True)
            return


def _covers(wide: Route, narrow: Route) -> bool:
    hosts = not wide.hosts or (
        bool(narrow.hosts) and all(any(_host_in(host, each) for each in wide.hosts) for host in narrow.hosts)
    )
    if not hosts or not (wide.paths or wide.exact):
        return hosts
    if not narrow.paths and not narrow.exact:
        return "" in map(_bare, wide.paths)
    below = all(any(_below(path, each) for each in wide.paths) for path in narrow.paths)
    whole = (_folded(wide.exact), _folded(narrow.exact))
    return below and all(p in whole[0] or any(_below(p, each) for each in wide.paths) for p in whole[1])


def _folded(paths: Sequence[str]) -> list[str]:
    return [path.lower() for path in paths]


def _bare(path: str) -> str:
    return path.lower().rstrip("/")


def _below(path: str, prefix: str) -> bool:
    return f"{_bare(path)}/".startswith(f"{_bare(prefix)}/")


def _host_in(host: str, wide: str) -> bool:
    return host == wide or (wide.startswith("*.") and host.endswith(wide[1:]))
