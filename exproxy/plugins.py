"""Find plugins by interface and name, with a helpful word where there is none.

Built-in plugins come through the same door as anybody's: ``twisted.plugin.getPlugins``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict
from twisted.plugin import getPlugins

from exproxy.errors import ConfigurationError
from exproxy.lazy import BrokenPlugin, Lazy

__all__ = [
    "AmbiguousPlugin",
    "BrokenPlugin",
    "Catalogue",
    "Choice",
    "Lazy",
    "NoOptions",
    "Options",
    "Selected",
    "UnknownPlugin",
    "choice",
    "did_you_mean",
    "find",
    "kebab",
    "kind_of",
    "names",
]

P = TypeVar("P", covariant=True)
Source: TypeAlias = Callable[[Any], Iterable[Any]]


def kebab(name: str) -> str:
    """The file's spelling of one of our names: ``mask_v4`` is ``mask-v4``."""
    return name.replace("_", "-")


class Options(BaseModel):
    """The base of a plugin's options: unknown keys are errors, ``mask_v4`` is ``mask-v4`` in the file (code
    may give it as it is named here), and values do not change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        alias_generator=kebab,
    )


class NoOptions(Options):
    """The options of a plugin that has none."""


@dataclass(frozen=True, slots=True)
class Selected(Generic[P]):
    """What a configuration selects: a plugin's record, and an instance of its options model."""

    plugin: P
    options: Any

    @property
    def name(self) -> str:
        """The plugin's name, as it stands in the configuration."""
        return str(self.plugin.name)  # type: ignore[attr-defined]  # all records are INamed


@dataclass(frozen=True, slots=True)
class Choice:
    """A plugin named in the file, with its options as they stand there (None: none written)."""

    name: str
    options: dict[str, Any] | None = None


def choice(written: object) -> Choice:
    """``round-robin`` or ``{source-ip: {timeout: 1h}}``."""
    if isinstance(written, str):
        return Choice(written)
    if isinstance(written, dict) and len(written) == 1:
        word, options = next(iter(written.items()))
        if isinstance(options, dict):
            return Choice(str(word), options)
        raise ValueError(f"the options of {word!r} must be a mapping: {{{word}: {{option: value}}}}")
    if isinstance(written, dict) and written:
        raise ValueError("names exactly one: its options stand one level deeper, {name: {option: value}}")
    raise ValueError("must be a name, or {name: {option: value}}")


class UnknownPlugin(ConfigurationError):
    """No plugin of that kind and name. ``suggestion`` is the likeliest one, or None; ``known`` all."""

    def __init__(self, kind: str, name: str, known: tuple[str, ...]) -> None:
        self.kind = kind
        self.name = name
        self.known = known
        self.suggestion = did_you_mean(name, known)
        text = f"unknown {kind} {name!r}"
        if self.suggestion:
            text += f"; did you mean {self.suggestion!r}?"
        elif known:
            text += f"; there are {', '.join(known)}"
        super().__init__(text)


class AmbiguousPlugin(ConfigurationError):
    """Two different plugins of one kind go by the same name."""

    def __init__(self, kind: str, name: str, both: tuple[str, str]) -> None:
        super().__init__(f"two plugins call themselves {kind} {name!r}: {both[0]} and {both[1]}; remove one")


class Catalogue:
    """The plugins of one moment. ``source`` gives those of an interface; default: the installed ones.

    An interface is asked for once; a configuration read later asks a new Catalogue.
    """

    def __init__(self, source: Source = getPlugins) -> None:
        self._source = source
        self._known: dict[Any, dict[str, list[Any]]] = {}

    def find(self, interface: Any, name: str) -> Any:
        """The record of that interface and name, imported now.

        Raises UnknownPlugin, AmbiguousPlugin or BrokenPlugin, each text fit for an administrator.
        """
        found = self._of(interface).get(name)
        if found is None:
            raise UnknownPlugin(kind_of(interface), name, self.names(interface))
        if len(found) > 1:
            both = (_described(found[0]), _described(found[1]))
            raise AmbiguousPlugin(kind_of(interface), name, both)
        plugin = found[0]
        return plugin.load() if isinstance(plugin, Lazy) else plugin

    def names(self, interface: Any) -> tuple[str, ...]:
        """The names of all plugins of that interface, sorted; imports none of them."""
        return tuple(sorted(self._of(interface)))

    def _of(self, interface: Any) -> dict[str, list[Any]]:
        known = self._known.get(interface)
        if known is None:
            known = self._known[interface] = {}
            for plugin in self._source(interface):
                alike = known.setdefault(plugin.name, [])
                # The same line found twice (an old installation beside a working tree) is one plugin.
                if not any(_described(plugin) == _described(other) for other in alike):
                    alike.append(plugin)
        return known


def _described(plugin: Any) -> str:
    return plugin.target if isinstance(plugin, Lazy) else repr(plugin)


def find(interface: Any, name: str) -> Any:
    """The installed plugin's record; see :meth:`Catalogue.find`."""
    return Catalogue().find(interface, name)


def names(interface: Any) -> tuple[str, ...]:
    """The names of the installed plugins of that interface, sorted."""
    return Catalogue().names(interface)


def kind_of(interface: Any) -> str:
    """The administrator's word for a plugin interface: ``protocol`` for IProtocolPlugin."""
    return str(interface.__name__).removeprefix("I").removesuffix("Plugin").lower()


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``word`` is most likely a misspelling of, or None."""
    choices = list(known)
    folded = {choice.lower().replace("_", "-"): choice for choice in choices}
    close = difflib.get_close_matches(word.lower().replace("_", "-"), folded, n=1, cutoff=0.65)
    return folded[close[0]] if close else None
