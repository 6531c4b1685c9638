"""A part of the file against a pydantic model: every error becomes a Problem at its own place.

The strict JSON mode of pydantic is used: it is strict about scalars ("10" is no number) and still
takes a list for a tuple and text for a path, as plugin authors expect.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from exproxy.config.document import Document
from exproxy.config.errors import Where
from exproxy.plugins import did_you_mean

M = TypeVar("M", bound=BaseModel)

# What is left out has no further errors of its own, so two rounds end it; more would be a loop.
ROUNDS = 4

_SEQUENCES = ("list_type", "tuple_type", "set_type", "frozen_set_type")
_TEXTS = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    **dict.fromkeys(_SEQUENCES, "must be a list"),
    "dict_type": "must be a mapping (key: value)",
    "model_type": "must be a mapping (key: value)",
    "model_attributes_type": "must be a mapping (key: value)",
    "string_too_short": "must not be empty",
}


def validate(document: Document, where: Where, model: type[M], data: Any) -> M | None:
    """An instance of ``model``; where there were errors (all told to ``document``) one without the
    wrong parts, or None if it cannot do without them."""
    left_out: set[Where] = set()
    for _ in range(ROUNDS):
        made, details = _try(model, json.dumps(data))
        if made is not None:
            return made
        for detail in details:
            if not _emptied(detail, left_out):
                _tell(document, where, model, detail)
        wrong = {document.known((*where, *_loc(detail)))[len(where) :] for detail in details}
        left_out |= wrong
        if () not in wrong:
            data = without(data, wrong)
        elif data == {}:
            return None
        else:
            data = {}
    return None


def _try(model: type[M], text: str) -> tuple[M | None, list[Any]]:
    """The instance, or the details of all errors."""
    try:
        return model.model_validate_json(text, strict=True, by_alias=True, by_name=False), []
    except ValidationError as error:
        details: list[Any] = list(error.errors(include_url=False))
    kept = [detail for detail in details if not _misled(detail)]
    if len(kept) == len(details):
        return None, details
    try:
        made = model.model_validate_json(text, strict=False, by_alias=True, by_name=False)
    except ValidationError as error:
        kept += [detail for detail in error.errors(include_url=False) if detail not in kept]
    return (None, kept) if kept else (made, [])


def _misled(detail: Any) -> bool:
    """Behind a "before" validator strictness takes the file's list for a wrong kind of sequence."""
    return detail["type"] in _SEQUENCES and isinstance(detail["input"], (list, tuple))


def _emptied(detail: Any, left_out: Collection[Where]) -> bool:
    """Whether a list or mapping is too short for nothing but what was wrong in it."""
    loc = _loc(detail)
    return detail["type"] == "too_short" and any(path[: len(loc)] == loc for path in left_out)


def lacks(document: Document, where: Where, model: type[BaseModel], key: str) -> bool:
    """That key is missing from the mapping there, and none of its keys is a misspelling of it."""
    mapping = document.raw(where)
    known = [field.alias or name for name, field in model.model_fields.items()]
    return isinstance(mapping, dict) and _lacks(mapping, key, known)


def _lacks(mapping: Any, key: str, known: Collection[str]) -> bool:
    # A plugin named without options has no mapping at all.
    if not isinstance(mapping, dict):
        return True
    if key in mapping:
        return False
    return not any(did_you_mean(other, known) == key for other in mapping if other not in known)


def without(data: Any, wrong: Iterable[Where]) -> Any:
    """A copy of ``data`` that lacks the parts at those paths."""
    here = {path[0] for path in wrong if len(path) == 1}
    deeper: dict[str | int, list[Where]] = {}
    for path in wrong:
        if len(path) > 1 and path[0] not in here:
            deeper.setdefault(path[0], []).append(path[1:])
    if isinstance(data, Mapping):
        return {key: without(value, deeper.get(key, ())) for key, value in data.items() if key not in here}
    if isinstance(data, list):
        return [
            without(value, deeper.get(index, ())) for index, value in enumerate(data) if index not in here
        ]
    return data


def _loc(detail: Any) -> Where:
    loc: Where = tuple(detail["loc"])
    return loc[:-1] if detail["type"] == "missing" else loc


def _tell(document: Document, where: Where, model: type[BaseModel], detail: Any) -> None:
    loc = _loc(detail)
    at = document.known((*where, *loc))
    if detail["type"] == "extra_forbidden":
        known = known_keys(model.model_json_schema(by_alias=True), loc[:-1])
        document.error(at, f"unknown option; {hint(str(loc[-1]), known)}", at_key=True)
    elif detail["type"] == "missing":
        key = str(detail["loc"][-1])
        if _lacks(document.raw(at), key, known_keys(model.model_json_schema(by_alias=True), loc)):
            document.error(at, f"{key!r} is missing", at_key=True)
    elif at in document.hidden or at[-1:] == ("password",):
        document.error(at, _TEXTS.get(detail["type"], "what !env or !file gives does not fit here"))
    else:
        document.error(at, _text(detail))


def _text(detail: Any) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    given = detail.get("input")
    if kind in ("literal_error", "enum"):
        expected = str(context["expected"])
        message = f"must be {expected}, not {_shown(given)}"
        likely = (
            did_you_mean(given, expected.replace("'", "").replace(" or ", ", ").split(", "))
            if (isinstance(given, str))
            else None
        )
        return message + (f"; did you mean {likely!r}?" if likely else "")
    if kind in _TEXTS:
        text = _TEXTS[kind]
        return text if isinstance(given, (dict, list)) else f"{text}, not {_shown(given)}"
    if kind in ("greater_than_equal", "less_than_equal"):
        side, bound = ("at least", "ge") if kind.startswith("greater") else ("at most", "le")
        return f"must be {side} {context[bound]}, not {_shown(given)}"
    if kind == "too_short":
        return f"has {context['actual_length']} entries; at least {context['min_length']} must be there"
    text = str(detail["msg"])
    for prefix in ("Value error, ", "Assertion failed, "):
        text = text.removeprefix(prefix)
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}...'"


def hint(word: str, known: Iterable[str]) -> str:
    """``did you mean 'listen'?``, or all there are where nothing is near."""
    choices = sorted(known)
    likely = did_you_mean(word, choices)
    if likely:
        return f"did you mean {likely!r}?"
    return f"there are {', '.join(choices)}" if choices else "there are none here"


def known_keys(schema: Mapping[str, Any], loc: Where) -> set[str]:
    """The keys that the model's JSON Schema knows at ``loc``."""
    definitions = schema.get("$defs", {})
    nodes = list(_alternatives(schema, definitions))
    for part in loc:
        below: list[Any] = []
        for node in nodes:
            if isinstance(part, str):
                below.append(node.get("properties", {}).get(part) or node.get("additionalProperties"))
            else:
                below.append(node.get("items"))
        found = [
            alternative
            for node in below
            if isinstance(node, Mapping)
            for alternative in _alternatives(node, definitions)
        ]
        # A part that the schema does not know is a tag of pydantic's own.
        nodes = found or nodes
    return {key for node in nodes for key in node.get("properties", {})}


def _alternatives(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    if "$ref" in node:
        yield from _alternatives(definitions[node["$ref"].rpartition("/")[2]], definitions)
    for key in ("anyOf", "oneOf", "allOf"):
        for inner in node.get(key, ()):
            yield from _alternatives(inner, definitions)
    if "properties" in node or "items" in node or "additionalProperties" in node:
        yield node
