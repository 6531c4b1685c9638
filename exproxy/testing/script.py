"""A conversation played step by step: with values, or as a transcript that anybody can read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import get_args

from exproxy.actions import Action, SetDeadline, ToBackend, ToClient
from exproxy.events import Deadline, Event
from exproxy.interfaces import IConversation
from exproxy.model import Facts
from exproxy.testing.transcript import ARROW, Stage, lines_of, spoken
from exproxy.testing.values import facts

ACTIONS = get_args(Action)


class Script:
    """Plays events to a conversation and tells what it asks for.

    ``script.on(event) == [actions]`` is the whole of it. :meth:`play` takes many steps at once and
    :meth:`transcript` takes a text; both raise AssertionError with the difference. Kept beside:
    ``client`` and ``server`` are all bytes sent to either, ``deadlines`` those now set, in seconds,
    ``steps`` every event with its actions.
    """

    def __init__(self, conversation: IConversation) -> None:
        self.conversation = conversation
        self.steps: list[tuple[Event, list[Action]]] = []
        self.client = b""
        self.server = b""
        self.deadlines: dict[str, float] = {}

    def on(self, event: Event) -> list[Action]:
        """The actions that answer ``event``."""
        actions = list(_actions(event, self.conversation.handle(event)))
        self.steps.append((event, actions))
        for action in actions:
            self._note(action)
        return actions

    def expire(self, name: str) -> list[Action]:
        """What the coming of a deadline leads to; AssertionError where none of that name is set."""
        if name not in self.deadlines:
            raise AssertionError(f"no deadline {name!r} is set, only {sorted(self.deadlines)}")
        del self.deadlines[name]
        return self.on(Deadline(name))

    def play(self, *steps: Event | list[Action]) -> None:
        """``play(Began(f), [Pick(f)], Connected(l), [Relay()])``: each event, then what must answer it.

        An event that no list follows must be answered by nothing.
        """
        expected: list[str] = []
        found: list[str] = []
        for at, step in enumerate(steps):
            if isinstance(step, list):
                continue
            following = steps[at + 1] if at + 1 < len(steps) else []
            wanted = following if isinstance(following, list) else []
            expected += [repr(step), *(f"    {action!r}" for action in wanted)]
            answered = self.on(step)
            found += [repr(step), *(f"    {action!r}" for action in answered)]
            if answered != wanted:
                raise AssertionError(_difference(expected, found))

    def transcript(self, text: str, known: Facts | None = None) -> None:
        """Play a text: a line is an event, the lines with ``->`` below it what must answer it::

            began
                -> pick
            connected exch1
                -> relay

        The words are those of :mod:`exproxy.testing.transcript`. ``known``: the facts that the
        client begins with; default :func:`facts`.
        """
        stage = Stage(known or facts())
        found: list[str] = []
        expected = lines_of(text)
        for line in expected:
            if not line.startswith(ARROW):
                found.append(line)
                for action in self.on(stage.event(line)):
                    found += spoken(action)
        if found != expected:
            raise AssertionError(_difference(expected, found))

    def _note(self, action: Action) -> None:
        if isinstance(action, ToClient):
            self.client += action.data
        elif isinstance(action, ToBackend):
            self.server += action.data
        elif isinstance(action, SetDeadline):
            if action.seconds is None:
                self.deadlines.pop(action.name, None)
            else:
                self.deadlines[action.name] = action.seconds


def _actions(event: Event, answer: Iterable[Action]) -> Iterable[Action]:
    try:
        found = list(answer)
    except TypeError:
        raise AssertionError(
            f"{event!r} was answered by {answer!r}, which is no iterable of actions"
        ) from None
    for action in found:
        if not isinstance(action, ACTIONS):
            raise AssertionError(f"{event!r} was answered by {action!r}, which is no action")
    return found


def _difference(expected: list[str], found: list[str]) -> str:
    lines = difflib.ndiff(expected, found)
    return "\n".join(["- was expected, + is what happened:", *(line for line in lines if line[0] != "?")])
