"""The kinds of single values in the file, as pydantic types that know their own grammar."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
)

from exproxy.config import grammar
from exproxy.settings import WhenFull, parse_network
from exproxy.units import DURATION_PATTERN

Count: TypeAlias = Annotated[int, Field(ge=1)]


def listed(value: object) -> object:
    """One thing is a list of one."""
    return value if isinstance(value, list) else [value]


class Short:
    """Says in the JSON Schema that these shorter forms may stand for the whole one."""

    def __init__(self, *forms: dict[str, Any]) -> None:
        self._forms = forms

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [*self._forms, handler(core)]}


class Single:
    """Says in the JSON Schema that one item may stand for a list of one."""

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        whole = handler(core)
        return {"anyOf": [whole["items"], whole]}


def _network(text: str) -> str:
    parse_network(text)
    return text


def _plugin(kind: str) -> Any:
    # schema.py puts the known plugins of that kind in its place.
    return WithJsonSchema({"x-plugin": kind})


ProtocolChoice: TypeAlias = Annotated[grammar.Choice, PlainValidator(grammar.choice), _plugin("protocol")]
PersistenceChoice: TypeAlias = Annotated[
    grammar.Choice, PlainValidator(grammar.choice), _plugin("persistence")
]
SchedulingChoice: TypeAlias = Annotated[grammar.Choice, PlainValidator(grammar.choice), _plugin("scheduling")]
CheckChoice: TypeAlias = Annotated[grammar.Choice, PlainValidator(grammar.choice), _plugin("check")]
Network: TypeAlias = Annotated[str, AfterValidator(_network)]
NetworkList: TypeAlias = Annotated[list[Network], BeforeValidator(listed), Single()]
TextList: TypeAlias = Annotated[list[str], BeforeValidator(listed), Single()]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
AnyPort: TypeAlias = Annotated[int, Field(ge=0, le=65535)]
WhenFullValue: TypeAlias = Annotated[
    WhenFull,
    PlainValidator(grammar.when_full),
    WithJsonSchema({"type": "string", "pattern": rf"^(next|refuse|wait +{DURATION_PATTERN[1:-1]})$"}),
]
Workers: TypeAlias = Annotated[
    int,
    PlainValidator(grammar.workers),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1, "maximum": grammar.MOST_WORKERS}, {"const": "auto"}]}
    ),
]
SendProxy: TypeAlias = Annotated[
    Literal["v1", "v2", False],
    PlainValidator(grammar.send_proxy),
    WithJsonSchema({"enum": ["v1", "v2", False]}),
]
LogTarget: TypeAlias = Annotated[
    Literal[False] | str,
    PlainValidator(grammar.log_target),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"const": False}]}),
]
