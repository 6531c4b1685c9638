"""The file taken to pieces: every section a model of its own, every problem of shape told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from exproxy.config import grammar
from exproxy.config.document import Document
from exproxy.config.errors import Where
from exproxy.config.models import (
    FileSection,
    GroupSection,
    ServerSection,
    ServiceSection,
    SettingsSection,
)
from exproxy.config.sections import Section
from exproxy.config.validation import lacks, validate

S = TypeVar("S", bound=Section)

# Mappings whose emptiness means what an empty mapping does.
_MAY_BE_EMPTY = ("servers", "groups", "defaults", "services", "admin", "lab")


@dataclass(slots=True)
class Draft:
    """The sections as they are written. A server, group or service that is not even a mapping is in
    ``*_named`` only, so that its name is known to those who refer to it."""

    document: Document
    file: FileSection = field(default_factory=FileSection)
    servers: dict[str, ServerSection] = field(default_factory=dict)
    groups: dict[str, GroupSection] = field(default_factory=dict)
    defaults: SettingsSection = field(default_factory=SettingsSection)
    services: dict[str, ServiceSection] = field(default_factory=dict)
    servers_named: tuple[str, ...] = ()
    groups_named: tuple[str, ...] = ()
    lab: dict[str, Any] | None = None


def draft(document: Document) -> Draft:
    """Take the document to pieces; what is wrong is told to the document."""
    data = _without_nulls(document, document.data, ())
    for name in _MAY_BE_EMPTY:
        if name in data and data[name] is None:
            data[name] = {}
    file = validate(document, (), FileSection, data) or FileSection()
    found = Draft(document, file, lab=file.lab)
    found.servers_named = tuple(file.servers or ())
    found.groups_named = tuple(file.groups or ())
    found.servers = _named(document, "servers", file.servers, ServerSection)
    found.groups = _named(document, "groups", file.groups, GroupSection)
    found.defaults = validate(document, ("defaults",), SettingsSection, file.defaults or {}) or found.defaults
    found.services = _named(document, "services", file.services, ServiceSection)
    _needed(found)
    return found


def _named(document: Document, kind: str, entries: dict[str, Any] | None, model: type[S]) -> dict[str, S]:
    sections: dict[str, S] = {}
    for name, data in (entries or {}).items():
        where = (kind, name)
        try:
            grammar.name(name)
        except ValueError as error:
            document.error(where, str(error), at_key=True)
        if model is ServerSection and isinstance(data, str):
            data = {"address": data}
        section = validate(document, where, model, {} if data is None else data)
        if section is not None:
            sections[name] = section
    return sections


def _needed(found: Draft) -> None:
    document = found.document
    for kind in ("servers", "services"):
        if not document.has((kind,)):
            document.error((), f"`{kind}:` is missing: there must be at least one of them")
        elif not document.data[kind] and document.data[kind] in ({}, None):
            document.error((kind,), "is empty: there must be at least one of them", at_key=True)
    for name, server in found.servers.items():
        where = ("servers", name)
        if server.address is None and lacks(document, where, ServerSection, "address"):
            document.error(where, "'address' is missing", at_key=True)


def _without_nulls(document: Document, data: Any, where: Where) -> Any:
    """The data less the keys that have no value, each of which is an error where a value is due."""
    if isinstance(data, list):
        return [_without_nulls(document, item, (*where, index)) for index, item in enumerate(data)]
    if not isinstance(data, dict) or where == ("lab",):
        return data
    kept = {}
    for key, value in data.items():
        below = (*where, key)
        if value is None and not _empty_allowed(below):
            document.error(below, "has no value; give it one or remove the key", at_key=True)
        else:
            kept[key] = _without_nulls(document, value, below)
    return kept


def _empty_allowed(where: Where) -> bool:
    return (where[0] in _MAY_BE_EMPTY and len(where) == 1) or (where[0] == "groups" and len(where) == 2)
