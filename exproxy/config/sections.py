"""What a section of the file is, and the sections that are made from the settings dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field, create_model

from exproxy.config.kinds import Count
from exproxy.settings import HealthSettings, Limits, TcpOptions, Timeouts
from exproxy.units import Duration, Size, Wait


def kebab(name: str) -> str:
    """The file's spelling of one of our names."""
    return name.replace("_", "-")


class Section(BaseModel):
    """A mapping of the file: unknown keys are errors, keys are kebab-case."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=kebab,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


def _section(
    name: str,
    values: type,
    doc: str,
    kinds: dict[str, Any],
    other: Any,
    only: Collection[str] | None = None,
) -> type[Section]:
    """A section with the fields of a settings dataclass, so that each is described in one place."""
    fields: dict[str, Any] = {
        field.name: (
            kinds.get(field.name, other) | None,
            Field(
                default=None, description=f"{field.metadata['help']} Default {written(field, kinds, other)}."
            ),
        )
        for field in dataclasses.fields(values)
        if only is None or field.name in only
    }
    return create_model(name, __base__=Section, __doc__=doc, **fields)


def written(field: dataclasses.Field[Any], kinds: dict[str, Any], other: Any) -> str:
    """A settings field's default as one would write it in the file."""
    kind, value = kinds.get(field.name, other), cast(float, field.default)
    if kind is Size:
        for unit, factor in (("g", 1024**3), ("m", 1024**2), ("k", 1024)):
            if value >= factor and value % factor == 0:
                return f"{value // factor:g}{unit}"
    return f"{value:g}s" if kind in (Wait, Duration) else f"{value:g}"


def timeouts_section(name: str, only: Collection[str]) -> type[Section]:
    """A section of some of the timeouts."""
    return _section(name, Timeouts, "How long some waits may last.", {}, Wait, only)


def limits_section(name: str, only: Collection[str]) -> type[Section]:
    """A section of some of the limits."""
    return _section(name, Limits, "How much of some things is allowed.", {}, Size, only)


_COUNTS: dict[str, Any] = dict.fromkeys(("connections", "per_source", "links_per_client"), Count)
_COUNTS["per_source_rate"] = Annotated[int, Field(ge=0)]
_ROUNDS = dict.fromkeys(("rise", "fall"), Count)

if TYPE_CHECKING:
    TimeoutsSection: TypeAlias = Section
    LimitsSection: TypeAlias = Section
    TcpSection: TypeAlias = Section
    HealthSection: TypeAlias = Section
else:
    TimeoutsSection = _section("Timeouts", Timeouts, "How long each wait may last.", {}, Wait)
    LimitsSection = _section("Limits", Limits, "How much of anything is allowed.", _COUNTS, Size)
    TcpSection = _section("Tcp", TcpOptions, "Options of the TCP sockets.", {}, Duration)
    HealthSection = _section("Health", HealthSettings, "When a server is asked how it is.", _ROUNDS, Wait)
