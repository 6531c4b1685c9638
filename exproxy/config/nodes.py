"""YAML text to a Document: YAML 1.2 core scalars, marks, duplicate keys, ``!env`` and ``!file``.

PyYAML makes the nodes; their values are made here, so that ``off`` and ``22:22`` stay text (YAML
1.2 10.3), every key and value keeps its place, and a hostile file costs little.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from exproxy.config.document import Document, Spot
from exproxy.config.errors import Invalid, Where
from exproxy.config.scalars import Scalars, Unreadable

# A configuration of a hundred services has about 4,000 values and 100 kB.
MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_VALUES = 100_000

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Core(_Base):  # type: ignore[misc]  # the C loader where PyYAML has it
    """A loader that knows the scalars of YAML 1.2's core schema, and no others."""

    yaml_implicit_resolvers: dict[str, Any] = {}


# Tag, pattern, first characters of the scalars that are no text (YAML 1.2 10.3.2).
CORE = [
    (tag, re.compile(rf"(?:{pattern})\Z"), first)
    for tag, pattern, first in (
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
        ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
        ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    )
]
for _tag, _pattern, _first in CORE:
    _Core.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first)


def read(path: Path, text: str | None = None) -> Document:
    """The Document of that file, with the problems of its YAML; raises Invalid where there is no
    sense in going on: unreadable, not YAML, or not a mapping. ``text`` stands in the file's place."""
    document = Document(path.absolute(), path, ())
    try:
        content = _content(path) if text is None else _bounded(text)
        document.lines = content.splitlines()
        _guard(content)
        node = yaml.compose(content, Loader=_Core)
    except yaml.YAMLError as error:
        _syntax(document, error)
    except Unreadable as error:
        document.at(1, 1, str(error), 0)
    else:
        _fill(document, node)
    if not isinstance(document.data, dict):
        raise Invalid(document.shown, document.lines, document.problems)
    return document


def _bounded(text: str) -> str:
    if len(text) > MAX_BYTES:
        raise Unreadable(f"is larger than {MAX_BYTES // 1024} kB")
    return text


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise Unreadable(f"is larger than {MAX_BYTES // 1024} kB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Unreadable(f"is no UTF-8 text (line {line})") from None


def _guard(content: str) -> None:
    """Refuse what would exhaust the stack or the memory before any node is made."""
    depth = 0
    for number, event in enumerate(yaml.parse(content, Loader=_Core)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise Unreadable(f"is nested deeper than {MAX_DEPTH} levels (line {_line(event)})")
        if number > 2 * MAX_VALUES:
            raise Unreadable(f"has more than {MAX_VALUES} values")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _syntax(document: Document, error: yaml.YAMLError) -> None:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    context = getattr(error, "context", None)
    line = mark.line if mark else 0
    source = document.lines[line] if line < len(document.lines) else ""
    message = f"this is no YAML: {problem}" + (f" ({context})" if context else "")
    if "nesting" in problem:
        # A newer libyaml has a limit of its own, and reads ahead to it before the first event.
        message = f"is nested deeper than {MAX_DEPTH} levels"
    elif "\t" in source[: len(source) - len(source.lstrip())] or "'\\t'" in problem:
        message += "; indent with spaces, not with tabs"
    elif "[::" in source or re.search(r"\[[0-9a-fA-F:.]*:[0-9a-fA-F:.]*\]:", source):
        message += '; an IPv6 address needs quotes: "[::]:443"'
    elif "mapping values are not allowed" in problem:
        message += "; text with a colon and a space needs quotes"
    document.at(line + 1, mark.column + 1 if mark else 1, message)


def _fill(document: Document, node: yaml.Node | None) -> None:
    if node is None:
        document.at(1, 1, "the file is empty: servers: and services: are needed", 0)
        return
    document.data = _Walk(document).value(node, ())
    if not isinstance(document.data, dict) and document.valid:
        document.broken((), "the file must be a mapping (servers:, services:, …)")


class _Walk:
    """From nodes to values, noting every spot."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._scalars = Scalars(document.folder)
        self._count = 0

    def value(self, node: yaml.Node, where: Where) -> Any:
        self._count += 1
        self._document.values[where] = _spot(node)
        if self._count > MAX_VALUES or len(where) > MAX_DEPTH:
            # Only aliases lead here; the events were counted before.
            self._document.broken((), "the aliases (*name) unfold to far too many values")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, where)
        core = "map" if isinstance(node, yaml.MappingNode) else "seq"
        if node.tag != f"tag:yaml.org,2002:{core}":
            self._document.broken(where, f"the tag {_tag_text(node)} is unknown here")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, where)
        return [self.value(item, (*where, index)) for index, item in enumerate(node.value) if self._on]

    @property
    def _on(self) -> bool:
        return self._count <= MAX_VALUES

    def _scalar(self, node: yaml.ScalarNode, where: Where) -> Any:
        if node.tag in ("!env", "!file"):
            self._document.hidden[where] = (node.tag, node.value)
        try:
            return self._scalars.value(node.tag, node.value)
        except Unreadable as error:
            self._document.broken(where, str(error))
            return None

    def _mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not self._on:
                break
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag.startswith("!"):
                self._document.error(where, "a key must be a plain word")
                continue
            key, spot = key_node.value, _spot(key_node)
            below = (*where, key)
            if key in found:
                self._duplicate(below, spot)
                continue
            self._document.keys[below] = spot
            found[key] = self.value(value_node, below)
            if key == "<<":
                self._document.broken(below, "merge keys are not part of YAML 1.2; use `defaults:` instead")
        return found

    def _duplicate(self, where: Where, spot: Spot) -> None:
        document = self._document
        first = document.keys[where]
        document.keys[where] = spot
        document.error(where, f"is there twice; the first is in line {first.line}", at_key=True)
        document.keys[where] = first


def _spot(node: yaml.Node) -> Spot:
    start, end = node.start_mark, node.end_mark
    width = end.column - start.column if end.line == start.line else 1
    return Spot(start.line + 1, start.column + 1, max(1, width))


def _tag_text(node: yaml.Node) -> str:
    return str(node.tag).replace("tag:yaml.org,2002:", "!!")
