"""The JSON Schema (draft 2020-12) of the whole file, the options of every known plugin included.

Made from the same models that check the file; editors complete and underline by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from exproxy.config.grammar import NAME_PATTERN
from exproxy.config.models import FileSection, GroupSection, ServerItem, ServiceSection, SettingsSection
from exproxy.config.route_models import RouteSection
from exproxy.config.selection import INTERFACES
from exproxy.plugins import Catalogue

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "exproxy configuration"

# What a template would bring must else be in the file.
_WITHOUT_TEMPLATE: dict[str, Any] = {
    "if": {"not": {"required": ["template"]}},
    "then": {
        "required": ["services"],
        "properties": {
            "services": {"additionalProperties": {"type": "object", "required": ["protocol", "listen"]}}
        },
    },
}


class _Entries(BaseModel):
    """The named entries, which the file's own model leaves open."""

    server: ServerItem
    group: GroupSection
    defaults: SettingsSection
    service: ServiceSection
    route: RouteSection


def schema(catalogue: Catalogue) -> dict[str, Any]:
    """The schema as a mapping ready for JSON."""
    from exproxy.lab.options import LabOptions

    plugins = _plugins(catalogue)
    models: list[type[BaseModel]] = [FileSection, _Entries, LabOptions]
    models += dict.fromkeys(plugin.options for found in plugins.values() for plugin in found)
    refs, together = models_json_schema([(model, "validation") for model in models], by_alias=True)
    definitions = together["$defs"]
    made = {model: refs[model, "validation"] for model in models}
    file = definitions.pop(_name(made[FileSection]))
    entries = definitions.pop(_name(made[_Entries]))["properties"]
    for kind, found in plugins.items():
        definitions[f"x-{kind}"] = _choice(kind, found, made, definitions)
    _open(file["properties"], entries, made[LabOptions])
    routes = definitions["ServiceSection"]["properties"]["routes"]
    definitions["ServiceSection"]["properties"]["routes"] = _by_name(routes["description"], entries["route"])
    definitions["ServerSection"]["required"] = ["address"]
    file["required"] = ["servers"]
    file.update(_WITHOUT_TEMPLATE)
    file.pop("description", None)
    whole = _tidy({**file, "$defs": definitions})
    whole["$defs"] = {name: whole["$defs"][name] for name in sorted(_used(whole, whole["$defs"]))}
    return {"$schema": DIALECT, "title": TITLE, **whole}


def schema_text(catalogue: Catalogue | None = None) -> str:
    """The schema as the text of its file."""
    return json.dumps(schema(catalogue or Catalogue()), indent=2, ensure_ascii=False) + "\n"


def _plugins(catalogue: Catalogue) -> dict[str, list[Any]]:
    return {
        kind: [catalogue.find(interface, name) for name in catalogue.names(interface)]
        for kind, interface in INTERFACES.items()
    }


def _name(ref: dict[str, Any]) -> str:
    return str(ref["$ref"]).rpartition("/")[2]


def _choice(
    kind: str, plugins: Iterable[Any], made: dict[type[BaseModel], Any], definitions: dict[str, Any]
) -> dict[str, Any]:
    """``name | {name: {options}}`` of one kind of plugin."""
    names = [{"const": plugin.name, "description": plugin.summary} for plugin in plugins]
    options = {plugin.name: made[plugin.options] for plugin in plugins}
    if kind == "persistence":
        options = {name: _with_group(definitions[_name(ref)]) for name, ref in options.items()}
    mapping = {
        "type": "object",
        "properties": options,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    return {"anyOf": [*names, mapping]}


def _with_group(options: dict[str, Any]) -> dict[str, Any]:
    """Every persistence may also name its group."""
    group = {"type": "string", "description": "The group of `groups:` whose memory is used."}
    return {**options, "properties": {**options.get("properties", {}), "group": group}}


def _open(properties: dict[str, Any], entries: dict[str, Any], lab: dict[str, Any]) -> None:
    """Put the entries' own schemas where the file's model takes anything."""
    for section, entry in (("servers", "server"), ("groups", "group"), ("services", "service")):
        description = properties[section]["description"]
        item = entries[entry]
        if entry != "server":
            # An empty group has its defaults; nothing in the place of what a template has takes it out.
            item = {"anyOf": [item, {"type": "null"}]}
        properties[section] = _by_name(description, item)
    properties["defaults"] = {**entries["defaults"], "description": properties["defaults"]["description"]}
    properties["lab"] = {**lab, "description": properties["lab"]["description"]}


def _by_name(description: str, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "propertyNames": {"pattern": NAME_PATTERN},
        "additionalProperties": item,
    }


def _used(whole: dict[str, Any], definitions: dict[str, Any]) -> set[str]:
    """The definitions that something refers to."""
    used: set[str] = set()
    waiting: list[Any] = [{key: value for key, value in whole.items() if key != "$defs"}]
    while waiting:
        for ref in _refs(waiting.pop()):
            if ref not in used:
                used.add(ref)
                waiting.append(definitions[ref])
    return used


def _refs(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield _name(node)
        for value in node.values():
            yield from _refs(value)
    elif isinstance(node, list):
        for value in node:
            yield from _refs(value)


def _tidy(node: Any) -> Any:
    """Without what pydantic adds of its own: titles, and null for what may be left out."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "x-plugin" in node:
        node = {**node, "$ref": f"#/$defs/x-{node['x-plugin']}"}
        del node["x-plugin"]
    kept = {
        key: _tidy(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))
    }
    if "default" in kept and kept["default"] is None:
        del kept["default"]
        alternatives = [item for item in kept.get("anyOf", ()) if item != {"type": "null"}]
        if len(alternatives) == 1:
            del kept["anyOf"]
            kept = {**alternatives[0], **kept}
        elif alternatives:
            kept["anyOf"] = alternatives
    return kept
