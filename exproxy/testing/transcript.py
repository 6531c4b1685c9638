"""The words of :meth:`exproxy.testing.Script.transcript`: one line an event, or an action.

Events::

    began                            the client is there
    connected NAME                   a link to the server NAME ("exch1" where none is named)
    unavailable: REASON
    client: TEXT                     that line, with its CRLF, arrives from the client
    server: TEXT                     … from the server
    client ends, server ends         a half-close
    client lost: REASON, server lost: REASON
    deadline NAME
    draining

Actions are told after ``->``: ``pick``, ``relay``, ``client: TEXT`` and ``server: TEXT`` (what is sent
to it, a line each), ``hold client``, ``release client``, ``retry: REASON``, ``deadline NAME in 10 s``,
``no deadline NAME``, ``learn: VALUE``, ``close server``, ``hang up: REASON``, ``pass``,
``drain: REASON``, ``fail CODE PHASE: REASON``; any other is its ``repr``.
"""

from __future__ import annotations

from exproxy import actions, events
from exproxy.model import BACKEND, CLIENT, Facts, Side
from exproxy.testing.values import link

ARROW = "-> "
SIDES = {"client": CLIENT, "server": BACKEND}
WORDS = {CLIENT: "client", BACKEND: "server"}


class Stage:
    """Makes events of lines; counts the links, so that a second ``connected`` is another one."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._links = 0

    def event(self, line: str) -> events.Event:
        """The event that a line tells of; AssertionError where it tells of none."""
        words, colon, rest = line.partition(":")
        first, _, second = words.partition(" ")
        rest = rest.removeprefix(" ")
        if first in SIDES:
            found = _of_side(SIDES[first], second, rest, bool(colon))
        else:
            found = self._of_nobody(first, second, rest)
        if found is None:
            raise AssertionError(f"{line!r} is no event that a transcript knows")
        return found

    def _of_nobody(self, first: str, second: str, rest: str) -> events.Event | None:
        if first == "began":
            return events.Began(self._facts)
        if first == "connected":
            self._links += 1
            return events.Connected(link(second or "exch1", self._links))
        if first == "unavailable":
            return events.Unavailable(rest)
        if first == "deadline":
            return events.Deadline(second)
        return events.Draining(30.0) if first == "draining" else None


def _of_side(side: Side, word: str, rest: str, colon: bool) -> events.Event | None:
    if word == "ends":
        return events.Eof(side)
    if word == "lost":
        return events.Lost(side, rest)
    return events.Data(side, rest.encode() + b"\r\n") if colon and not word else None


def lines_of(text: str) -> list[str]:
    """The lines of a transcript, without indentation, empty ones and comments (``#``)."""
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def spoken(action: actions.Action) -> list[str]:
    """An action as lines of a transcript."""
    if isinstance(action, (actions.ToClient, actions.ToBackend)):
        side = CLIENT if isinstance(action, actions.ToClient) else BACKEND
        return [f"{ARROW}{WORDS[side]}{text}" for text in _texts(action.data)]
    return [(ARROW + _word(action)).rstrip(" :")]


def _texts(data: bytes) -> list[str]:
    ended = data.endswith(b"\r\n")
    lines = data.removesuffix(b"\r\n").split(b"\r\n")
    texts = [f": {line.decode('ascii', 'backslashreplace')}".rstrip() for line in lines]
    if not ended:
        texts[-1] = f" (no line end){texts[-1]}"
    return texts


def _word(action: actions.Action) -> str:
    if isinstance(action, actions.Pick):
        return f"pick {action.target or ''}"
    if isinstance(action, actions.SetDeadline):
        return _deadline(action)
    if isinstance(action, (actions.Hold, actions.Release, actions.Close)):
        return f"{type(action).__name__.lower()} {WORDS[action.side]}"
    if isinstance(action, actions.Learn):
        return f"learn: {action.observation!r}"
    if isinstance(action, actions.Fail):
        return f"fail {action.code} {action.phase}: {action.reason}"
    if isinstance(action, (actions.Retry, actions.Drain)):
        return f"{type(action).__name__.lower()}: {action.reason}"
    if isinstance(action, actions.Hangup):
        return f"hang up: {action.reason}"
    plain = {actions.Relay(): "relay", actions.Pass(): "pass"}
    return (
        plain.get(action, repr(action)) if isinstance(action, (actions.Relay, actions.Pass)) else repr(action)
    )


def _deadline(action: actions.SetDeadline) -> str:
    if action.seconds is None:
        return f"no deadline {action.name}"
    return f"deadline {action.name} in {action.seconds:g} s"
