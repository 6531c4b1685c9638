"""What a request that nobody sent would be chosen by: it is put to a conversation of its own."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable

from exproxy.actions import Action, Pick, Record
from exproxy.events import Began, Data, Deadline
from exproxy.interfaces import IConversation
from exproxy.model import CLIENT, Facts
from exproxy.question import Asked, Client
from protocols.http.exchange import AWAITED

# What would end a line, or the head.
_BROKEN = re.compile(r"[\r\n\0]")


def asked(fresh: Callable[[], IConversation], facts: Facts, client: Client) -> Asked:
    """The Pick of that client's request, or the status that it is answered with. ``fresh()`` makes a
    conversation. Raises ValueError for what cannot stand in a request."""
    conversation = fresh()
    list(conversation.handle(Began(facts)))
    said = list(conversation.handle(Data(CLIENT, request(client))))
    if not any(isinstance(each, (Pick, Record)) for each in said):
        # It waits for a body, which does not come.
        said += conversation.handle(Deadline(AWAITED))
    return _of(said, facts)


def request(client: Client) -> bytes:
    """The request's head. A user without an Authorization of its own shows Basic credentials."""
    headers = [*client.headers]
    named = {name.lower() for name, _ in headers}
    if "host" not in named:
        headers.insert(0, ("Host", client.host or client.server_name or "localhost"))
    if client.user and "authorization" not in named:
        token = base64.b64encode(f"{client.user}:".encode()).decode("ascii")
        headers.append(("Authorization", f"Basic {token}"))
    lines = [f"{client.method} {client.path or '/'} HTTP/1.1", *(f"{name}: {text}" for name, text in headers)]
    for line in lines:
        if _BROKEN.search(line):
            raise ValueError(f"{line.partition(':')[0]!r} has a line break in it")
    return "\r\n".join([*lines, "", ""]).encode("utf-8")


def _of(said: Iterable[Action], facts: Facts) -> Asked:
    for each in said:
        if isinstance(each, Pick):
            return Asked(each.facts, each.target)
        if isinstance(each, Record) and each.fields.get("status") is not None:
            route, status = each.fields.get("route"), each.fields["status"]
            return Asked(facts, str(route) if route else None, f"answered with {status} by exproxy itself")
    return Asked(facts, None, "not answered")
