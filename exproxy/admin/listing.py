"""Sessions, persistence entries and certificates, found and listed."""

from __future__ import annotations

import datetime
import hashlib
import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred

from exproxy.admin.explain import Explainer
from exproxy.admin.moments import Day, rfc3339
from exproxy.admin.plane import Refused, Unknown
from exproxy.admin.rows import CertificateRow, EntryRow, SessionRow
from exproxy.build import Built
from exproxy.model import AnyOf, Key, Known
from exproxy.pool import Pool
from exproxy.question import Client
from exproxy.settings import Networks, parse_network
from exproxy.store.memory import IBoundedStore
from exproxy.tls.material import names_of

if TYPE_CHECKING:
    from exproxy.virtual import Present

# Rows of one answer.
MOST = 10_000
# Of the access log's fields those that never hold a secret, and characters of each.
FIELDS = ("user", "login", "mechanism", "method", "host", "path", "route", "server_name", "association")
LONGEST = 200


def bounded(limit: int) -> int:
    """The limit, 1 to MOST; Refused otherwise."""
    if not 1 <= limit <= MOST:
        raise Refused(f"a limit is 1 to {MOST}, {limit} is not")
    return limit


# -- sessions --------------------------------------------------------------------------------


class Sessions:
    """The client connections of one process. ``worker``: its number."""

    def __init__(self, built: Callable[[], Sequence[Built]], day: Day, worker: int = 1) -> None:
        self._built = built
        self._day = day
        self._worker = worker

    def rows(
        self, service: str | None, server: str | None, client: str | None, limit: int
    ) -> list[SessionRow]:
        """See IPlane."""
        found = self._fitting(service, server, client)
        return [self._row(each) for each in itertools.islice(found, bounded(limit))]

    def find(self, session_id: str) -> Present | None:
        """The session of that id; None where it is gone. Raises Refused for what is no id."""
        worker, dash, number = session_id.partition("-")
        if not dash or not worker.isdecimal() or not number.isdecimal():
            raise Refused(f"{session_id!r} is no session id; they look like 1-42")
        if int(worker) != self._worker:
            return None
        wanted = int(number)
        return next((each for each in self._all() if each.number == wanted), None)

    def chosen(self, service: str | None, server: str | None, client: str | None) -> list[Present]:
        """Those that fit; Refused where nothing was given to choose by."""
        if service is None and server is None and client is None:
            raise Refused("name a service, a server or a client: all at once is what a stop is for")
        return list(self._fitting(service, server, client))

    def _all(self) -> Iterator[Present]:
        for one in self._built():
            yield from list(one.service.sessions)

    def _fitting(self, service: str | None, server: str | None, client: str | None) -> Iterator[Present]:
        networks = _networks(client)
        known = [one.service.name for one in self._built()]
        if service is not None and service not in known:
            raise Unknown(f"there is no service {service!r}; there are {', '.join(known)}")
        # Each service has its own in the order of their numbers.
        parts = [list(one.service.sessions) for one in self._built()]
        for each in heapq.merge(*parts, key=lambda session: session.number):
            if service is not None and each.service.name != service:
                continue
            if networks is not None and each.record.peer.host not in networks:
                continue
            if server is not None and server not in _servers(each):
                continue
            yield each

    def _row(self, session: Present) -> SessionRow:
        record, local, tls = session.record, session.local, session.tls
        received, sent = session.moved
        age = session.service.clock.seconds() - session.began
        return SessionRow(
            id=f"{self._worker}-{session.number}",
            service=session.service.name,
            client=f"{record.peer.host}:{record.peer.port}",
            local=f"{local.host}:{local.port}",
            began=self._day.text(session.began),
            age=round(age, 3),
            state=session.state,
            servers=_servers(session),
            backends=tuple(backend.name for backend in session.backends),
            tls=tls.version if tls is not None else None,
            bytes_in=received,
            bytes_out=sent,
            requests=record.written,
            fields={
                name: value[:LONGEST] if isinstance(value, str) else value
                for name in FIELDS
                if (value := record.fields.get(name)) is not None
            },
        )


def _servers(session: Present) -> tuple[str, ...]:
    return tuple(dict.fromkeys(backend.server for backend in session.backends))


def _networks(client: str | None) -> Networks | None:
    if client is None:
        return None
    try:
        return Networks([parse_network(client)])
    except ValueError as error:
        raise Refused(str(error)) from None


# -- persistence entries ---------------------------------------------------------------------


