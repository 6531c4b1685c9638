"""The values that everything else speaks of: sides, addresses, facts, links, choices.

Frozen, without I/O. A *fact* is anything known of a client when a backend has to be
chosen; any type may be one, so a plugin brings its own without asking anybody.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from exproxy.values import value

if TYPE_CHECKING:
    from exproxy.interfaces import IBackend, ILease

F = TypeVar("F")

# Of the PROXY protocol.
Version: TypeAlias = Literal["v1", "v2"]


class Side(enum.Enum):
    """The two ends that a session stands between."""

    CLIENT = "client"
    BACKEND = "backend"

    def __repr__(self) -> str:
        return self.name


CLIENT = Side.CLIENT
BACKEND = Side.BACKEND
BOTH: tuple[Side, ...] = (CLIENT, BACKEND)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a client comes from: the textual address, without scope or brackets, and its port."""

    host: str
    port: int = 0


@dataclass(frozen=True, slots=True)
class Destination:
    """The address and port that the client reached (ours, or the one a trusted proxy names).

    ``listener``: where a proxy names it, the port on which exproxy itself took the connection, else 0.
    """

    host: str
    port: int
    listener: int = field(default=0, compare=False)

    @property
    def listening(self) -> int:
        """The listening port of ours: what decides on TLS and on the pool, whatever the client reached."""
        return self.listener or self.port


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """How a backend learns the client's address.

    ``send_proxy``: by a header of the PROXY protocol, that version; ``transparent``: the link comes
    from that address.
    """

    send_proxy: Version | None = None
    transparent: bool = False


@dataclass(frozen=True, slots=True)
class TLS:
    """What one finished TLS handshake agreed upon. ``version`` reads like ``TLSv1.3``.

    ``certificate``: what the other end showed, in DER form; a client's is there only where it was
    asked for and verified.
    """

    version: str
    cipher: str = ""
    server_name: str | None = None
    alpn: str | None = None
    resumed: bool = False
    certificate: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class User:
    """One person, as the protocol spelled the name; ``protocols.identity`` makes the spellings one."""

    name: str


@dataclass(frozen=True, slots=True)
class TLSSessionId:
    """A session id that a TLS server (to 1.2) gave out: 1 to 32 bytes (RFC 5246 7.4.1.3)."""

    value: bytes


@dataclass(frozen=True, slots=True)
class AssociationGroup:
    """A DCE/RPC association group id that a server gave out (C706 9.5.1; never 0)."""

    number: int


@dataclass(frozen=True, slots=True)
class Together:
    """Connections that show the same value must meet on one server, whatever the persistence says.

    ``kind`` names what is shared (``rpc``: a virtual connection of RPC over HTTP). ``first``: it is
    asked before the persistence; else only where that knows nobody.
    """

    kind: str
    value: bytes
    first: bool = True


@dataclass(frozen=True, slots=True)
class ServerCookie:
    """A cookie by which the backend itself keeps a session."""

    name: bytes
    value: bytes


@value(frozen=True, slots=True)
class Served:
    """A fact: the server that had this client connection's latest request of the same target."""

    server: str


class Facts:
    """What is known of a client: an immutable map from a type to the one value of that type.

    ``facts[Source]`` is the value or raises KeyError; ``facts.get(Source)`` is None where it is
    not known; ``facts.plus(User("ann"))`` is a new map, the later value of a type winning.
    """

    __slots__ = ("_known",)

    def __init__(self, *values: object) -> None:
        self._known: dict[type, object] = {type(value): value for value in values}

    def __getitem__(self, kind: type[F]) -> F:
        return self._known[kind]  # type: ignore[return-value]  # the key is the value's type

    def get(self, kind: type[F]) -> F | None:
        """The value of that type, or None."""
        return self._known.get(kind)  # type: ignore[return-value]  # the key is the value's type

    def __iter__(self) -> Iterator[object]:
        return iter(self._known.values())

    def without(self, kind: type) -> Facts:
        """These facts but for the one of that type."""
        return Facts(*(value for value in self if type(value) is not kind))

    def __contains__(self, kind: type) -> bool:
        return kind in self._known

    def plus(self, *values: object) -> Facts:
        """These facts and ``values`` too."""
        more: Facts = object.__new__(Facts)
        known = more._known = self._known.copy()
        for each in values:
            known[type(each)] = each
        return more

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facts) and self._known == other._known

    def __hash__(self) -> int:
        return hash(frozenset(self._known.values()))

    def __repr__(self) -> str:
        return f"Facts({', '.join(map(repr, self._known.values()))})"


