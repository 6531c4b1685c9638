"""Facts and keys as people may see them: never a credential, a cookie's value or a token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from exproxy.admin.explanation import KnownAs
from exproxy.model import (
    TLS,
    AnyOf,
    AssociationGroup,
    Destination,
    Facts,
    Key,
    Known,
    Named,
    Served,
    ServerCookie,
    Source,
    TLSSessionId,
    Together,
    User,
)
from exproxy.pool import Pool
from exproxy.rehearsing import Rehearsed

# Characters of one fact.
LONGEST = 200

_SHOWN: dict[type, Callable[[Any], str]] = {
    Source: lambda fact: fact.host,
    Destination: lambda fact: f"{fact.host}:{fact.listening}",
    TLS: lambda fact: f"{fact.version}{f', {fact.server_name}' if fact.server_name else ''}",
    User: lambda fact: fact.name,
    Served: lambda fact: fact.server,
    ServerCookie: lambda fact: fact.name.decode("latin-1"),
    AssociationGroup: lambda fact: f"{fact.number:#010x}",
    TLSSessionId: lambda fact: f"{len(fact.value)} bytes",
    Together: lambda fact: fact.kind,
}


def facts_shown(facts: Facts) -> dict[str, str]:
    """Each fact's type, and what may be shown of it. A fact of a protocol's own may say that itself, by a
    method ``shown() -> str``."""
    found = {}
    for fact in facts:
        show = _SHOWN.get(type(fact)) or getattr(type(fact), "shown", None)
        found[type(fact).__name__] = str(show(fact))[:LONGEST] if show is not None else ""
    return found


def known_as(pool: Pool, facts: Facts, found: Rehearsed) -> tuple[KnownAs, ...]:
    """By what the client may be known, best first, with what the table says of each."""
    rows: list[KnownAs] = []
    decided = False
    for candidate in pool.candidates_of(facts):
        for key, kind in _flat(candidate):
            made = _made_from(pool, facts, key)
            server = key.server if isinstance(key, Named) else _held(pool, key, found)
            # The first that leads to the server is what decided.
            decides = not decided and server is not None and server == found.server
            decides = decides and found.persistence is not None and found.persistence.value == "hit"
            decided = decided or decides
            text = None if isinstance(key, Named) else f"{key.kind}:{key.digest.hex()}"
            rows.append(KnownAs(kind, text, made, server, decides, _why(pool, server, decides)))
    return tuple(rows)


def _flat(candidate: Known) -> Sequence[tuple[Named | Key, str]]:
    if isinstance(candidate, AnyOf):
        return [
            *((key, key.kind) for key in candidate.keys),
            *(each for a in candidate.then for each in _flat(a)),
        ]
    return [(candidate, "named" if isinstance(candidate, Named) else candidate.kind)]


def _held(pool: Pool, key: Key, found: Rehearsed) -> str | None:
    """What the rehearsal has met; keys behind the one that decided were not asked for."""
    if key in found.found:
        return found.found[key]
    answer = pool.store.find(pool.table, (key,))
    if answer is None or not hasattr(answer, "server"):
        return None
    return answer.server


def _made_from(pool: Pool, facts: Facts, key: Named | Key) -> tuple[str, ...]:
    """The facts without which there would be no such candidate."""
    needed = []
    for fact in facts:
        try:
            left = [one for each in pool.candidates_of(facts.without(type(fact))) for one, _ in _flat(each)]
        except KeyError:
            left = []
        if key not in left:
            needed.append(type(fact).__name__)
    return tuple(needed)


def _why(pool: Pool, server: str | None, decides: bool) -> str:
    if server is None:
        return "not in the table"
    backend = pool.find(server)
    if backend is None:
        return f"{server} is no server of {pool.name}"
    if decides:
        return f"leads to {server}"
    if not backend.usable_for_known():
        return f"leads to {server}, which is not usable: {backend.state}"
    if not pool.may_stay(backend, ()):
        return f"leads to {server}, which is not usable in all services of its group"
    return f"leads to {server}" + (", which is full" if backend.full() else ", behind what decided")
