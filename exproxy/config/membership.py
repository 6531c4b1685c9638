"""Who belongs to whom: the servers of services, the services of groups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from exproxy.config.document import Document
from exproxy.config.draft import Draft
from exproxy.config.errors import Where
from exproxy.config.validation import hint


@dataclass(frozen=True, slots=True)
class Member:
    """A service in a group: its name, its servers, the group and where that is named."""

    service: str
    servers: tuple[str, ...]
    group: str
    where: Where
    persistence: tuple[str, Any] = ("", None)


def servers(draft: Draft, named: list[str] | None, where: Where) -> tuple[str, ...]:
    """The names of a service's servers, all of them where it names none; in the order of `servers:`."""
    document, known = draft.document, draft.servers_named
    if named is None:
        _useful(draft, known, ("servers",))
        return known
    if not named:
        document.error((*where, "servers"), "is empty; name servers, or remove the key to have all of them")
    chosen = []
    for index, name in enumerate(named):
        at = (*where, "servers", index)
        if name not in known:
            document.error(at, f"unknown server {name!r}; {hint(name, known)}")
        elif name in chosen:
            document.error(at, f"server {name!r} is named twice")
        else:
            chosen.append(name)
    in_order = tuple(name for name in known if name in chosen)
    _useful(draft, in_order, (*where, "servers"))
    return in_order


def _useful(draft: Draft, names: tuple[str, ...], where: Where) -> None:
    present = [draft.servers[name] for name in names if name in draft.servers]
    if not present or len(present) < len(names):
        return
    if all(server.backup for server in present):
        draft.document.warn(where, "has backup servers only, so they serve from the beginning", at_key=True)
    if all(server.weight == 0 for server in present):
        draft.document.warn(where, "has servers of weight 0 only, so no new client is served", at_key=True)


def groups(draft: Draft, members: Iterable[Member]) -> None:
    """Tell of unknown groups, of groups whose services differ in their servers, of unused ones."""
    first: dict[str, Member] = {}
    used = set()
    for member in members:
        used.add(member.group)
        if member.group not in draft.groups_named:
            likely = hint(member.group, draft.groups_named)
            draft.document.error(member.where, f"unknown group {member.group!r}; {likely}")
            continue
        leader = first.setdefault(member.group, member)
        if leader.servers != member.servers:
            draft.document.error(member.where, _different(member, leader))
        if leader.persistence[0] == member.persistence[0] and leader.persistence != member.persistence:
            draft.document.warn(
                member.where,
                f"{leader.service!r} is in group {member.group!r} with other options of "
                f"{member.persistence[0]}, so the two may not recognise each other's clients",
            )
    for name in draft.groups_named:
        if name in (draft.file.services or {}):
            text = "is the name of a service too, whose memory would be the same; choose another"
            draft.document.error(("groups", name), text, at_key=True)
        if name not in used:
            _unused(draft.document, name)


def _different(member: Member, leader: Member) -> str:
    return (
        f"the services of group {member.group!r} must have the same servers: "
        f"{leader.service!r} has {', '.join(leader.servers) or 'none'}, "
        f"{member.service!r} has {', '.join(member.servers) or 'none'}"
    )


def _unused(document: Document, name: str) -> None:
    document.warn(
        ("groups", name),
        f"no service uses this group; name it in a service: persistence: {{source-ip: {{group: {name}}}}}",
        at_key=True,
    )
