"""A plugin that is only a name until somebody wants it: what ``twisted/plugins/*.py`` are made of.

Apart from :mod:`exproxy.plugins`, which needs pydantic, so that ``twistd`` for something else
does not pay for us.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any

from twisted.plugin import IPlugin
from zope.interface import directlyProvides
from zope.interface.interface import InterfaceClass

from exproxy.errors import ConfigurationError


class BrokenPlugin(ConfigurationError):
    """A plugin that is made known but cannot be used. ``name`` is the plugin's, the text says why."""

    def __init__(self, name: str, target: str, reason: str) -> None:
        super().__init__(f"plugin {name!r} ({target}) cannot be used: {reason}")
        self.name = name


class Lazy:
    """``Lazy(IProtocolPlugin, "imap", "protocols.mail.imap:plugin")``: found by ``getPlugins``,
    imported at the first touch of anything but its ``name``, ``interface`` and ``target``.

    Provides ``interface`` by forwarding to the record that ``target`` (``module:attribute``) names.
    """

    def __init__(self, interface: Any, name: str, target: str) -> None:
        self.interface: InterfaceClass = interface
        self.name = name
        self.target = target
        self._record: object | None = None
        directlyProvides(self, IPlugin, interface)

    def load(self) -> Any:
        """The plugin's record. Raises BrokenPlugin: not importable, or not what it says it is."""
        if self._record is None:
            self._record = self._import()
        return self._record

    def _import(self) -> object:
        module_name, _, attribute = self.target.partition(":")
        try:
            record: object = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError) as error:
            raise self._broken(shadow(module_name) or f"{type(error).__name__}: {error}") from error
        if not self.interface.providedBy(record):
            raise self._broken(f"what is there does not provide {self.interface.__name__}")
        name = getattr(record, "name", None)
        if name != self.name:
            raise self._broken(f"it is made known as {self.name!r}, but calls itself {name!r}")
        return record

    def _broken(self, reason: str) -> BrokenPlugin:
        return BrokenPlugin(self.name, self.target, reason)

    def __getattr__(self, name: str) -> Any:
        # Dunders are asked for by zope and copy, which must not import anything.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.load(), name)

    def __repr__(self) -> str:
        return f"Lazy({self.interface.__name__}, {self.name!r}, {self.target!r})"


def shadow(module_name: str) -> str | None:
    """Why ``module_name`` is not found though it is there: a sentence that names the package which
    hides its own, or None where that is not the trouble."""
    top, _, rest = module_name.partition(".")
    imported = sys.modules.get(top)
    folders = _folders(imported)
    if not folders:
        return None
    wanted = os.path.join(top, *rest.split(".")) if rest else top
    # Our own home may be reached by other ways than sys.path.
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for entry in [*sys.path, home]:
        base = os.path.join(entry or os.getcwd(), wanted)
        if not (os.path.isfile(f"{base}.py") or os.path.isfile(os.path.join(base, "__init__.py"))):
            continue
        real = os.path.realpath(os.path.join(entry or os.getcwd(), top))
        if real not in folders:
            return (
                f"another package named {top!r}, in {folders[0]}, comes first on the path and hides the one "
                f"in {real}; remove or rename it, or change PYTHONPATH"
            )
    return None


def _folders(package: ModuleType | None) -> list[str]:
    """Where that package or module was imported from."""
    if package is None:
        return []
    found = list(getattr(package, "__path__", ()))
    if not found and getattr(package, "__file__", None):
        found = [str(package.__file__)]
    return [os.path.realpath(folder) for folder in found]
