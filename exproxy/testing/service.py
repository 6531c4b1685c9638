"""A double of the virtual service that a conversation belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zope.interface import implementer

from exproxy.interfaces import IMarker, IService
from exproxy.model import TLSOptions
from exproxy.routes import Answer, Route
from exproxy.settings import Limits, Networks, Timeouts


@implementer(IService)
@dataclass
class FakeService:
    """An IService of plain attributes; ``tls`` maps a listening port to its mode, others are 'none'."""

    name: str = "test"
    options: Any = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    trusted_proxies: Networks = field(default_factory=Networks)
    host_name: str = "lb.example.org"
    tls: Mapping[int, str] = field(default_factory=dict)
    cookie_marker: IMarker | None = None
    routes: tuple[Route, ...] = ()
    answer: Answer | None = None
    route_markers: Mapping[str, IMarker] = field(default_factory=dict)
    hsts: bytes | None = None
    starttls: TLSOptions | None = None

    def marker(self, target: str | None = None) -> IMarker | None:
        """See IService."""
        return self.cookie_marker if target is None else self.route_markers.get(target)

    def port_tls(self, port: int) -> str:
        """See IService."""
        return self.tls.get(port, "none")

    def backend_starttls(self, port: int) -> TLSOptions | None:
        """See IService."""
        return self.starttls


def service(
    options: Any = None,
    *,
    name: str = "test",
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    trusted_proxies: tuple[str, ...] = (),
    host_name: str = "lb.example.org",
    tls: Mapping[int, str] | None = None,
    marker: IMarker | None = None,
    routes: tuple[Route, ...] = (),
    answer: Answer | None = None,
    route_markers: Mapping[str, IMarker] | None = None,
    hsts: bytes | None = None,
    starttls: TLSOptions | None = None,
) -> FakeService:
    """An IService with the settings that a configuration would give where it is silent.

    ``options``: an instance of the protocol plugin's options model; ``starttls``: what
    ``backend_starttls()`` gives for every port.
    """
    return FakeService(
        name=name,
        options=options,
        timeouts=timeouts or Timeouts(),
        limits=limits or Limits(),
        trusted_proxies=Networks.parse(trusted_proxies),
        host_name=host_name,
        tls=tls or {},
        cookie_marker=marker,
        routes=routes,
        answer=answer,
        route_markers=route_markers or {},
        hsts=hsts,
        starttls=starttls,
    )
