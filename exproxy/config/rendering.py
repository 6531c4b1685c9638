"""A configuration as it is after its template: YAML again, with nothing of secrets that are elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from exproxy.config.document import Document
from exproxy.config.errors import Invalid, Where
from exproxy.config.nodes import CORE, read
from exproxy.config.templates import KEY, apply

_WIDTH = 110


class _Elsewhere(NamedTuple):
    """``!env NAME`` or ``!file path``, as written."""

    tag: str
    text: str


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML 1.1 or 1.2 would take for something else than text."""

    def ignore_aliases(self, data: Any) -> bool:
        """Everything is written out."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Lists are indented below their key."""
        super().increase_indent(flow, False)


def _elsewhere(dumper: yaml.SafeDumper, value: _Elsewhere) -> yaml.Node:
    return dumper.represent_scalar(value.tag, value.text)


_Dumper.add_representer(_Elsewhere, _elsewhere)
for _tag, _pattern, _first in CORE:
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first)


def rendered(path: Path) -> str:
    """The text of the file with its template in it, ready to be used in the file's place; raises
    Invalid where the file is no proper YAML. What it says is not checked."""
    document = read(path)
    name = document.data.get(*KEY)
    apply(document)
    if not document.valid:
        raise Invalid(document.shown, document.lines, document.problems)
    data = {key: _written(document, value, (key,)) for key, value in document.data.items() if (key,) != KEY}
    start = f"# {path.name}" + (f" with the template {name}\n" if name else "\n")
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return start + text


def _written(document: Document, value: Any, where: Where) -> Any:
    if where in document.hidden:
        return _Elsewhere(*document.hidden[where])
    if isinstance(value, dict):
        return {key: _written(document, each, (*where, key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_written(document, each, (*where, index)) for index, each in enumerate(value)]
    return value
