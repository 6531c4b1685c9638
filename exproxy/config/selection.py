"""The plugins that the file names, with their own options held to their own models."""

from __future__ import annotations

from typing import Any

from exproxy.config.document import Document
from exproxy.config.errors import Where
from exproxy.config.grammar import Choice
from exproxy.config.layers import Layers
from exproxy.config.models import SettingsSection
from exproxy.config.validation import validate
from exproxy.errors import ConfigurationError
from exproxy.interfaces import (
    ICheckPlugin,
    IDefaulting,
    IPersistencePlugin,
    IProtocolPlugin,
    ISchedulingPlugin,
)
from exproxy.model import Destination, Source
from exproxy.plugins import Catalogue, Selected

INTERFACES = {
    "protocol": IProtocolPlugin,
    "persistence": IPersistencePlugin,
    "scheduling": ISchedulingPlugin,
    "check": ICheckPlugin,
}
# Where nobody says anything.
FALLBACKS = {"persistence": Choice("none"), "scheduling": Choice("round-robin"), "check": Choice("connect")}


class Selection:
    """Finds plugins; each place of the file is looked at once, however many services it is for."""

    def __init__(self, document: Document, catalogue: Catalogue) -> None:
        self._document = document
        self._catalogue = catalogue
        self._selected: dict[tuple[str, Where, str], Selected[Any] | None] = {}

    def protocol(self, choice: Choice, where: Where) -> Selected[Any] | None:
        """The protocol of a service, or None with the reason told."""
        return self._select("protocol", choice, where)

    def defaults(self, protocol: Selected[Any] | None, where: Where) -> SettingsSection | None:
        """What the protocol says where the file is silent."""
        if protocol is None:
            return None
        before = len(self._document.problems)
        defaults = dict(protocol.plugin.defaults)
        if IDefaulting.providedBy(protocol.plugin):
            defaults.update(protocol.plugin.defaults_of(protocol.options))
        section = validate(self._document, where, SettingsSection, defaults)
        if len(self._document.problems) > before:
            text = self._document.problems[before].message
            del self._document.problems[before:]
            self._document.error(where, f"the plugin's own defaults are wrong ({text}); tell its author")
        return section

    def of(self, kind: str, layers: Layers) -> Selected[Any] | None:
        """The persistence, scheduling or check of a service, or None with the reason told."""
        choice = layers.pick(kind) or FALLBACKS[kind]
        if kind == "persistence" and choice.options is not None:
            choice = Choice(choice.name, {k: v for k, v in choice.options.items() if k != "group"})
        return self._select(kind, choice, layers.where(kind))

    def group(self, layers: Layers) -> tuple[str | None, Where]:
        """The persistence group of a service and where it is named."""
        choice, where = layers.pick("persistence"), layers.where("persistence")
        named = (choice.options or {}).get("group") if choice else None
        if named is None:
            return None, where
        at = (*where, choice.name, "group")
        if not isinstance(named, str):
            self._document.error(at, "must be the name of a group in `groups:`")
            return None, at
        return named, at

    def _select(self, kind: str, choice: Choice, where: Where) -> Selected[Any] | None:
        key = (kind, where, choice.name)
        if key not in self._selected:
            self._selected[key] = self._look(kind, choice, where)
        return self._selected[key]

    def _look(self, kind: str, choice: Choice, where: Where) -> Selected[Any] | None:
        below = (*where, choice.name)
        try:
            plugin = self._catalogue.find(INTERFACES[kind], choice.name)
        except ConfigurationError as error:
            at = below if self._document.has(below) else where
            self._document.error(at, str(error), at_key=at == below)
            return None
        options = validate(self._document, below, plugin.options, choice.options or {})
        if options is None:
            return None
        written = getattr(options, "fallback", None)
        if isinstance(written, Choice):
            fallback = self._fallback(written, plugin.options, (*below, "fallback"))
            options = options.model_copy(update={"fallback": fallback})
        return Selected(plugin, options)

    def _fallback(self, choice: Choice, outer: Any, where: Where) -> Selected[Any] | None:
        """The persistence that a persistence falls back to: validated like any other."""
        for key in ("timeout", "limit", "recheck"):
            if key in (choice.options or {}) and key in outer.model_fields:
                text = "has no effect in a fallback: that of the persistence around it counts for both"
                self._document.warn((*where, choice.name, key), text, at_key=True)
        return self._select("persistence", choice, where)


def lacking(persistence: Selected[Any], protocol: Selected[Any]) -> tuple[str, ...]:
    """The names of the facts that the persistence needs and the protocol does not give."""
    # Some protocols know more of their clients with some options than with others.
    depends = getattr(protocol.plugin, "given", None)
    facts = depends(protocol.options) if depends is not None else protocol.plugin.gives
    given = (Source, Destination, *facts)
    fallback = getattr(persistence.options, "fallback", None)
    further = lacking(fallback, protocol) if isinstance(fallback, Selected) else ()
    own = tuple(fact.__name__ for fact in persistence.plugin.needs if fact not in given)
    return tuple(dict.fromkeys((*own, *further)))
