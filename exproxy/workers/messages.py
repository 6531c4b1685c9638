"""What the supervisor and its workers say to each other: frozen values, in the order of a worker's life.

Names of pools are those of :func:`exproxy.workers.standing.by_name`. Times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from exproxy.model import Claim, Key

# -- beginning ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """The first word of both ends. ``version``: what they speak; who hears another one hangs up."""

    version: str


@dataclass(frozen=True, slots=True)
class Socket:
    """An inherited listening socket: the service, which of its addresses, and the descriptor."""

    service: str
    listen: int
    number: int


@dataclass(frozen=True, slots=True)
class Prepare:
    """To a process: what to carry as one of ``count`` workers, and on which sockets; it makes everything
    ready. ``written`` is the configuration as the supervisor read it (of config.load), ``secret`` what
    cookies and digests are made with, ``access_log`` the open log's descriptor or -1."""

    count: int
    written: bytes
    secret: tuple[bytes, ...] = field(repr=False)
    sockets: tuple[Socket, ...]
    access_log: int


@dataclass(frozen=True, slots=True)
class Begin:
    """To a process that is prepared: be that worker. How the servers stand follows, and then Serve."""

    number: int


@dataclass(frozen=True, slots=True)
class Serve:
    """To a worker: everything that it has to know was said; accept."""


@dataclass(frozen=True, slots=True)
class Ready:
    """From a worker: it accepts."""


@dataclass(frozen=True, slots=True)
class Refused:
    """From a worker: it cannot start with this configuration; the text is for the administrator."""

    text: str


# -- servers -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """How a server stands in a pool. ``ramped``: since when its slow ramp is on; None: it is not.
    ``leaving``: with drain, those go elsewhere too that are bound to it."""

    pool: str
    server: str
    host: str | None
    port: int
    up: bool
    draining: bool
    asked: bool
    operator: str
    ramped: float | None = None
    leaving: bool = False
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Standings:
    """To the workers: servers that have changed, or all of them at a worker's start."""

    servers: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """From a worker: a client met a server that did not answer as it should."""

    pool: str
    server: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """From a worker: a client's connection has learnt the port of a server."""

    pool: str
    server: str
    port: int


@dataclass(frozen=True, slots=True)
class Sever:
    """To the workers: end every link to that server now."""

    pool: str
    server: str
    reason: str


@dataclass(frozen=True, slots=True)
class Empty:
    """To the workers: ask the clients of that server to leave it within so many seconds."""

    pool: str
    server: str
    until: float


# -- persistence -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's server. ``left``: how long it lives unless it is used or held."""

    key: Key
    server: str
    version: int
    ttl: float
    left: float


@dataclass(frozen=True, slots=True)
class Ask:
    """From a worker to the owner of the store: find, claim, move or delete (IStore)."""

    number: int
    deed: str
    group: str
    keys: tuple[Key, ...] | None
    server: str | None = None
    ttl: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The owner's word; ``entries`` are those of the keys asked for that it holds now."""

    number: int
    claim: Claim | None
    count: int
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Bound:
    """To the replicas: these are held now, as said here."""

    group: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Freed:
    """To the replicas: these are held no more."""

    group: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Used:
    """From a worker: keys that its clients came by since it last said so, and the servers they led to."""

    group: str
    keys: tuple[Key, ...]
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """From a worker: keys that its links hold from now on, and those that none of them holds any more."""

    group: str
    held: tuple[Key, ...]
    let_go: tuple[Key, ...]


# -- limits ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Want:
    """From a worker: its places of ``what`` are used up, or nearly."""

    what: str


@dataclass(frozen=True, slots=True)
class Lent:
    """To a worker: so many places more; 0: there are none, you will be told when one comes back."""

    what: str
    places: int


@dataclass(frozen=True, slots=True)
class Scarce:
    """To a worker: others wait for places of ``what``; give back what you do not use (Give with ``called``),
    and each one as it becomes free. Not ``scarce``: keep some again."""

    what: str
    scarce: bool


@dataclass(frozen=True, slots=True)
class Give:
    """From a worker: it gives places back; ``called``: because of Scarce, and it says so even for 0."""

    what: str
    places: int
    called: bool = False


# -- what is seen a little later ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loads:
    """From a worker: what its links carry, by ``pool/server``, where it changed. To a worker: what the others
    carry together."""

    loads: dict[str, int]


@dataclass(frozen=True, slots=True)
class Sources:
    """From a worker: how many connections clients' addresses have, and how often they came since the last
    word, both by service and address. To a worker: the same of all others together."""

    counts: dict[str, dict[str, int]]
    came: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Report:
    """From a worker: plain values about itself; see exproxy.workers.reports."""

    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """From a worker: a line of its log. ``level`` as in twisted.logger; ``traceback`` "" for none."""

    level: str
    namespace: str
    text: str
    traceback: str


# -- operating ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reopen:
    """To a worker: open the access log again, and read the certificates."""


@dataclass(frozen=True, slots=True)
class Reread:
    """To a worker: the certificates' files have changed."""


@dataclass(frozen=True, slots=True)
class Stop:
    """To a worker: let nobody in any more, wait for those who are there up to ``timeouts.grace``, and end."""


@dataclass(frozen=True, slots=True)
class Cut:
    """To a worker: drop every connection now."""

    reason: str


Message: TypeAlias = (
    Hello
    | Prepare
    | Begin
    | Serve
    | Ready
    | Refused
    | Standings
    | Failed
    | Found
    | Sever
    | Empty
    | Ask
    | Answer
    | Bound
    | Freed
    | Used
    | Held
    | Want
    | Lent
    | Scarce
    | Give
    | Loads
    | Sources
    | Report
    | Said
    | Reopen
    | Reread
    | Stop
    | Cut
)
