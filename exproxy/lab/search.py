"""IMAP SEARCH (RFC 3501, 6.4.4) over the lab's messages: a query becomes a test on one message."""

# mypy: allow-untyped-calls
# (twisted.web and twisted.mail are not typed)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timezone
from email import message_from_bytes
from typing import Any

from twisted.mail.imap4 import IllegalClientResponse, parseIdList

from exproxy.lab.store import Message


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message, its sequence number, and the largest sequence number and UID, which is what ``*`` means."""

    message: Message
    sequence: int
    last_sequence: int
    last_uid: int


Test = Callable[[Candidate], bool]

_FLAGS = {"SEEN": "\\Seen", "ANSWERED": "\\Answered", "FLAGGED": "\\Flagged", "DELETED": "\\Deleted"}
_FLAGS |= {"DRAFT": "\\Draft", "RECENT": "\\Recent"}
_FIELDS = ("FROM", "TO", "CC", "BCC", "SUBJECT")


def search_test(query: list[Any]) -> Test:
    """The test for a parsed query; all its keys have to hold. Raises IllegalClientResponse."""
    rest, tests = list(query), []
    while rest:
        tests.append(_key(rest))
    return lambda candidate: all(test(candidate) for test in tests)


def _key(rest: list[Any]) -> Test:
    word = _next(rest)
    if isinstance(word, list):
        return search_test(word)
    name = word.decode("ascii", "replace").upper()
    if name[:1].isdigit() or name[:1] == "*":
        return lambda c: _within(word, c.sequence, c.last_sequence)
    if name in _COMPOUND:
        return _COMPOUND[name](rest)
    negative = name.startswith("UN") and name[2:] in _FLAGS
    if negative or name in _FLAGS:
        flag = _FLAGS[name[2:] if negative else name]
        return lambda c: (flag in c.message.flags) is not negative
    if name in _FIELDS:
        return _field(name, _text(rest))
    raise IllegalClientResponse(f"unsupported search key {name}")


def _next(rest: list[Any]) -> Any:
    if not rest:
        raise IllegalClientResponse("a search key lacks its argument")
    return rest.pop(0)


def _text(rest: list[Any]) -> str:
    word = _next(rest)
    if not isinstance(word, bytes):
        raise IllegalClientResponse("a search key wants a string")
    return word.decode("utf-8", "replace").lower()


def _within(numbers: bytes, value: int, last: int) -> bool:
    return value in parseIdList(numbers, last)


def _field(name: str, text: str) -> Test:
    return lambda c: text in str(message_from_bytes(c.message.raw).get(name, "")).lower()


def _header(rest: list[Any]) -> Test:
    return _field(_text(rest), _text(rest))


def _part(whole: bool) -> Callable[[list[Any]], Test]:
    def key(rest: list[Any]) -> Test:
        text = _text(rest).encode()
        return lambda c: text in (c.message.raw if whole else c.message.raw.partition(b"\r\n\r\n")[2]).lower()

    return key


def _not(rest: list[Any]) -> Test:
    test = _key(rest)
    return lambda c: not test(c)


def _or(rest: list[Any]) -> Test:
    one, other = _key(rest), _key(rest)
    return lambda c: one(c) or other(c)


def _uid(rest: list[Any]) -> Test:
    numbers = _text(rest).encode()
    return lambda c: _within(numbers, c.message.uid, c.last_uid)


def _size(larger: bool) -> Callable[[list[Any]], Test]:
    def key(rest: list[Any]) -> Test:
        text = _text(rest)
        if not text.isdigit():
            raise IllegalClientResponse("a size is a number")
        limit = int(text)
        return lambda c: len(c.message.raw) > limit if larger else len(c.message.raw) < limit

    return key


def _day(holds: Callable[[date, date], bool]) -> Callable[[list[Any]], Test]:
    def key(rest: list[Any]) -> Test:
        try:
            day = datetime.strptime(_text(rest), "%d-%b-%Y").replace(tzinfo=timezone.utc).date()
        except ValueError as error:
            raise IllegalClientResponse("a date is written 01-Jan-2030") from error
        return lambda c: holds(datetime.fromtimestamp(c.message.received, timezone.utc).date(), day)

    return key


_COMPOUND: dict[str, Callable[[list[Any]], Test]] = {
    "ALL": lambda rest: lambda c: True,
    "NEW": lambda rest: lambda c: "\\Recent" in c.message.flags and "\\Seen" not in c.message.flags,
    "OLD": lambda rest: lambda c: "\\Recent" not in c.message.flags,
    "NOT": _not,
    "OR": _or,
    "UID": _uid,
    "HEADER": _header,
    "BODY": _part(whole=False),
    "TEXT": _part(whole=True),
    "LARGER": _size(larger=True),
    "SMALLER": _size(larger=False),
    "SINCE": _day(lambda received, day: received >= day),
    "BEFORE": _day(lambda received, day: received < day),
    "ON": _day(lambda received, day: received == day),
}
