"""Why a client goes where it goes, for people: advances no scheduling and claims no key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from exproxy.errors import NoBackend
from exproxy.interfaces import IStore
from exproxy.model import Facts, Named

if TYPE_CHECKING:
    from exproxy.backend import Backend
    from exproxy.pool import Pool


def explain(pool: Pool, facts: Facts, store: IStore, table: str, now: float) -> dict[str, object]:
    """The persistence candidates, each backend with its state, and the order in which they stand."""
    try:
        usable = pool.usable()
        refused = None
    except NoBackend as error:
        usable, refused = [], error.reason
    candidates = {b.server: b.candidate(now, pool.slow_ramp) for b in usable}
    order = (
        [each.server for each in pool.scheduling.order(list(candidates.values()), facts)] if usable else []
    )
    return {
        "pool": pool.name,
        "persistence": [_candidate(each, store, table) for each in pool.persistence.candidates(facts)],
        "order": order,
        "refused": refused,
        "backends": [_backend(b, candidates.get(b.server)) for b in pool.backends],
    }


def _candidate(candidate: Any, store: IStore, table: str) -> dict[str, object]:
    if isinstance(candidate, Named):
        return {"named": candidate.server}
    claim = store.find(table, (candidate,))
    held = None if claim is None or isinstance(claim, Deferred) else claim.server
    return {"kind": candidate.kind, "digest": candidate.digest.hex(), "server": held}


def _backend(backend: Backend, candidate: Any) -> dict[str, object]:
    return {
        "server": backend.server,
        "state": backend.state,
        "operator": backend.operator,
        "usable": candidate is not None,
        "full": backend.full(),
        "weight": backend.weight,
        "effective_weight": round(candidate.weight, 3) if candidate is not None else 0,
        "links": backend.links,
        "load": backend.load,
        "limit": backend.limit,
        "backup": backend.backup,
    }
