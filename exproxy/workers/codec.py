"""Messages as frames: four bytes of length (big-endian), then JSON, ``[name, field, …]``.

Both ends are ours and of one version; what does not fit is a mistake all the same, and said (Garbled).
Bytes travel as base64, values of :mod:`exproxy.model` as lists of their fields.
"""

from __future__ import annotations

import base64
import binascii
import json
import types
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, cast

from exproxy import __version__
from exproxy.errors import ExproxyError
from exproxy.workers.messages import Message

# What both ends must say in their Hello.
VERSION = f"exproxy {__version__}, channel 1"
# Bytes of one frame: a configuration with its texts has the most, 2 MB where it is as large as may be.
MAX_FRAME = 8 * 1024 * 1024
_HEAD = 4

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class Garbled(ExproxyError):
    """A frame that is too long, or no message."""


def encode(message: Message) -> bytes:
    """The frame. Raises Garbled where it would be longer than MAX_FRAME."""
    kind = type(message)
    body = _encode([kind.__name__, *_OUT[kind](message)]).encode("utf-8", "surrogatepass")
    if len(body) > MAX_FRAME:
        raise Garbled(f"a {kind.__name__} of {len(body)} bytes is too long for the channel")
    return len(body).to_bytes(_HEAD, "big") + body


def decode(body: bytes | bytearray | memoryview) -> Message:
    """The message in a frame without its length. Raises Garbled."""
    try:
        name, *values = json.loads(bytes(body).decode("utf-8", "surrogatepass"))
        return cast(Message, _IN[name](values))
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
        raise Garbled(f"no message of ours ({type(error).__name__}: {error})") from None


class Decoder:
    """Frames out of bytes that are cut anywhere."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are whole now. Raises Garbled."""
        kept = self._kept
        kept += data
        found: list[Message] = []
        begin = 0
        while len(kept) - begin >= _HEAD:
            length = int.from_bytes(kept[begin : begin + _HEAD], "big")
            if length > MAX_FRAME:
                raise Garbled(f"a frame of {length} bytes; {MAX_FRAME} are allowed")
            end = begin + _HEAD + length
            if len(kept) < end:
                break
            found.append(decode(kept[begin + _HEAD : end]))
            begin = end
        del kept[:begin]
        return found


Turn = Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _plain(kind: type) -> Turn:
    def check(value: Any) -> Any:
        if type(value) is kind or (kind is float and type(value) is int):
            return value
        raise ValueError(f"{value!r:.50} is no {kind.__name__}")

    return check


def _turns(hint: Any) -> tuple[Turn, Turn]:
    """How values of that type are written and read."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return _same, _same
    if hint is bytes:
        return lambda value: base64.b64encode(value).decode("ascii"), _bytes
    if is_dataclass(hint):
        return _record(cast(type, hint))
    if origin is tuple:
        out, into = _turns(inner[0])
        return lambda values: [out(v) for v in values], lambda values: tuple([into(v) for v in _list(values)])
    if origin in (types.UnionType, typing.Union):
        out, into = _turns(next(each for each in inner if each is not type(None)))
        return (
            lambda value: None if value is None else out(value),
            lambda value: None if value is None else into(value),
        )
    if origin is dict:
        out, into = _turns(inner[1])
        if into is _same:
            return _same, _plain(dict)
        return (
            lambda values: {name: out(v) for name, v in values.items()},
            lambda values: {name: into(v) for name, v in _plain(dict)(values).items()},
        )
    return _same, _plain(hint)


def _bytes(value: Any) -> bytes:
    return base64.b64decode(_plain(str)(value), validate=True)


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", _plain(list)(value))


def _record(kind: type) -> tuple[Turn, Turn]:
    hints = typing.get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    turns = [_turns(hints[name]) for name in names]
    outs = [(name, out) for name, (out, _) in zip(names, turns, strict=True)]
    intos = [into for _, into in turns]

    def write(value: Any) -> list[Any]:
        return [out(getattr(value, name)) for name, out in outs]

    def read(values: Any) -> Any:
        return kind(*[into(value) for into, value in zip(intos, _list(values), strict=True)])

    return write, read


_KINDS = typing.get_args(Message)
_BOTH = {kind: _record(kind) for kind in _KINDS}
_OUT = {kind: out for kind, (out, _) in _BOTH.items()}
_IN = {kind.__name__: into for kind, (_, into) in _BOTH.items()}
