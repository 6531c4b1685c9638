"""The backend connections of one client, as its conversation knows them between two requests."""

from __future__ import annotations

from exproxy.actions import Action, Close, Idle, Pin, SetDeadline
from exproxy.model import BACKEND, Facts, Link, Served


class Upstream:
    """Links that may serve again, each until its deadline, and the one that a log-in is bound to.

    ``first``: the server of the earlier requests that took no route, () where there were none.
    """

    __slots__ = ("_by_deadline", "_resting", "_served", "first", "pinned")

    def __init__(self) -> None:
        self._by_deadline: dict[str, Link] = {}
        self._served: dict[str | None, Served] = {}
        self.first: tuple[Served, ...] = ()
        # What is asked for when a link rests: the same each time.
        self._resting: dict[int, tuple[float, list[Action]]] = {}
        self.pinned: Link | None = None

    def known(self, facts: Facts, target: str | None = None) -> Facts:
        """The facts of a request, with the server of the earlier ones of its target (a route)."""
        served = self._served.get(target)
        return facts if served is None else facts.plus(served)

    def serves(self, link: Link, target: str | None = None) -> None:
        """That link has a request of that target."""
        served = self._served.get(target)
        if served is None or served.server != link.server:
            self._served[target] = Served(link.server)
            if target is None:
                self.first = (self._served[None],)

    def pin(self, link: Link) -> Pin:
        """All that follows goes over this link."""
        self.pinned = link
        return Pin(link)

    def rest(self, link: Link, seconds: float) -> list[Action]:
        """A link without a request, for so long at most; a later request need not take this back."""
        resting = self._resting.get(link.number)
        if resting is None or resting[0] != seconds:
            name = f"link-{link.number}"
            self._by_deadline[name] = link
            resting = self._resting[link.number] = (seconds, [Idle(link), SetDeadline(name, seconds)])
        return resting[1]

    def rested(self, name: str) -> Link | None:
        """The link that this deadline is for, or None where it is gone already."""
        return self._by_deadline.get(name)

    def forget(self, link: Link) -> None:
        """That link is gone."""
        self._by_deadline.pop(f"link-{link.number}", None)
        self._resting.pop(link.number, None)

    def drop(self, link: Link) -> list[Action]:
        """Close a link that is of no use any more."""
        self.forget(link)
        return [Close(BACKEND, link=link)]