class Entries:
    """The tables of one process. A key is written "KIND:HEX"."""

    def __init__(
        self, built: Callable[[], Sequence[Built]], store: Callable[[], IBoundedStore], explainer: Explainer
    ) -> None:
        self._built = built
        self._store = store
        self._explainer = explainer

    def rows(
        self,
        group: str,
        server: str | None,
        key: str | None,
        client: str | None,
        user: str | None,
        limit: int,
    ) -> list[EntryRow]:
        """See IPlane."""
        found = self._fitting(group, server, key, client, user)
        return list(itertools.islice(found, bounded(limit)))

    def delete(
        self, group: str, server: str | None, key: str | None, client: str | None, user: str | None
    ) -> int | Deferred[int]:
        """See IPlane."""
        self._by_something(server, key, client, user)
        keys = [parsed(each.key) for each in self._fitting(group, server, key, client, user)]
        return self._store().delete(group, keys)

    def move(
        self,
        group: str,
        to: str,
        server: str | None,
        key: str | None,
        client: str | None,
        user: str | None,
    ) -> int:
        """See IPlane."""
        self._by_something(server, key, client, user)
        pools = self._pools(group)
        if not any(pool.find(to) for _, pool in pools):
            known = dict.fromkeys(backend.server for _, pool in pools for backend in pool.backends)
            raise Unknown(f"{group} has no server {to!r}; there are {', '.join(known)}")
        rows = list(self._fitting(group, server, key, client, user))
        for each in rows:
            self._store().move(group, (parsed(each.key),), to, each.ttl)
        return len(rows)

    def _fitting(
        self, group: str, server: str | None, key: str | None, client: str | None, user: str | None
    ) -> Iterator[EntryRow]:
        pools = self._pools(group)
        wanted = None if key is None else {parsed(key)}
        if client is not None or user is not None:
            made = self._keys(pools, client or "", user or "")
            wanted = made if wanted is None else wanted & made
        for each, listed in self._store().entries(group, server):
            if wanted is None or each in wanted:
                left = None if listed.left is None else round(listed.left, 3)
                yield EntryRow(written(each), listed.server, listed.holds, left, listed.ttl)

    def _keys(self, pools: Sequence[tuple[Built, Pool]], client: str, user: str) -> set[Key]:
        """By which such a client may be known in these pools."""
        found: set[Key] = set()
        for one, pool in pools:
            asked = self._explainer.asked(one, Client(source=client, user=user))
            for candidate in pool.candidates_of(asked.facts):
                found.update(keys_in(candidate))
        return found

    def _pools(self, group: str) -> list[tuple[Built, Pool]]:
        pools = [(one, pool) for one in self._built() for pool, _ in one.pools]
        found = [(one, pool) for one, pool in pools if pool.table == group]
        if not found:
            known = dict.fromkeys(pool.table for _, pool in pools)
            raise Unknown(f"there is no table {group!r}; there are {', '.join(known)}")
        return found

    def _by_something(self, *given: str | None) -> None:
        if not any(given):
            raise Refused("name a server, a key, a client or a user: nobody forgets everything by mistake")


def keys_in(candidate: Known) -> tuple[Key, ...]:
    """The keys of one candidate of a persistence."""
    if isinstance(candidate, AnyOf):
        return (*candidate.keys, *(each for each in candidate.then if isinstance(each, Key)))
    return (candidate,) if isinstance(candidate, Key) else ()


def written(key: Key) -> str:
    """``source:0a1b…``."""
    return f"{key.kind}:{key.digest.hex()}"


def parsed(text: str) -> Key:
    """The key that is written so; Refused where it is none."""
    kind, colon, digits = text.rpartition(":")
    try:
        if not colon or not kind:
            raise ValueError
        return Key(kind, bytes.fromhex(digits))
    except ValueError:
        raise Refused(f"{text!r:.100} is no key; they look like source:0a1b2c…") from None


# -- certificates -------------------------------------------------------------


def certificates(built: Sequence[Built]) -> list[CertificateRow]:
    """See IPlane."""
    now = datetime.datetime.now(datetime.timezone.utc)
    rows = []
    for one in built:
        tls = one.service.server_tls
        if tls is None:
            continue
        for files, each in zip(tls.files, tls.certificates, strict=True):
            left = each.not_valid_after_utc - now
            key: Any = each.public_key()
            size = getattr(key, "key_size", None)
            rows.append(
                CertificateRow(
                    one.service.name,
                    str(files.cert),
                    each.subject.rfc4514_string(),
                    each.issuer.rfc4514_string(),
                    names_of(each),
                    rfc3339(each.not_valid_before_utc.timestamp()),
                    rfc3339(each.not_valid_after_utc.timestamp()),
                    round(left.total_seconds() / 86400, 2),
                    hashlib.sha256(each.public_bytes(Encoding.DER)).hexdigest(),
                    f"{type(key).__name__.removesuffix('PublicKey').lstrip('_')} {size or ''}".strip(),
                )
            )
    return rows
