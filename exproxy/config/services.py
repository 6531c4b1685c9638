"""One virtual service: its sources of settings, its plugins, its addresses, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exproxy.config import membership
from exproxy.config.answers import answer
from exproxy.config.backends import agree, backend, locator
from exproxy.config.certificates import certificates
from exproxy.config.client_address import proxied
from exproxy.config.context import Context
from exproxy.config.errors import Where
from exproxy.config.fitting import fitting, health
from exproxy.config.layers import Layers, layers
from exproxy.config.listens import Placed, placed
from exproxy.config.models import ServiceSection
from exproxy.config.resolved import ENDS_TLS, BackendConfig, CertificateFiles, ServiceConfig
from exproxy.config.routes import RouteDraft, route, routes
from exproxy.config.tls import FrontTls, front_tls, protects
from exproxy.config.validation import lacks
from exproxy.plugins import Selected
from exproxy.routes import Answer
from exproxy.settings import (
    NAME_TTL,
    RETRIES,
    SLOW_RAMP,
    HealthSettings,
    Limits,
    Networks,
    TcpOptions,
    Timeouts,
    WhenFull,
)


@dataclass(frozen=True, slots=True)
class Service:
    """A service after all the checks of its own; what is wrong is None or left out."""

    name: str
    where: Where
    section: ServiceSection
    layers: Layers
    protocol: Selected[Any] | None
    persistence: Selected[Any] | None
    scheduling: Selected[Any] | None
    check: Selected[Any] | None
    group: str | None
    group_where: Where
    servers: tuple[str, ...]
    certificates: tuple[CertificateFiles, ...]
    tls: FrontTls
    addresses: tuple[Placed, ...]
    backend: BackendConfig
    answer: Answer | None
    routes: tuple[RouteDraft, ...]


def service(context: Context, name: str, section: ServiceSection) -> Service:
    """Look at one service on its own; what is wrong is told to the context's document."""
    where: Where = ("services", name)
    document, selection = context.document, context.selection
    _needed(context, section, where)
    at = (*where, "protocol")
    protocol = selection.protocol(section.protocol, at) if section.protocol else None
    stack = layers(selection.defaults(protocol, at), context.draft.defaults, section, where)
    persistence = selection.of("persistence", stack)
    group, group_where = selection.group(stack)
    if group is not None and persistence is not None and persistence.name == "none":
        document.warn(group_where, "has no effect: persistence 'none' remembers nothing", at_key=True)
    shown = certificates(document, stack, context.now, context.made_by_lab)
    addresses: list[Placed] = []
    if protocol is not None:
        written = bool(stack.pick("certificate"))
        addresses = placed(document, section.listen or (), (*where, "listen"), protocol.plugin, written)
        addresses = proxied(document, stack, section, _proxies(context, section), addresses)
        fitting(context, stack, persistence, protocol)
    config = backend(document, stack, context.made_by_lab)
    said = answer(document, section, where)
    if said is None:
        agree(document, stack, config, addresses, locator(protocol, config) is not None)
    health(context, stack)
    _certificate_used(context, stack, addresses)
    tls = front_tls(document, stack, addresses)
    parts = routes(context, name, section, stack, protocol, addresses)
    reached = [config] if said is None else []
    reached += [one.backend for one in parts if one.route.answer is None]
    protects(document, stack, tls.extended_protection, reached, addresses)
    return Service(
        name=name,
        where=where,
        section=section,
        layers=stack,
        protocol=protocol,
        persistence=persistence,
        scheduling=selection.of("scheduling", stack),
        check=selection.of("check", stack),
        group=group,
        group_where=group_where,
        servers=membership.servers(context.draft, section.servers, where),
        certificates=shown,
        tls=tls,
        addresses=tuple(addresses),
        backend=config,
        answer=said,
        routes=parts,
    )


def _needed(context: Context, section: ServiceSection, where: Where) -> None:
    for key in ("protocol", "listen"):
        if getattr(section, key) is None and lacks(context.document, where, ServiceSection, key):
            context.document.error(where, f"{key!r} is missing", at_key=True)
    if section.listen == [] and context.document.data["services"][where[1]].get("listen") == []:
        context.document.error((*where, "listen"), "is empty; name at least one port")


def _certificate_used(context: Context, stack: Layers, addresses: list[Placed]) -> None:
    ends_tls = any(one.listen.tls in ENDS_TLS for one in addresses)
    if addresses and stack.said_by_service("certificate") and not ends_tls:
        where = stack.where("certificate")
        context.document.warn(where, "is not used: no listening port of this service ends TLS", at_key=True)


def finished(context: Context, one: Service) -> ServiceConfig:
    """The frozen service; only for a document without errors."""
    stack, section, file = one.layers, one.section, context.draft.file
    if one.protocol is None or one.persistence is None or one.scheduling is None or one.check is None:
        raise ValueError(f"service {one.name!r} has errors that nobody told of")
    return ServiceConfig(
        name=one.name,
        protocol=one.protocol,
        listens=tuple(placed.listen for placed in one.addresses),
        servers=one.servers,
        certificates=one.certificates,
        tls=one.tls.options,
        hsts=one.tls.hsts,
        extended_protection=one.tls.extended_protection,
        backend=one.backend,
        persistence=one.persistence,
        group=one.group,
        scheduling=one.scheduling,
        check=one.check,
        health=stack.values("health", HealthSettings),
        timeouts=stack.values("timeouts", Timeouts),
        limits=stack.values("limits", Limits),
        tcp=stack.values("tcp", TcpOptions),
        slow_ramp=_or(stack.pick("slow_ramp"), SLOW_RAMP),
        when_full=_or(stack.pick("when_full"), WhenFull()),
        on_down=_or(stack.pick("on_down"), "keep"),
        allow=_networks(stack.pick("allow")),
        deny=_networks(stack.pick("deny")),
        trusted_proxies=Networks.parse(_proxies(context, section)),
        host_name=section.host_name or file.host_name or context.host_name,
        retries=_or(stack.pick("retries"), RETRIES),
        name_ttl=_or(stack.pick("name_ttl"), NAME_TTL),
        answer=one.answer,
        routes=tuple(route(each, one.protocol) for each in one.routes),
        locator=locator(one.protocol, one.backend),
        transparent=bool(stack.pick("transparent")),
        drain=stack.pick("drain") or "keep",
    )


def _proxies(context: Context, section: ServiceSection) -> list[str]:
    written = section.trusted_proxies
    return (context.draft.file.trusted_proxies if written is None else written) or []


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _networks(texts: list[str] | None) -> Networks | None:
    return None if texts is None else Networks.parse(texts)
