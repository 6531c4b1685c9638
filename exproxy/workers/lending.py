"""Limits that hold over all workers: the owner lends places, and never more than there are.

A worker keeps a few that it does not use, so that most choices need no question. Where one has none left
and none are free, all others give back what they do not use, and from then on each place as soon as it is
free, until there are enough again: a client is refused only where every place is really taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from exproxy.workers.messages import Give, Lent, Scarce, Want
from exproxy.workers.owner import Worker

# A worker keeps up to this part of its even share without using it, and gives back what is above twice that.
SHARE = 8

Send: TypeAlias = Callable[[Worker, "Lent | Scarce"], None]


def kept(limit: int, workers: int) -> int:
    """How many unused places each of so many workers may keep."""
    return max(1, limit // (SHARE * max(1, workers)))


@dataclass(slots=True)
class _Limit:
    """One limit. ``hungry``: workers that wait for a place, and whether they were told that there is none.
    ``called``: those who have yet to say what they give back."""

    places: int
    lent: dict[Worker, int] = field(default_factory=dict)
    hungry: dict[Worker, bool] = field(default_factory=dict)
    called: set[Worker] = field(default_factory=set)
    scarce: bool = False

    @property
    def free(self) -> int:
        return self.places - sum(self.lent.values())


class Lending:
    """The owner's side. ``what`` names a limit: ``pool/server``, or ``service`` for its connections."""

    def __init__(self, workers: int, send: Send) -> None:
        self._workers = workers
        self._send = send
        self._limits: dict[str, _Limit] = {}

    def __repr__(self) -> str:
        return f"<Lending of {len(self._limits)} limits to {self._workers} workers>"

    def limit(self, what: str, places: int) -> None:
        """There is such a limit, or it is another one now; what is lent above a lower one comes back as it
        becomes free."""
        known = self._limits.setdefault(what, _Limit(places))
        known.places = places
        if known.free < 0:
            self._call(what, known, but=None)
        self._feed(what, known)

    def lent(self, what: str) -> int:
        """How many places of it all workers have."""
        return sum(self._limits[what].lent.values())

    def want(self, worker: Worker, want: Want) -> None:
        """A worker has none left, or nearly."""
        limit = self._limits.get(want.what)
        if limit is None:
            return
        if limit.free > 0 and not limit.hungry:
            most = 1 if limit.scarce else kept(limit.places, self._workers)
            self._lend(want.what, limit, worker, min(limit.free, most))
            return
        # In its old place, if it waits already; it is to be answered again.
        limit.hungry[worker] = False
        # Again, though it was scarce before: somebody may have been lent one since and not used it.
        self._call(want.what, limit, but=worker)
        self._feed(want.what, limit)

    def give(self, worker: Worker, give: Give) -> None:
        """A worker gives places back."""
        limit = self._limits.get(give.what)
        if limit is None:
            return
        limit.lent[worker] = max(0, limit.lent.get(worker, 0) - give.places)
        if give.called:
            limit.called.discard(worker)
        self._feed(give.what, limit)

    def gone(self, worker: Worker) -> None:
        """A worker is no more: all of its places are free."""
        for what, limit in self._limits.items():
            limit.lent.pop(worker, None)
            limit.hungry.pop(worker, None)
            limit.called.discard(worker)
            self._feed(what, limit)

    def _call(self, what: str, limit: _Limit, but: Worker | None) -> None:
        """Have all others give back what they do not use."""
        limit.scarce = True
        for worker in [one for one in limit.lent if one != but and one not in limit.called]:
            limit.called.add(worker)
            self._send(worker, Scarce(what, True))

    def _lend(self, what: str, limit: _Limit, worker: Worker, places: int) -> None:
        if worker not in limit.lent and limit.scarce:
            self._send(worker, Scarce(what, True))
        limit.lent[worker] = limit.lent.get(worker, 0) + places
        self._send(worker, Lent(what, places))

    def _feed(self, what: str, limit: _Limit) -> None:
        """Give those who wait what is free, the first first; who cannot be given any is told so, once."""
        while limit.hungry and limit.free > 0:
            first = next(iter(limit.hungry))
            told = limit.hungry.pop(first)
            self._lend(what, limit, first, 1)
            if told and limit.hungry and first not in limit.called:
                # Whoever waited there may have gone meanwhile: the next is not refused before that is known.
                limit.called.add(first)
                self._send(first, Scarce(what, True))
        if limit.called:
            return
        for worker, told in limit.hungry.items():
            if not told:
                limit.hungry[worker] = True
                self._send(worker, Lent(what, 0))
        if limit.scarce and not limit.hungry and limit.free >= max(1, limit.places // 4):
            limit.scarce = False
            for worker in list(limit.lent):
                self._send(worker, Scarce(what, False))
