"""Dialogues told by what is said on either side, for conversations that stay in the path."""

from __future__ import annotations

from typing import Any

from exproxy import actions, events
from exproxy.model import BACKEND, CLIENT, TLS, Facts, Link, TLSOptions
from exproxy.settings import Limits, Timeouts
from exproxy.testing import FakeService, Script, facts, link, service

SECRETS = TLSOptions("ca.pem")


class Played:
    """A client's connection. ``client()`` and ``server()`` bring bytes from either side and give what was
    said to (client, server) for it; ``asked`` are all other actions since the last look."""

    def __init__(self, make: Any, served: FakeService, known: Facts | None = None, port: int = 25) -> None:
        self.script = Script(make(served))
        self.asked: list[actions.Action] = []
        self._links = 0
        self._known = known or facts(port=port)

    def on(self, event: events.Event) -> tuple[bytes, bytes]:
        said = {CLIENT: b"", BACKEND: b""}
        for action in self.script.on(event):
            if isinstance(action, actions.ToClient):
                said[CLIENT] += action.data
            elif isinstance(action, actions.ToBackend):
                said[BACKEND] += action.data
            elif not (isinstance(action, actions.SetDeadline) and action.name == "idle"):
                self.asked.append(action)
        return said[CLIENT], said[BACKEND]

    def begin(self) -> bytes:
        """The client is there; what it is told at once."""
        return self.on(events.Began(self._known))[0]

    def connect(self, server: str = "exch1") -> Link:
        """The server that was asked for is there."""
        self._links += 1
        made = link(server, self._links)
        self.on(events.Connected(made))
        return made

    def client(self, data: bytes) -> tuple[bytes, bytes]:
        return self.on(events.Data(CLIENT, data))

    def server(self, data: bytes) -> tuple[bytes, bytes]:
        return self.on(events.Data(BACKEND, data))

    def secure(self, side: Any) -> tuple[bytes, bytes]:
        return self.on(events.Secured(side, TLS("TLSv1.3")))

    def expire(self, name: str) -> tuple[bytes, bytes]:
        assert name in self.script.deadlines, self.script.deadlines
        return self.on(events.Deadline(name))

    def look(self, kind: type) -> list[Any]:
        """The actions of that kind since the last look."""
        found = [action for action in self.asked if isinstance(action, kind)]
        self.asked = [action for action in self.asked if not isinstance(action, kind)]
        return found

    @property
    def over(self) -> str | None:
        """Why it was hung up, or None."""
        found = [action for action in self.asked if isinstance(action, actions.Hangup)]
        return found[0].reason if found else None

    def counted(self) -> list[str]:
        return [action.name for action in self.look(actions.Count)]

    def recorded(self) -> dict[str, object]:
        together: dict[str, object] = {}
        for action in self.look(actions.Record):
            together.update(action.fields)
        return together

    def users(self) -> list[Any]:
        """The facts of the Picks since the last look."""
        return [action.facts for action in self.look(actions.Pick)]


def served(
    options: Any,
    tls: str = "none",
    starttls: bool = False,
    port: int = 25,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
) -> FakeService:
    """A service whose clients begin with that ``tls``, and whose servers are asked for STARTTLS or not."""
    return service(
        options,
        tls={port: tls},
        starttls=SECRETS if starttls else None,
        host_name="mx.example.org",
        limits=limits,
        timeouts=timeouts,
    )
