"""The sections of the file as pydantic models: shapes and single values, nothing across them.

Everything is optional here: what is not written is None, and what must be there is looked after
by the checks, so that one mistake does not hide the others.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from exproxy.config import grammar
from exproxy.config.answers import AnswerSection
from exproxy.config.kinds import (
    AnyPort,
    CheckChoice,
    Count,
    LogTarget,
    NetworkList,
    PersistenceChoice,
    Port,
    ProtocolChoice,
    SchedulingChoice,
    SendProxy,
    Short,
    Single,
    TextList,
    WhenFullValue,
    Workers,
    listed,
)
from exproxy.config.sections import (
    HealthSection,
    LimitsSection,
    Section,
    TcpSection,
    TimeoutsSection,
)
from exproxy.units import DURATION_PATTERN, Age, Duration, Wait


class ListenSection(Section):
    """An address to listen on; a bare port or "address:port" is short for it."""

    port: AnyPort | None = None
    """The port; 0 takes any free one."""
    address: Annotated[str, AfterValidator(grammar.ip_address)] | None = None
    """The IP address; without one all of them, IPv4 and IPv6."""
    tls: str | None = None
    """none: plain; implicit: exproxy ends TLS; starttls: it does where the client asks for it (smtp, imap,
    pop); passthrough: the client's TLS goes on to the server."""
    accept_proxy: bool | None = None
    """Every connection begins with a PROXY protocol header, and comes from one of the `trusted-proxies`.
    Default: the service's `accept-proxy`."""


class CertificateSection(Section):
    """A certificate with its chain, and its private key: PEM files, or one PKCS#12 file."""

    cert: str | None = None
    """PEM file: the certificate, then its intermediates."""
    key: str | None = None
    """PEM file: the private key. Default: the one in `cert`."""
    pkcs12: str | None = None
    """PKCS#12 file (.pfx, .p12) with certificate, intermediates and key; in place of `cert` and `key`."""
    password: str | None = None
    """What opens the key, best by !file. Default: none is needed."""


class ClientCertificatesSection(Section):
    """Certificates of clients: who must show one, and who may have signed it."""

    ca: Annotated[str, Field(min_length=1)] | None = None
    """PEM file of the authorities that sign clients' certificates."""
    mode: Literal["optional", "required"] | None = None
    """required: nobody else comes in (default); optional: who shows one is told to the server."""


class HstsSection(Section):
    """Strict-Transport-Security: browsers that were here once come by TLS only, for so long."""

    max_age: Age | None = None
    """For how long, for example 730d; 0 takes it back."""
    subdomains: bool | None = None
    """For the names below this one too. Default false."""
    preload: bool | None = None
    """The owner agrees to the browsers' own lists. Default false."""


def _hsts(value: object) -> object:
    return {"max-age": value} if isinstance(value, str) else value


HstsValue: TypeAlias = Annotated[
    HstsSection, BeforeValidator(_hsts), Short({"type": "string", "pattern": DURATION_PATTERN})
]


class TlsSection(Section):
    """How TLS is spoken with clients where exproxy ends it."""

    profile: Literal["intermediate", "modern", "old"] | None = None
    """Mozilla's: intermediate: TLS 1.2 and 1.3 (default); modern: 1.3 only; old: from TLS 1.0 on."""
    hsts: HstsValue | None = None
    """Strict-Transport-Security in each answer of an https service: how long, or {max-age, subdomains,
    preload}. Default: none of ours."""
    client_certificates: ClientCertificatesSection | None = None
    """Ask clients for certificates of theirs. Default: they are not asked."""


class BackendTlsSection(Section):
    """How to speak TLS with the servers."""

    mode: Literal["implicit", "starttls", "none", "passthrough"] | None = None
    """implicit: TLS; starttls: plain, then TLS, in smtp, imap and pop; none: plain; passthrough: the
    client's own. Default: as the listening port does."""
    verify: Annotated[str, Field(min_length=1)] | None = None
    """system: by the system's authorities (default); none: not at all; or a PEM file of authorities."""
    server_name: Annotated[str, AfterValidator(grammar.host)] | None = None
    """The name to ask for (SNI) and to verify. Default: the server's address."""
    fingerprint: TextList | None = None
    """sha256:… of the certificate that a server must show, or a list; without `verify` this alone counts."""
    legacy: bool | None = None
    """Also TLS 1.0 and old ciphers, for Exchange 2010 on Windows Server 2008 R2. Default false."""


def _certificate(value: object) -> object:
    return {"cert": value} if isinstance(value, str) else value


