"""Public doubles and checks for plugin authors: no reactor, no socket, no sleeping.

* :class:`Script` plays events to a conversation: ``script.on(Began(facts())) == [Pick(facts())]``,
* :func:`service`, :func:`facts`, :func:`link`, :func:`keys` and :class:`FakeWire` are what it meets,
* :func:`every_split` cuts bytes at every point, since a network may,
* :func:`check_protocol_plugin`, :func:`check_persistence`, :func:`check_scheduling` and
  :func:`check_check_plugin` hold a plugin to what the framework counts on. Each raises
  AssertionError with the reason.

They work under ``unittest``, ``trial`` and ``pytest`` alike.
"""

from __future__ import annotations

from exproxy.testing.contracts import (
    check_check_plugin,
    check_persistence,
    check_protocol_plugin,
    check_scheduling,
)
from exproxy.testing.keys import FakeKeys, keys
from exproxy.testing.script import Script
from exproxy.testing.service import FakeService, service
from exproxy.testing.splits import every_split
from exproxy.testing.values import facts, link
from exproxy.testing.wires import FakeWire, FakeWireUser

__all__ = [
    "FakeKeys",
    "FakeService",
    "FakeWire",
    "FakeWireUser",
    "Script",
    "check_check_plugin",
    "check_persistence",
    "check_protocol_plugin",
    "check_scheduling",
    "every_split",
    "facts",
    "keys",
    "link",
    "service",
]
