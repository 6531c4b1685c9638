"""A configuration that holds: defaults merged, references checked, files read. Frozen values.

Durations are seconds, sizes bytes, paths absolute. The mappings keep the order of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from exproxy.config.errors import Problem
from exproxy.interfaces import ILocator
from exproxy.model import ServerTLSOptions, TLSOptions, Version
from exproxy.plugins import Selected
from exproxy.routes import Answer, Route
from exproxy.settings import HealthSettings, Limits, Networks, TcpOptions, Timeouts, WhenFull
from exproxy.tls.guard import Policy
from exproxy.tls.material import CertificateFiles as CertificateFiles

TlsMode: TypeAlias = Literal["none", "implicit", "starttls", "passthrough"]
# exproxy shows a certificate of its own there: at once, or when the client asks for it.
ENDS_TLS: tuple[TlsMode, ...] = ("implicit", "starttls")
LogTarget: TypeAlias = Path | Literal["stdout"] | None


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """A real server. ``weight`` is 0 to 256 (0: no new clients), ``limit`` counts the links that one
    pool may have to it (None: any number)."""

    name: str
    address: str
    weight: int = 1
    limit: int | None = None
    backup: bool = False


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """One memory of clients, shared by services. ``timeout`` in seconds, ``limit`` in keys."""

    name: str
    timeout: float = 7200.0
    limit: int = 100_000
    on_move: Literal["keep", "cut"] = "keep"


@dataclass(frozen=True, slots=True)
class Listen:
    """An address to listen on. ``host`` "" is every address, IPv4 and IPv6; ``port`` 0 any free one.
    ``accept_proxy``: connections begin with a PROXY protocol header."""

    host: str
    port: int
    tls: TlsMode = "none"
    accept_proxy: bool = False

    @property
    def text(self) -> str:
        """``*:443``, ``192.0.2.1:443`` or ``[2001:db8::1]:443``."""
        host = f"[{self.host}]" if ":" in self.host else self.host or "*"
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """How the servers are reached, as written.

    ``port`` None is the listening port; ``tls_mode`` ``follow`` is that of the listening port: TLS where
    it ends TLS, STARTTLS where it offers that, plain where it is plain. ``tls`` says how where TLS is
    spoken; ``tls_written`` whether anybody wrote anything about it. ``send_proxy``: the PROXY protocol
    that tells of the client.
    """

    port: int | None = None
    tls_mode: Literal["follow", "none", "implicit", "starttls", "passthrough"] = "follow"
    tls: TLSOptions = field(default_factory=TLSOptions)
    tls_written: bool = False
    send_proxy: Version | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What a listening port leads to on each server. ``port`` 0: it is learnt from the server. ``tls`` is
    there for ``implicit`` and ``starttls``; ``passthrough``: the servers speak TLS with the clients
    themselves."""

    port: int
    tls_mode: TlsMode
    tls: TLSOptions | None


class Reaching:
    """What a service and a route have in common: servers, and the ways to choose among them.

    ``name`` is ``service`` or ``service/route``. ``locator`` is what the servers are asked for their
    ports; None where these are configured.
    """

    __slots__ = ()
    name: str
    protocol: Selected[Any]
    servers: tuple[str, ...]
    backend: BackendConfig
    persistence: Selected[Any]
    group: str | None
    scheduling: Selected[Any]
    check: Selected[Any]
    health: HealthSettings
    slow_ramp: float
    when_full: WhenFull
    on_down: Literal["keep", "cut"]
    drain: Literal["keep", "move"]
    locator: ILocator | None
    # Connect from the client's own address.
    transparent: bool

    def target(self, listen: Listen) -> Target:
        """Where clients of that listening port go: the port and TLS of its pool."""
        backend = self.backend
        port = listen.port if backend.port is None else backend.port
        if self.locator is not None:
            port = 0
        mode: TlsMode = listen.tls if backend.tls_mode == "follow" else backend.tls_mode
        return Target(port, mode, backend.tls if mode in ENDS_TLS else None)


@dataclass(frozen=True, slots=True)
class RouteConfig(Reaching):
    """A route of a service. ``route`` is what the protocol is told of it; where ``route.answer`` is there,
    the rest has no meaning."""

    name: str
    route: Route
    protocol: Selected[Any]
    servers: tuple[str, ...]
    backend: BackendConfig
    persistence: Selected[Any]
    group: str | None
    scheduling: Selected[Any]
    check: Selected[Any]
    health: HealthSettings
    slow_ramp: float
    when_full: WhenFull
    on_down: Literal["keep", "cut"]
    locator: ILocator | None = None
    transparent: bool = False
    drain: Literal["keep", "move"] = "keep"


@dataclass(frozen=True, slots=True)
class ServiceConfig(Reaching):
    """A virtual service. ``allow`` and ``deny`` are None where not written; ``deny`` wins. ``hsts`` is the
    value of Strict-Transport-Security, None for none; ``certificates`` were read when the file was."""

    name: str
    protocol: Selected[Any]
    listens: tuple[Listen, ...]
    servers: tuple[str, ...]
    certificates: tuple[CertificateFiles, ...]
    backend: BackendConfig
    persistence: Selected[Any]
    group: str | None
    scheduling: Selected[Any]
    check: Selected[Any]
    health: HealthSettings
    timeouts: Timeouts
    limits: Limits
    tcp: TcpOptions
    slow_ramp: float
    when_full: WhenFull
    on_down: Literal["keep", "cut"]
    allow: Networks | None
    deny: Networks | None
    trusted_proxies: Networks
    host_name: str
    retries: int
    name_ttl: float
    # What exproxy answers itself where no route fits; the service has no pool of its own then.
    answer: Answer | None = None
    routes: tuple[RouteConfig, ...] = ()
    tls: ServerTLSOptions = field(default_factory=ServerTLSOptions)
    hsts: bytes | None = None
    extended_protection: Policy = "off"
    locator: ILocator | None = None
    transparent: bool = False
    drain: Literal["keep", "move"] = "keep"


Role: TypeAlias = Literal["read", "operate"]


@dataclass(frozen=True, slots=True)
class AdminToken:
    """Somebody who may use the administration: ``secret`` is in no repr."""

    name: str
    role: Role
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AdminConfig:
    """Where the administration listens, and for whom. A listen's ``tls`` is none or implicit.

    ``tokens`` empty: whoever reaches it may operate, and all of ``listens`` are loopback addresses.
    ``origins``: like ``https://lb.example.org``, lower case, without a usual port.
    """

    listens: tuple[Listen, ...]
    certificates: tuple[CertificateFiles, ...] = ()
    tls: ServerTLSOptions = field(default_factory=ServerTLSOptions)
    tokens: tuple[AdminToken, ...] = ()
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """One configuration file.

    ``secret`` None: to be made once and kept in ``state_dir``. ``lab`` is an instance of
    ``exproxy.lab.options.LabOptions``. ``warnings`` are for the administrator, ready made in
    ``warning_text``. ``workers`` is how many processes carry traffic; 1: this one does. ``written`` is what
    config.reload makes the same Config from in another process.
    """

    path: Path
    state_dir: Path
    secret: tuple[bytes, ...] | None
    servers: Mapping[str, ServerConfig]
    groups: Mapping[str, GroupConfig]
    services: Mapping[str, ServiceConfig]
    admin: AdminConfig | None
    lab: Any | None
    access_log: LogTarget
    event_log: LogTarget
    host_name: str
    trusted_proxies: Networks
    warnings: tuple[Problem, ...] = ()
    warning_text: str = ""
    workers: int = 1
    written: bytes = field(default=b"", repr=False, compare=False)
