"""The records of checks: a plugin, and the check that one configuration makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from zope.interface import implementer

from exproxy.interfaces import ICheck, ICheckPlugin, IConversation
from exproxy.plugins import NoOptions


@implementer(ICheck)
@dataclass(frozen=True)
class Check:
    """An ICheck: see there. ``conversation()`` makes a new one for each question."""

    conversation: Callable[[], IConversation]
    tls: str = "backend"
    layer: str = "L7"

    def dialogue(self) -> IConversation:
        """See ICheck."""
        return self.conversation()


@implementer(ICheckPlugin)
@dataclass(frozen=True)
class CheckPlugin:
    """An ICheckPlugin. ``make(options)`` gives an ICheck; ``options`` is the model of its argument."""

    name: str
    summary: str
    make: Callable[[Any], ICheck]
    options: type[BaseModel] = NoOptions

    def check(self, options: Any) -> ICheck:
        """See ICheckPlugin."""
        return self.make(options)
