"""The numbers that every layer obeys: waits, limits, socket options, health timing, networks.

Frozen values of layer 0. The configuration file spells them in kebab-case and with units
(``request-head: 10s``, ``max-held: 64k``); here seconds are floats and sizes are bytes. Each
field's ``metadata["help"]`` is what the JSON Schema and the documentation say of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# Fresh connects after the first one failed, each on another server.
RETRIES = 3
# Seconds over which a server that comes back is brought to its full share; 0 is at once.
SLOW_RAMP = 0.0
# Seconds for which the address of a server named by host name is believed where DNS says nothing.
NAME_TTL = 60.0


def _help(text: str) -> Mapping[str, str]:
    return {"help": text}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each wait may last: seconds, all of them greater than 0.

    Each guards against one kind of silence; what happens at its end is said in its help text.
    """

    connect: float = field(
        default=5.0, metadata=_help("Reaching a backend (TCP); then the next server is tried.")
    )
    greeting: float = field(
        default=10.0,
        metadata=_help("The backend's first line in SMTP, IMAP and POP; then the next server is tried."),
    )
    tls_handshake: float = field(
        default=10.0, metadata=_help("One TLS handshake, on either side; then the connection is dropped.")
    )
    client_hello: float = field(
        default=10.0, metadata=_help("The client's ClientHello on a pass-through TLS port.")
    )
    proxy_header: float = field(
        default=3.0, metadata=_help("The PROXY protocol header of a connection from a trusted proxy.")
    )
    request_head: float = field(
        default=10.0,
        metadata=_help("A whole HTTP request head, from its first byte: guards against slowloris."),
    )
    request_body: float = field(
        default=30.0,
        metadata=_help(
            "In each of these spans an HTTP request body must have brought `limits.body-rate` bytes a second "
            "since its begin; else 408. Not for the channels of RPC over HTTP."
        ),
    )
    rts: float = field(
        default=5.0,
        metadata=_help(
            "The first packet of an RPC over HTTP channel, by which its server is chosen; then without it."
        ),
    )
    first_pdu: float = field(
        default=10.0, metadata=_help("The client's first RPC packet (its bind), from the accept.")
    )
    auth: float = field(
        default=60.0,
        metadata=_help(
            "From the connection's begin until the client has logged in (in SMTP: or begun a mail)."
        ),
    )
    keep_alive: float = field(
        default=60.0, metadata=_help("Between two requests of one HTTP client connection.")
    )
    backend_keep_alive: float = field(
        default=60.0, metadata=_help("A backend connection without a request, while its client stays.")
    )
    answer: float = field(
        default=1000.0,
        metadata=_help(
            "From a whole HTTP request to the answer's head; ActiveSync Ping waits up to 15 minutes."
        ),
    )
    idle: float = field(default=660.0, metadata=_help("Silence in both directions of a relayed connection."))
    tunnel: float = field(
        default=3600.0,
        metadata=_help("Silence in both directions of an upgraded or tunnelled HTTP connection."),
    )
    grace: float = field(
        default=30.0,
        metadata=_help("How long a stop or a reload waits for connections to end by themselves."),
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of anything is allowed: counts of connections, and bytes, all of them at least 1 but for
    ``per_source_rate``.

    Each bounds what one client, or all together, can make exproxy keep in memory.
    """

    connections: int = field(
        default=20000,
        metadata=_help("Client connections of this service; more wait in the system's queue until one ends."),
    )
    per_source: int = field(
        default=1000, metadata=_help("Client connections of this service from one source address.")
    )
    per_source_rate: int = field(
        default=0,
        metadata=_help("New client connections of this service a minute from one source address; 0: any."),
    )
    links_per_client: int = field(
        default=4, metadata=_help("Backend connections that one client connection may have open at a time.")
    )
    max_held: int = field(
        default=64 * 1024,
        metadata=_help("Bytes kept back for one side while a server is chosen; then that side is not read."),
    )
    head: int = field(default=64 * 1024, metadata=_help("Bytes of an HTTP request or answer head."))
    pdu: int = field(default=64 * 1024, metadata=_help("Bytes of one RPC packet."))
    reassembly: int = field(
        default=4 * 1024 * 1024, metadata=_help("Bytes of one RPC call put together from its fragments.")
    )
    body: int = field(
        default=4 * 1024**3,
        metadata=_help(
            "Bytes of one HTTP request body, more is answered 413; RPC over HTTP has no end and is exempt."
        ),
    )
    body_rate: int = field(
        default=500,
        metadata=_help("Bytes a second that an HTTP request body must bring; see `timeouts.request-body`."),
    )
    line: int = field(default=8 * 1024, metadata=_help("Bytes of one line in SMTP, IMAP and POP."))
    retry_buffer: int = field(
        default=16 * 1024, metadata=_help("Bytes of a request body kept so that it can be sent once more.")
    )


@dataclass(frozen=True, slots=True)
class TcpOptions:
    """Options of every TCP socket of a service, both sides; seconds, 0 leaves it to the system."""

    keepalive: float = field(
        default=60.0, metadata=_help("Silence after which TCP asks whether the other end is there; 0: never.")
    )
    user_timeout: float = field(
        default=30.0,
        metadata=_help("How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT); 0: the system's."),
    )


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """When a server is asked, and what turns it UP or DOWN.

    ``interval`` and ``timeout`` are seconds, ``timeout`` <= ``interval``; ``rise`` and ``fall``
    count consecutive answers, both at least 1.
    """

    interval: float = field(default=5.0, metadata=_help("From the begin of one check to the next."))
    timeout: float = field(default=3.0, metadata=_help("One whole check, its connect included."))
    rise: int = field(default=2, metadata=_help("Good answers in a row that bring a server UP."))
    fall: int = field(default=3, metadata=_help("Bad answers in a row that take a server DOWN."))


@dataclass(frozen=True, slots=True)
class WhenFull:
    """What to do where every usable server has reached its ``limit``.

    ``next``: a client's bound server being full, take another one for this connection; all full:
    refuse. ``wait``: up to ``seconds`` for a free place, then refuse. ``refuse``: at once.
    ``seconds`` is 0 but for ``wait``.
    """

    policy: Literal["next", "wait", "refuse"] = "next"
    seconds: float = 0.0


class Networks:
    """An immutable set of IP networks: ``"192.0.2.1" in networks``.

    An address written v4-mapped (``::ffff:192.0.2.1``) counts as the IPv4 one, a scope
    (``fe80::1%eth0``) does not matter, and what is no address is in no network. Answers are
    remembered (a bounded number of them), since the same few addresses are asked for again.
    """

    __slots__ = ("_known", "_networks")

    _REMEMBERED = 4096

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks: tuple[Network, ...] = tuple(networks)
        self._known: dict[str, bool] = {}

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Networks:
        """Networks from ``192.0.2.0/24``, ``2001:db8::/32`` or single addresses.

        Raises ValueError, its text fit for an administrator, at the first that is neither.
        """
        return cls(parse_network(text) for text in texts)

    def __contains__(self, host: str) -> bool:
        known = self._known.get(host)
        if known is None:
            known = self._look(host)
            if len(self._known) >= self._REMEMBERED:
                self._known.clear()
            self._known[host] = known
        return known

    def _look(self, host: str) -> bool:
        if not self._networks:
            return False
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    def __iter__(self) -> Iterator[Network]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Networks) and self._networks == other._networks

    def __hash__(self) -> int:
        return hash(self._networks)

    def __repr__(self) -> str:
        return f"Networks({', '.join(map(str, self._networks))})"


def parse_network(text: str) -> Network:
    """The network that ``text`` means; raises ValueError with a text for an administrator."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        loose = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is no IP address or network, like 192.0.2.0/24 or 2001:db8::/32"
        ) from None
    raise ValueError(f"{text!r} has bits set behind its mask; did you mean '{loose}'?")
