"""A double of the virtual service that a conversation belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zope.interface import implementer

from exproxy.interfaces import IMarker, IService
from exproxy.model import Listening, TLSOptions
from exproxy.routes import Answer, Route
from exproxy.settings import Limits, Networks, Timeouts


@implementer(IService)
@dataclass
class FakeService:
    """An IService of plain attributes; ``tls`` maps a listening port to its mode, others are 'none'.

    ``siblings`` is a dict to be added to; the service itself is in it.
    """

    name: str = "test"
    protocol: str = "test"
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
    records: bool = True
    listens: tuple[Listening, ...] = ()
    siblings: dict[str, IService] = field(default_factory=dict, repr=False, compare=False)
    starttls: TLSOptions | None = None

    def __post_init__(self) -> None:
        self.siblings.setdefault(self.name, self)

    def marker(self, target: str | None = None) -> IMarker | None:
        """See IService."""
        return self.cookie_marker if target is None else self.route_markers.get(target)

    def port_tls(self, port: int) -> str:
        """See IService."""
        return self.tls.get(port, "none")

    def backend_starttls(self, port: int) -> TLSOptions | None:
        """See IService."""
        return self.starttls

    def listenings(self) -> tuple[Listening, ...]:
        """See IService."""
        return self.listens


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
    protocol: str = "test",
    listens: tuple[Listening, ...] = (),
    siblings: Iterable[IService] = (),
    starttls: TLSOptions | None = None,
) -> FakeService:
    """An IService with the settings that a configuration would give where it is silent.

    ``options``: an instance of the protocol plugin's options model. ``listens``: what listenings()
    gives; ``siblings``: the other services of its process; ``starttls``: what backend_starttls() gives
    for every port.
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
        protocol=protocol,
        listens=listens,
        siblings={each.name: each for each in siblings},
        starttls=starttls,
    )
