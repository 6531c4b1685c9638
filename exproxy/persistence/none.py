"""Persistence ``none``: every connection is a new client."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from exproxy.interfaces import IKeys, IPersistence, IPersistencePlugin
from exproxy.model import Facts, Key, Named
from exproxy.plugins import NoOptions


@implementer(IPersistence)
class NoPersistence:
    """Knows nobody."""

    def candidates(self, facts: Facts) -> tuple[Named | Key, ...]:
        """See IPersistence."""
        return ()

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        """See IPersistence."""
        return ()


@implementer(IPersistencePlugin)
class _Plugin:
    name = "none"
    summary = "every connection is scheduled anew"
    options = NoOptions
    needs: tuple[type, ...] = ()
    uses: tuple[type, ...] = ()

    def strategy(self, options: Any, keys: IKeys) -> IPersistence:
        """See IPersistencePlugin."""
        return NoPersistence()


plugin = _Plugin()