@dataclass(frozen=True, slots=True)
class Link:
    """One connection to a backend, as a conversation knows it. ``number`` counts within its session."""

    number: int
    server: str
    host: str
    port: int


@value(frozen=True, slots=True)
class Named:
    """A persistence candidate that names its server outright (a cookie of ours, say)."""

    server: str


@dataclass(frozen=True, slots=True)
class Key:
    """A persistence candidate to be looked up: the kind of fact, and a *keyed digest* of it.

    Never the fact itself: tables, logs and dumps hold no credentials.
    """

    kind: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Persistence candidates of equal right: several of ``keys`` may be held, each for a server of its own.

    Where several of those servers can be used, the one wins to which the first of ``then`` leads that
    is known at all, else the one of the first key. A key that leads to a server which cannot be used
    stays as it is: what it stands for is that server's own, and nobody else could take it over.
    """

    keys: tuple[Key, ...]
    then: tuple[Named | Key, ...] = ()


# Where a client may be known.
Known: TypeAlias = Named | Key | AnyOf


@dataclass(frozen=True, slots=True)
class Claim:
    """The store's word on a key: the server that holds it, its version, whether this claim set it."""

    server: str
    version: int
    won: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A usable backend as a scheduling sees it.

    ``weight`` > 0 is the effective one (slow ramp included; relative to the other candidates),
    ``load`` >= 0 counts what it carries now (connections; for HTTP, requests in flight).
    """

    server: str
    weight: float = 1.0
    load: int = 0


class Persistence(enum.Enum):
    """How a choice came about, for the access log."""

    NONE = "none"
    HIT = "hit"
    NEW = "new"
    MOVED = "moved"


@value(frozen=True, slots=True)
class Choice:
    """The outcome of a pick: a backend, how it was found, and the lease that counts the link to come;
    no lease where ``reused`` names a link that the session has already."""

    backend: IBackend
    lease: ILease | None
    persistence: Persistence
    reused: Link | None = None


@dataclass(frozen=True, slots=True)
class Listening:
    """An address at which a service really listens: ``host`` "" is all of them, ``port`` the real one
    where the configuration says 0. ``backends`` are those of the pool behind it, as they are now: the
    service's own pool, not a route's; () where there is none."""

    host: str
    port: int
    backends: tuple[IBackend, ...]


@dataclass(frozen=True, slots=True)
class TLSOptions:
    """How to speak TLS as the client of a backend.

    ``verify``: ``system`` (the system's authorities), ``none``, or the path of a PEM file.
    ``server_name`` is sent as SNI and verified; None takes the server's configured host name,
    or its IP address for verification only.
    ``legacy`` allows TLS 1.0 and old ciphers (Exchange 2010 on Windows 2008 R2).
    ``fingerprints``: SHA-256 (32 bytes) of the certificates that may be shown, () for any; then
    ``verify="none"`` leaves the name and the authorities out of it.
    """

    verify: str = "system"
    server_name: str | None = None
    legacy: bool = False
    fingerprints: tuple[bytes, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether anything is asked of the server's certificate."""
        return self.verify != "none" or bool(self.fingerprints)


@dataclass(frozen=True, slots=True)
class ServerTLSOptions:
    """How to speak TLS with clients, apart from the certificates.

    ``profile``: ``intermediate``, ``modern`` or ``old`` (Mozilla's). ``client_authorities``: a PEM file;
    clients are asked for a certificate of theirs, which is verified, and ``client_required`` turns
    those without one away.
    """

    profile: str = "intermediate"
    client_authorities: str | None = None
    client_required: bool = False
