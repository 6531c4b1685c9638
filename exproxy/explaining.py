"""Why a client goes where it goes, for people: advances no scheduling and claims no key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from exproxy.choosing import preferred
from exproxy.errors import NoBackend
from exproxy.model import AnyOf, Candidate, Facts, Key, Known, Named
from exproxy.rehearsing import rehearse

if TYPE_CHECKING:
    from exproxy.backend import Backend
    from exproxy.pool import Pool


def explain(pool: Pool, facts: Facts) -> dict[str, object]:
    """The persistence candidates, each backend with its state, the order in which they stand for a new
    client, and ``server``: who would have this one now (None: refused, or the store is not here)."""
    refused = None
    order: list[str] = []
    candidates: dict[str, Candidate] = {}
    try:
        made, _ = pool.candidates(pool.usable())
        candidates = {each.server: each for each in made}
        order = [each.server for each in pool.preferred(facts)]
    except NoBackend as error:
        refused = error.reason
    known = [_candidate(each, pool) for each in pool.candidates_of(facts)]
    return {
        "pool": pool.name,
        "persistence": known,
        "order": order,
        "server": _server(pool, facts, order),
        "refused": refused,
        "backends": [_backend(b, candidates.get(b.server)) for b in pool.backends],
    }


def _server(pool: Pool, facts: Facts, order: list[str]) -> str | None:
    """Who would have this client; where the store answers late, as if it knew nothing."""
    rehearsed = rehearse(pool, facts)
    if isinstance(rehearsed, Deferred):
        rehearsed.addErrback(lambda failure: None)
        rehearsed.cancel()
        return next(iter(order), None)
    return rehearsed.server


def _candidate(candidate: Known, pool: Pool) -> dict[str, object]:
    if isinstance(candidate, AnyOf):
        return _any_of(candidate, pool)
    if isinstance(candidate, Named):
        return {
            "named": candidate.server,
            "server": candidate.server,
            "stays": _stays(candidate.server, pool),
        }
    claim = pool.store.find(pool.table, (candidate,))
    if isinstance(claim, Deferred):
        claim.addErrback(lambda failure: None)
        claim.cancel()
        claim = None
    server = claim.server if claim is not None else None
    return {
        "kind": candidate.kind,
        "digest": candidate.digest.hex(),
        "server": server,
        "stays": _stays(server, pool),
    }


def _any_of(candidate: AnyOf, pool: Pool) -> dict[str, object]:
    """Each of its keys, what is to decide between them, and the server that it does for."""
    keys = [_candidate(key, pool) for key in candidate.keys]
    then = [_candidate(each, pool) for each in candidate.then]
    known: dict[str, Key] = {}
    for key, found in zip(candidate.keys, keys, strict=True):
        if isinstance(found["server"], str) and _serves(found["server"], pool):
            known.setdefault(found["server"], key)
    led = next((each["server"] for each in then if each["server"] is not None), None)
    server = preferred(known, str(led)) if known else None
    return {"any_of": keys, "then": then, "server": server, "stays": _stays(server, pool)}


def _serves(server: str, pool: Pool) -> bool:
    backend = pool.find(server)
    return backend is not None and pool.may_stay(backend, ())


def _stays(server: str | None, pool: Pool) -> bool:
    backend = pool.find(server) if server is not None else None
    return backend is not None and pool.may_stay(backend, ()) and not backend.full()


def _backend(backend: Backend, candidate: Candidate | None) -> dict[str, Any]:
    return {
        "server": backend.server,
        "state": backend.state,
        "operator": backend.operator,
        "usable": candidate is not None,
        "why": _why(backend, candidate),
        "full": backend.full(),
        "weight": backend.weight,
        "effective_weight": round(candidate.weight, 3) if candidate is not None else 0,
        "links": backend.links,
        "load": backend.load,
        "limit": backend.limit,
        "backup": backend.backup,
    }


def _why(backend: Backend, candidate: Candidate | None) -> str:
    if candidate is not None:
        return "usable" if candidate.weight >= backend.weight else "usable, in its slow ramp"
    if not backend.usable_for_new():
        return "its weight is 0" if backend.state.startswith("UP") and not backend.weight else backend.state
    return f"full ({backend.links} of {backend.limit})" if backend.full() else "a backup, not needed"
