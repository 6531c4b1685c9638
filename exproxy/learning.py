"""Keys that are seen only after the choice: bound to the server that the client is with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from exproxy.interfaces import ILease
from exproxy.model import Claim, Facts, Key, Served, User
from exproxy.persistence.fallback import learners

if TYPE_CHECKING:
    from exproxy.pool import Pool


def learn(pool: Pool, facts: Facts, observation: object, server: str, lease: ILease | None) -> None:
    """Bind what the pool's strategy sees in ``observation`` to ``server``; ``lease`` holds it."""
    facts = facts.plus(Served(server))
    # A person whose name came after the choice is bound here where nothing bound it before; where it
    # belongs elsewhere this connection stays, and so does the binding.
    bind = pool.store.claim if isinstance(observation, User) else pool.store.move
    for learner in learners(pool.persistence):
        keys = learner.observe(facts, observation)
        if keys:
            ttl = pool.ttl if learner.lifetime is None else learner.lifetime
            _learnt(pool, bind(pool.table, keys, server, ttl), keys, server, lease)


def _learnt(
    pool: Pool, answer: Claim | Deferred[Claim], keys: tuple[Key, ...], server: str, lease: ILease | None
) -> None:
    def bound(claim: Claim) -> None:
        pool.disagreed += claim.server != server
        pool.hold(lease, keys)

    if isinstance(answer, Deferred):
        # What is not in the table yet cannot be held.
        answer.addCallbacks(bound, lambda failure: None)
    else:
        bound(answer)
