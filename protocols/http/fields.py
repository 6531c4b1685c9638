"""Field lines (RFC 9110 5, RFC 9112 5): what they may look like, and how one is found in a block.

A head is never taken apart into objects. One regex finds the few fields that steer framing,
routing and forwarding; any other is searched for when somebody asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from exproxy.model import Side
from protocols.http.faults import BadMessage

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
VALUE = rb"[\t -~\x80-\xff]*"
LINE = TOKEN + rb":" + VALUE + rb"\r\n"

# What no head holds anywhere: control characters but HTAB, and CR or LF alone.
NEVER = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r[^\n]")
FIELD = re.compile(rb"(" + TOKEN + rb"):(" + VALUE + rb")\r\n")
_FIELD_NAME = re.compile(rb"\n(" + TOKEN + rb"):")

# Fields by which a proxy in front of us says who asks for what; only a trusted one is believed.
# IIS and CGI read "_" in a name as "-", so such spellings count as the same field. The two at the
# end replace the path behind our back where a rewriting module looks at them.
_CLAIM = (
    rb"forwarded|x[-_](?:forwarded[-_]" + TOKEN + rb"|real[-_]ip|request[-_]id"
    rb"|original[-_]url|rewrite[-_]url|client[-_]certificate(?:[-_]" + TOKEN + rb")?)"
    rb"|client[-_]cert(?:[-_]chain)?"
)
# Who a client is by its certificate: not even a trusted proxy is believed, only the handshake here.
CERTIFICATE = re.compile(rb"client[-_]cert|x[-_]client[-_]certificate")
CLAIM = re.compile(_CLAIM)
_FRAMING = rb"content[-_]length|transfer[-_]encoding"
_HOP_BY_HOP = rb"connection|keep[-_]alive|proxy(?:[-_]connection)?|te|upgrade"

_REQUEST_MARKS = re.compile(
    rb"\n(host|expect|cookie|" + _FRAMING + rb"|" + _HOP_BY_HOP + rb"|" + _CLAIM + rb"):[\t ]*([^\r]*)"
)
_RESPONSE_MARKS = re.compile(rb"\n(trailer|" + _FRAMING + rb"|" + _HOP_BY_HOP + rb"):[\t ]*([^\r]*)")

# name in lower case, begin of the line, begin of the value, end of the line with its CRLF
Mark: TypeAlias = tuple[bytes, int, int, int]

_NO_OPTIONS: frozenset[bytes] = frozenset()
_NONE: dict[bytes, Mark] = {}
_COMMON_OPTIONS = {
    spelling: frozenset((spelling.lower(),))
    for spelling in (b"keep-alive", b"Keep-Alive", b"close", b"Close", b"upgrade", b"Upgrade")
}


class Fields:
    """The field lines of one head, validated.

    ``text``: from the line feed that ends the first line to the empty line; ``low``: that in lower case.
    ``marks``: the fields that steer something, in order; ``marked``: the last of each name. ``options``: the
    Connection options, lower case; ``closes``: one of them is close; ``plain``: nothing is expected or
    offered beside the message itself. ``known``: what others have found out from these lines alone, each
    under a key of its own: a connection brings the same lines again and again, and nobody need look twice.
    """

    __slots__ = ("closes", "known", "low", "marked", "marks", "options", "plain", "text")

    def __init__(self, text: bytes, low: bytes, marks: tuple[Mark, ...], side: Side) -> None:
        """Raises BadMessage where a field that decides occurs twice."""
        self.text = text
        self.low = low
        self.marks = marks
        self.marked = by_name(marks, side)
        self.options = _options(text, marks, self.marked)
        self.closes = b"close" in self.options
        self.plain = b"expect" not in self.marked and b"upgrade" not in self.options
        self.known: dict[object, Any] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        """Shows no field: one may be a password."""
        return f"<{len(self.text)} bytes of fields>"

    def get(self, name: bytes) -> bytes | None:
        """The value of the first field ``name`` (in lower case) without surrounding blanks, or None."""
        at = self.low.find(b"\n" + name + b":")
        return None if at < 0 else self._value(at + len(name) + 2)

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """The values of every field ``name``, in order."""
        key = b"\n" + name + b":"
        at = self.low.find(key)
        if at < 0:
            return ()
        found = []
        while at >= 0:
            found.append(self._value(at + len(key)))
            at = self.low.find(key, at + len(key))
        return tuple(found)

    def list(self, name: bytes) -> bytes:
        """The values of all marked fields ``name`` as one comma list (RFC 9110 5.3)."""
        return list_of(self.text, self.marks, name)

    def _value(self, start: int) -> bytes:
        return self.text[start : self.text.index(b"\r", start)].strip(b"\t ")

    def named(self, names: frozenset[bytes]) -> Sequence[tuple[int, int]]:
        """Begin and end of every field line whose name is one of ``names``; one pass."""
        return [
            (found.start() + 1, self.text.index(b"\n", found.end()) + 1)
            for found in _FIELD_NAME.finditer(self.low)
            if found[1] in names
        ]


def _options(text: bytes, marks: tuple[Mark, ...], marked: dict[bytes, Mark]) -> frozenset[bytes]:
    mark = marked.get(b"connection")
    if mark is None:
        return _NO_OPTIONS
    once = len(marked) == len(marks)
    return connection_options(value_of(text, mark) if once else list_of(text, marks, b"connection"))


def request_marks(low: bytes) -> tuple[Mark, ...]:
    """The fields of a request head (in lower case) that steer something."""
    return _marks(_REQUEST_MARKS, low)


def response_marks(low: bytes) -> tuple[Mark, ...]:
    """The fields of a response head (in lower case) that steer something."""
    return _marks(_RESPONSE_MARKS, low)


def _marks(pattern: re.Pattern[bytes], low: bytes) -> tuple[Mark, ...]:
    marks = []
    for found in pattern.finditer(low):
        start, end = found.span()
        marks.append((found[1], start + 1, found.start(2), end + 2))
    return tuple(marks)


def by_name(marks: tuple[Mark, ...], side: Side) -> dict[bytes, Mark]:
    """The last mark of each name. Raises BadMessage where a field that decides occurs twice."""
    if not marks:
        return _NONE
    named = {mark[0]: mark for mark in marks}
    if len(named) != len(marks):
        names = [mark[0] for mark in marks]
        for once in (b"host", b"content-length"):
            if names.count(once) > 1:
                raise BadMessage(400, f"{once.decode()} twice", side)
    return named


def value_of(raw: bytes, mark: Mark) -> bytes:
    """The value of a marked field, without surrounding blanks."""
    return raw[mark[2] : mark[3] - 2].rstrip(b"\t ")


def list_of(raw: bytes, marks: Iterable[Mark], name: bytes) -> bytes:
    """The values of all marked fields ``name`` as one comma list (RFC 9110 5.3)."""
    return b", ".join([value_of(raw, mark) for mark in marks if mark[0] == name])


def connection_options(value: bytes) -> frozenset[bytes]:
    """The options in a Connection value, lower case (RFC 9110 7.6.1); empty members are skipped."""
    common = _COMMON_OPTIONS.get(value)
    if common is not None:
        return common
    return frozenset(option.strip(b"\t ") for option in value.lower().split(b",")) - {b""}


def field_complaint(lines: bytes, side: Side) -> BadMessage:
    """What is wrong with a section of field lines that is not well-formed."""
    for number, line in enumerate(lines.split(b"\r\n"), 1):
        if not line:
            break
        if not FIELD.fullmatch(line + b"\r\n"):
            return BadMessage(400, f"field {number}: {_defect(line)}", side)
    return BadMessage(400, "no end of the head", side)


def _defect(line: bytes) -> str:
    name, colon, _ = line.partition(b":")
    if line[:1] in (b" ", b"\t"):
        return "folded line"
    if NEVER.search(line):
        return "control character or bare line end"
    if not colon:
        return "no colon"
    return "blank before the colon" if name.rstrip(b"\t ") != name else "invalid name"
