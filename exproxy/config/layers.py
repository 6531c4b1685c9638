"""What a setting of a service is, and who said so: the protocol, ``defaults:``, or the service."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from exproxy.config.errors import Where
from exproxy.config.models import PoolSection, ServiceSection, SettingsSection
from exproxy.config.sections import Section

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Layer:
    """One source of settings and where it stands in the file."""

    settings: PoolSection
    where: Where


@dataclasses.dataclass(frozen=True, slots=True)
class Layers:
    """The sources of one service's settings; the first is the weakest."""

    layers: tuple[Layer, ...]

    def pick(self, name: str) -> Any:
        """The strongest word on a setting, or None."""
        return next((value for value, _ in self._said(name)), None)

    def where(self, name: str) -> Where:
        """Where that word stands: the setting itself; for the protocol's own, the protocol's name."""
        for _, layer in self._said(name):
            own = layer.where and layer.where[-1] == "protocol"
            return layer.where if own else (*layer.where, name.replace("_", "-"))
        return self.layers[-1].where

    def said_by_service(self, name: str) -> bool:
        """The service itself says it."""
        return getattr(self.layers[-1].settings, name) is not None

    def section(self, name: str) -> dict[str, Any]:
        """A section's keys (our spelling) put together over all sources."""
        together: dict[str, Any] = {}
        for layer in self.layers:
            together.update(said(getattr(layer.settings, name)))
        return together

    def values(self, name: str, kind: type[T]) -> T:
        """A settings dataclass with what the section says, and its own defaults else."""
        return kind(**self.section(name))

    def _said(self, name: str) -> list[tuple[Any, Layer]]:
        found = []
        for layer in reversed(self.layers):
            value = getattr(layer.settings, name, None)
            if value is not None:
                found.append((value, layer))
        return found


def said(section: Section | None) -> dict[str, Any]:
    """What is written in a section, by our names."""
    if section is None:
        return {}
    fields = type(section).model_fields
    return {name: value for name in fields if (value := getattr(section, name)) is not None}


def layers(
    protocol: SettingsSection | None,
    defaults: SettingsSection | None,
    service: ServiceSection,
    where: Where,
) -> Layers:
    """Protocol < ``defaults:`` < service."""
    found = []
    if protocol is not None:
        found.append(Layer(protocol, (*where, "protocol")))
    if defaults is not None:
        found.append(Layer(defaults, ("defaults",)))
    return Layers((*found, Layer(service, where)))
