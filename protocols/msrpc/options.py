"""What a configuration may say of the protocols ``rpc`` and ``epm``, and of their checks."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from exproxy.plugins import Options
from protocols.msrpc.locating import MAPPER_PORT
from protocols.msrpc.names import KNOWN, Interface, interface


def _interfaces(value: object) -> tuple[Interface, ...]:
    if isinstance(value, tuple) and all(isinstance(each, Interface) for each in value):
        return value
    found = tuple(interface(_text(each)) for each in (value if isinstance(value, list) else [value]))
    if len({each.uuid for each in found}) < len(found):
        raise ValueError("names an interface twice")
    return found


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be the name of an RPC interface, a UUID, or a list of these")
    return value


_ONE = {"type": "string", "examples": list(KNOWN)[:4]}
Interfaces: TypeAlias = Annotated[
    tuple[Interface, ...],
    PlainValidator(_interfaces),
    WithJsonSchema({"anyOf": [_ONE, {"type": "array", "items": _ONE}]}),
]


def _ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError(
            f"{text!r} is no IPv4 address; an endpoint mapper's answers have room for no other"
        ) from None


Port: TypeAlias = Annotated[int, Field(ge=1, le=65535, strict=True)]


class RpcOptions(Options):
    """Options of ``rpc``."""

    interface: Interfaces = Field(
        default=(),
        description="What is served: emsmdb, async-emsmdb, nspi, rfri, UUID, UUID@MAJOR.MINOR, or a list. "
        "Where `backend: {port: …}` is not written, each server's endpoint mapper is asked for the port of "
        "the first.",
    )
    mapper_port: Port = Field(
        default=MAPPER_PORT, description="Where the servers' endpoint mappers are asked."
    )
    relay: Literal["none", "full"] = Field(
        default="none",
        description="full: once the bind is answered bytes pass unread, which costs less; no operations are "
        "counted then, and a drain waits for the connections and not for what they do.",
    )


class EpmOptions(Options):
    """Options of ``epm``."""

    others: Literal["pass", "hide"] = Field(
        default="pass",
        description="Interfaces that no service here has: pass: left in answers as they are; hide: left out.",
    )
    answer: Literal["backend", "proxy"] = Field(
        default="backend",
        description="Who answers: a server's mapper, its answers edited; or exproxy itself, from what its "
        "rpc services say of `interface`.",
    )
    advertise: Annotated[str, AfterValidator(_ipv4)] | None = Field(
        default=None,
        description="The IPv4 address to put into answers, behind NAT. Default: the one that the client "
        "reached.",
    )


class RpcCheckOptions(Options):
    """Options of the check ``rpc``."""

    interface: Interfaces = Field(
        default=(),
        description="What must be accepted: a name, a UUID, or a list. Default: the service's own; without "
        "any, an answer to a bind is enough.",
    )


class EpmCheckOptions(Options):
    """Options of the check ``epm``."""

    interface: Interfaces = Field(
        default=(), description="What must be registered. Default: that the mapper answers a look-up."
    )


def as_written(interfaces: tuple[Interface, ...]) -> list[Any]:
    """How these would stand in a file."""
    return [
        each.name if KNOWN.get(each.name) == each else f"{each.uuid}@{each.major}.{each.minor}"
        for each in interfaces
    ]