def _backend_tls(value: object) -> object:
    if isinstance(value, bool):
        return {"mode": "implicit" if value else "none"}
    if isinstance(value, dict):
        return value
    raise ValueError("must be true, false or a mapping ({verify: …, mode: …})")


_PORT = {"type": "integer", "minimum": 0, "maximum": 65535}
_ADDRESS = {"type": "string", "pattern": r"^(.*:)?[0-9]{1,5}$", "examples": ["192.0.2.1:443", "[::]:443"]}

ListenItem: TypeAlias = Annotated[ListenSection, BeforeValidator(grammar.listen), Short(_PORT, _ADDRESS)]
ListenList: TypeAlias = Annotated[list[ListenItem], BeforeValidator(listed), Single()]
CertificateItem: TypeAlias = Annotated[
    CertificateSection, BeforeValidator(_certificate), Short({"type": "string"})
]
CertificateList: TypeAlias = Annotated[list[CertificateItem], BeforeValidator(listed), Single()]
BackendTls: TypeAlias = Annotated[
    BackendTlsSection, BeforeValidator(_backend_tls), Short({"type": "boolean"})
]


class BackendSection(Section):
    """How the servers are reached."""

    port: Port | None = None
    """The servers' port. Default: the listening port."""
    tls: BackendTls | None = None
    """TLS to the servers: a mapping, true (implicit) or false (none)."""
    send_proxy: SendProxy | None = None
    """Tell the servers of the client in a PROXY protocol header, v1 or v2; false (default): do not."""


class PoolSection(Section):
    """What a service and each of its routes may say of their servers."""

    backend: BackendSection | None = None
    """How the servers are reached: port, TLS, PROXY protocol."""
    persistence: PersistenceChoice | None = None
    """How a client gets the server it had before: name or {name: {options}}; with `group` in the options
    the memory is shared. Default none."""
    scheduling: SchedulingChoice | None = None
    """How new clients are spread: name or {name: {options}}. Default round-robin."""
    check: CheckChoice | None = None
    """What the servers are asked: name or {name: {options}}. Default: the protocol's, else connect."""
    health: HealthSection | None = None
    """When the servers are asked, and what turns them UP and DOWN."""
    slow_ramp: Duration | None = None
    """How long a server that comes back takes to get its full share. Default 0: at once."""
    when_full: WhenFullValue | None = None
    """What to do when servers are at their limit: next, wait 5s, refuse. Default next."""
    on_down: Literal["keep", "cut"] | None = None
    """What becomes of a DOWN server's connections. Default keep."""
    drain: Literal["keep", "move"] | None = None
    """What becomes of the known clients of a server that the operator drains: keep: they go on coming to it;
    move: their next connection goes elsewhere. Default keep."""
    allow: NetworkList | None = None
    """Networks whose clients may come in; without it all."""
    deny: NetworkList | None = None
    """Networks whose clients may not come in; wins over `allow`."""


class SettingsSection(PoolSection):
    """What a service may say, and `defaults:` for all of them."""

    certificate: CertificateList | None = None
    """PEM file with certificate and key, {cert, key}, {pkcs12, password}, or a list; the first is shown by
    default."""
    tls: TlsSection | None = None
    """TLS with clients: versions and ciphers, HSTS, client certificates."""
    extended_protection: Literal["require", "warn", "off"] | None = None
    """A server that shows another certificate than exproxy does: require: is taken out; warn: is told of;
    off. Default off, for https warn."""
    timeouts: TimeoutsSection | None = None
    """How long each wait may last."""
    limits: LimitsSection | None = None
    """How much of anything is allowed."""
    tcp: TcpSection | None = None
    """Options of the TCP sockets."""
    accept_proxy: bool | None = None
    """Every connection begins with a PROXY protocol header, and comes from one of the `trusted-proxies`.
    Default false."""
    transparent: bool | None = None
    """Connect to the servers from the client's own address, where the network routes back. Default false."""
    retries: Annotated[int, Field(ge=0, le=20)] | None = None
    """How many other servers are tried when one cannot be reached. Default 3."""
    name_ttl: Wait | None = None
    """After how long servers given by name are looked up again. Default 60s."""


class ServiceSection(SettingsSection, AnswerSection):
    """A virtual service."""

    protocol: ProtocolChoice | None = None
    """What is spoken: name or {name: {options}}."""
    listen: ListenList | None = None
    """Where clients come in: a port, "address:port", {port, address, tls, accept-proxy}, or a list of
    these."""
    servers: TextList | None = None
    """The names of its servers. Default: all."""
    host_name: Annotated[str, AfterValidator(grammar.host)] | None = None
    """The name to greet and refuse with. Default: the file's `host-name`."""
    trusted_proxies: NetworkList | None = None
    """Networks of proxies whose word on the client's address is believed. Default: the file's."""
    routes: dict[str, Any] | None = None
    """Parts of an http or https service, by name: the first whose host and path fit has the request."""


