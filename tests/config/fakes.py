"""Plugins that exist for these tests only, and a catalogue of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zope.interface import implementer

from exproxy.interfaces import (
    ICheckPlugin,
    IPersistencePlugin,
    IProtocolPlugin,
    ISchedulingPlugin,
)
from exproxy.plugins import Catalogue, NoOptions, Options
from exproxy.units import Wait


@dataclass(frozen=True)
class Head:
    """A fact that only the fake http gives."""


class HttpCheckOptions(Options):
    path: str = "/"
    status: tuple[int, ...] = (200,)
    body_text: str | None = None


class SourceOptions(Options):
    mask: int = 32
    timeout: Wait = 60.0


class CookieOptions(Options):
    cookie: str


class Route(Options):
    prefix: str = "/"


class HttpOptions(Options):
    routes: dict[str, Route] = {}


@implementer(IProtocolPlugin)
@dataclass(frozen=True)
class Protocol:
    name: str
    tls_modes: tuple[str, ...] = ("none",)
    default_ports: dict[int, str] = field(default_factory=dict)
    gives: tuple[type, ...] = ()
    defaults: dict[str, object] = field(default_factory=dict)
    options: Any = NoOptions
    summary: str = "a protocol"

    def factory(self, service: Any) -> Any:
        """Never called here."""


@implementer(IPersistencePlugin)
@dataclass(frozen=True)
class Strategy:
    name: str
    needs: tuple[type, ...] = ()
    uses: tuple[type, ...] = ()
    options: Any = NoOptions
    summary: str = "a persistence"

    def strategy(self, options: Any, keys: Any) -> Any:
        """Never called here."""


@implementer(ISchedulingPlugin)
@dataclass(frozen=True)
class Order:
    name: str
    options: Any = NoOptions
    summary: str = "a scheduling"

    def scheduling(self, options: Any) -> Any:
        """Never called here."""


@implementer(ICheckPlugin)
@dataclass(frozen=True)
class Question:
    name: str
    options: Any = NoOptions
    summary: str = "a check"

    def check(self, options: Any) -> Any:
        """Never called here."""


MAIL = ("none", "implicit", "passthrough")
PLUGINS: dict[Any, tuple[Any, ...]] = {
    IProtocolPlugin: (
        Protocol("tcp", ("none", "implicit", "passthrough")),
        Protocol("rpc", defaults={"timeouts": {"idle": "2h10m"}, "on-down": "cut"}),
        Protocol("epm", defaults={"timeouts": {"idle": "2h10m"}}),
        Protocol("smtp", MAIL, {25: "none", 587: "none", 465: "implicit"}, defaults={"check": "smtp"}),
        Protocol(
            "imap",
            MAIL,
            {143: "none", 993: "implicit"},
            defaults={"check": "imap", "timeouts": {"idle": "31m"}},
        ),
        Protocol("pop", MAIL, {110: "none", 995: "implicit"}, defaults={"check": "pop"}),
        Protocol("tls", ("passthrough",)),
        Protocol("http", ("none",), {80: "none"}, gives=(Head,), options=HttpOptions),
        Protocol("https", ("implicit",), {443: "implicit"}, gives=(Head,), options=HttpOptions),
    ),
    IPersistencePlugin: (
        Strategy("none"),
        Strategy("source-ip", options=SourceOptions),
        Strategy("super-http", needs=(Head,)),
        Strategy("cookie", needs=(Head,), options=CookieOptions),
    ),
    ISchedulingPlugin: tuple(map(Order, ("round-robin", "least-connections", "source-hash", "random"))),
    ICheckPlugin: (
        Question("http", HttpCheckOptions),
        *map(Question, ("connect", "tls", "smtp", "imap", "pop")),
    ),
}


def fake_catalogue(*more: tuple[Any, Any]) -> Catalogue:
    """The plugins above, and ``more`` (interface, record)."""
    return Catalogue(lambda kind: [*PLUGINS[kind], *(record for other, record in more if other is kind)])
