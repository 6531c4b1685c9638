"""From the draft to the Config: what goes across sections is checked here, then all is frozen."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from types import MappingProxyType
from typing import Any

from exproxy.config import membership
from exproxy.config.admin import admin
from exproxy.config.context import Context
from exproxy.config.document import Document
from exproxy.config.draft import Draft, draft
from exproxy.config.errors import Invalid, in_order, render
from exproxy.config.lab import lab_addresses, lab_options, made_by_lab
from exproxy.config.layers import said
from exproxy.config.listens import clashes
from exproxy.config.membership import Member
from exproxy.config.resolved import (
    AdminConfig,
    Config,
    GroupConfig,
    LogTarget,
    ServerConfig,
)
from exproxy.config.routes import RouteDraft
from exproxy.config.selection import Selection
from exproxy.config.services import Service, finished, service
from exproxy.plugins import Catalogue
from exproxy.settings import Networks

# Shorter ones can be guessed; `openssl rand -base64 32` gives 44 characters.
SHORTEST_SECRET = 16


def resolve(
    document: Document, catalogue: Catalogue, host_name: str, now: datetime.datetime, state_dir: Path
) -> Config:
    """The Config that the document means; raises Invalid with everything that is wrong.

    ``host_name`` and ``state_dir`` are taken where the file is silent, ``now`` is aware.
    """
    found = draft(document)
    if found.file.state_dir:
        state_dir = document.folder / Path(found.file.state_dir).expanduser()
    options = lab_options(document, found.lab, state_dir)
    context = Context(found, Selection(document, catalogue), now, host_name, made_by_lab(options))
    services = [service(context, name, section) for name, section in found.services.items()]
    administration = admin(context)
    addresses = [address for one in services for address in one.addresses]
    clashes(document, [*addresses, *administration.addresses, *lab_addresses(options)])
    membership.groups(found, _members(services))
    secret = _secret(found)
    logs = tuple(_log(found, key) for key in ("access_log", "event_log"))
    if not document.valid:
        raise Invalid(document.shown, document.lines, document.problems)
    return _config(context, services, administration.config, options, state_dir, secret, logs)


def _members(services: list[Service]) -> list[Member]:
    sharing: list[Service | RouteDraft] = []
    for each in services:
        if each.answer is None:
            sharing.append(each)
        sharing += [part for part in each.routes if part.route.answer is None]
    return [
        Member(one.name, one.servers, one.group, one.group_where, _remembering(one))
        for one in sharing
        if one.group is not None
    ]


def _remembering(one: Service | RouteDraft) -> tuple[str, object]:
    if one.persistence is None:
        return "", None
    options = one.persistence.options
    if getattr(options, "fallback", None) is not None:
        # Whom the fallback is asked for is nobody that the persistence itself would recognise.
        options = options.model_copy(update={"fallback": None})
    return one.persistence.name, options


def _secret(found: Draft) -> tuple[bytes, ...] | None:
    if found.file.secret is None:
        return None
    secrets = [text.strip() for text in found.file.secret]
    for index, text in enumerate(secrets):
        if len(text) < SHORTEST_SECRET:
            advice = f"at least {SHORTEST_SECRET} characters, for example of `openssl rand -base64 32`"
            found.document.error(("secret", index), f"is too short: {advice}")
    if not secrets:
        found.document.error(("secret",), "is empty; remove the key to have one made")
    return tuple(text.encode() for text in secrets)


def _log(found: Draft, key: str) -> LogTarget:
    written = getattr(found.file, key)
    if written is None:
        return "stdout" if key == "access_log" else None
    if written is False or written == "stdout":
        return written or None
    path: Path = found.document.folder / written
    if not path.parent.is_dir():
        where = (key.replace("_", "-"),)
        found.document.warn(where, f"there is no folder {path.parent}; it must be there when exproxy starts")
    return path


def _config(
    context: Context,
    services: list[Service],
    admin: AdminConfig | None,
    lab: Any,
    state_dir: Path,
    secret: tuple[bytes, ...] | None,
    logs: tuple[LogTarget, ...],
) -> Config:
    found, document = context.draft, context.document
    warnings = in_order(document.problems)
    servers = {name: ServerConfig(name, **said(section)) for name, section in found.servers.items()}
    groups = {name: GroupConfig(name, **said(section)) for name, section in found.groups.items()}
    return Config(
        path=document.path,
        state_dir=state_dir,
        secret=secret,
        servers=MappingProxyType(servers),
        groups=MappingProxyType(groups),
        services=MappingProxyType({one.name: finished(context, one) for one in services}),
        admin=admin,
        lab=lab,
        access_log=logs[0],
        event_log=logs[1],
        host_name=found.file.host_name or context.host_name,
        trusted_proxies=Networks.parse(found.file.trusted_proxies or ()),
        warnings=warnings,
        warning_text=render(warnings, document.shown, document.lines),
        workers=found.file.workers or 1,
    )


def usual_state_dir() -> Path:
    """Where state goes when the file does not say: systemd's StateDirectory, else /var/lib/exproxy
    where that is ours to write, else ~/.local/state/exproxy (XDG base directories)."""
    given = os.environ.get("STATE_DIRECTORY")
    if given:
        return Path(given.partition(":")[0])
    system = Path("/var/lib/exproxy")
    if os.geteuid() == 0 or os.access(system, os.W_OK):
        return system
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "exproxy"