class ServerSection(Section):
    """A real server; a bare address is short for it."""

    address: Annotated[str, AfterValidator(grammar.host)] | None = None
    """IP address or host name."""
    weight: Annotated[int, Field(ge=0, le=256)] | None = None
    """Its share compared to the others; 0: no new clients. Default 1."""
    limit: Count | None = None
    """How many connections of a service it takes at a time. Default: no limit."""
    backup: bool | None = None
    """Used only while no other server of the service can be. Default false."""


def _server(value: object) -> object:
    return {"address": value} if isinstance(value, str) else value


ServerItem: TypeAlias = Annotated[ServerSection, BeforeValidator(_server), Short({"type": "string"})]


class GroupSection(Section):
    """A memory of clients that several services share."""

    timeout: Wait | None = None
    """How long a client that does not come back is remembered. Default 2h."""
    limit: Count | None = None
    """How many keys are remembered; the oldest go first. Default 100000."""
    on_move: Literal["keep", "cut"] | None = None
    """What becomes of the old connections of a client that gets another server. Default keep."""


Origin: TypeAlias = Annotated[str, AfterValidator(grammar.origin)]
OriginList: TypeAlias = Annotated[list[Origin], BeforeValidator(listed), Single()]


class AdminTlsSection(Section):
    """How TLS is spoken with whoever administers exproxy."""

    certificate: CertificateList | None = None
    """PEM file with certificate and key, {cert, key}, {pkcs12, password}, or a list, as services have it."""
    profile: Literal["intermediate", "modern", "old"] | None = None
    """Mozilla's, as services have it. Default intermediate."""
    client_certificates: ClientCertificatesSection | None = None
    """Ask for certificates of clients too; these do not take the place of tokens. Default: no."""


class TokenSection(Section):
    """Somebody who may use the administration, and the secret word that shows it."""

    name: Annotated[str, AfterValidator(grammar.name)] | None = None
    """Who it is: the event log names it with each change."""
    role: Literal["read", "operate"] | None = None
    """read: sees everything (default); operate: changes things too."""
    token: str | None = None
    """The secret, at least 16 characters, by !file or !env."""


class AdminSection(Section):
    """The administration: API, dashboard and metrics."""

    listen: ListenList | None = None
    """Where. Default 127.0.0.1:8404. Elsewhere than on a loopback address only with `tls` and `tokens`."""
    tls: AdminTlsSection | None = None
    """TLS on all of its addresses that do not say `tls: none`."""
    tokens: list[TokenSection] | None = None
    """Who may use it. Without tokens everybody on this machine may."""
    origins: OriginList | None = None
    """Further origins (https://lb.example.org) under which a proxy of yours shows it to browsers."""


TemplateName: TypeAlias = Literal[
    "exchange-2010", "exchange-2013", "exchange-2016", "exchange-2019", "exchange-se"
]


class FileSection(Section):
    """The whole file but for its named entries, which are looked at one by one."""

    template: TemplateName | None = None
    """The services and settings to begin with; what the file says overrides them key by key."""
    secret: TextList | None = None
    """What cookies and keys are signed with: text, best by !file, or a list: the first signs, all verify.
    Without it one is made in the state folder."""
    state_dir: Annotated[str, Field(min_length=1)] | None = None
    """Where exproxy keeps what must survive a restart. Default /var/lib/exproxy, else
    ~/.local/state/exproxy."""
    access_log: LogTarget | None = None
    """A record of each connection or request: stdout, a file, or false. Default stdout."""
    event_log: LogTarget | None = None
    """What happens to servers and services, as JSON: stdout, a file, or false. Default false: it is in
    twistd's log anyway."""
    host_name: Annotated[str, AfterValidator(grammar.host)] | None = None
    """The name to greet and refuse with. Default: the machine's."""
    trusted_proxies: NetworkList | None = None
    """Networks of proxies whose word on the client's address is believed. Default none."""
    workers: Workers | None = None
    """How many processes carry traffic: a number, or auto: one for each processor. Default 1: this one
    does, and there is no other."""
    servers: dict[str, Any] | None = None
    """The real servers, by name."""
    groups: dict[str, Any] | None = None
    """Memories shared by several services, by name."""
    defaults: dict[str, Any] | None = None
    """Settings for all services."""
    services: dict[str, Any] | None = None
    """The virtual services, by name."""
    admin: AdminSection | None = None
    """The administration."""
    lab: dict[str, Any] | None = None
    """Simulated servers, for trying things out."""
