"""Listening addresses: the TLS of each port, and addresses that take each other's place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from exproxy.config.document import Document
from exproxy.config.errors import Where
from exproxy.config.models import ListenSection
from exproxy.config.resolved import ENDS_TLS, Listen, TlsMode
from exproxy.config.validation import hint, lacks

EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  # recognised, not bound


@dataclass(frozen=True, slots=True)
class Placed:
    """A listening address and the place in the file that asks for it; ``owner`` is for people, ``modes``
    are the TLS modes that its protocol knows."""

    listen: Listen
    where: Where
    owner: str
    modes: tuple[str, ...] = ()


def placed(
    document: Document, sections: Iterable[ListenSection], where: Where, protocol: Any, certified: bool
) -> list[Placed]:
    """The addresses of one service; what is wrong with one is told and the address left out.

    ``protocol`` is the plugin's record, ``certified`` whether the service has a certificate.
    """
    found = []
    for index, section in enumerate(sections):
        at = (*where, index)
        if section.port is None:
            if lacks(document, document.known(at), ListenSection, "port"):
                document.error(at, "'port' is missing")
            continue
        mode = _mode(document, section, at, protocol, certified)
        if mode is not None:
            listen = Listen(section.address or "", section.port, mode)
            found.append(Placed(listen, at, ".".join(map(str, where)), tuple(protocol.tls_modes)))
    return found


def _mode(
    document: Document, section: ListenSection, where: Where, protocol: Any, certified: bool
) -> TlsMode | None:
    allowed: tuple[TlsMode, ...] = protocol.tls_modes
    if section.tls is None:
        return _default_mode(document, section, where, protocol, certified)
    at = (*where, "tls")
    for mode in allowed:
        if section.tls == mode:
            if mode in ENDS_TLS and not certified:
                document.error(
                    at, f"{mode} means that exproxy ends TLS: add `certificate: FILE` to the service"
                )
                return None
            return mode
    if section.tls in ("none", *ENDS_TLS, "passthrough"):
        choice = " or ".join(allowed)
        document.error(at, f"protocol {protocol.name!r} cannot have tls {section.tls!r} here, only {choice}")
    else:
        document.error(at, f"unknown tls {section.tls!r}; {hint(section.tls, allowed)}")
    return None


def _default_mode(
    document: Document, section: ListenSection, where: Where, protocol: Any, certified: bool
) -> TlsMode | None:
    mode: TlsMode = protocol.default_ports.get(section.port, protocol.tls_modes[0])
    if mode != "implicit" or certified:
        return mode
    if "passthrough" in protocol.tls_modes:
        return "passthrough"
    document.error(
        where,
        f"protocol {protocol.name!r} ends TLS on port {section.port}: add `certificate: FILE` to the service",
    )
    return None


def clashes(document: Document, addresses: Iterable[Placed]) -> None:
    """Tell of every address that an earlier one has taken already."""
    taken: dict[int, list[Placed]] = {}
    for mine in sorted(addresses, key=lambda one: _position(document, one)):
        before = taken.setdefault(mine.listen.port, [])
        other = next((one for one in before if _same_place(one.listen, mine.listen)), None)
        unlike = next((one for one in before if _unlike(one, mine)), None)
        before.append(mine)
        if other is not None and mine.listen.port:
            document.error(mine.where, _clash(document, mine, other))
        elif unlike is not None and mine.listen.port:
            document.error(
                mine.where,
                f"{mine.listen.text} has tls {mine.listen.tls!r}, and {unlike.listen.text} has "
                f"{unlike.listen.tls!r}: one service has one way on all addresses of a port; "
                "make it a service of its own",
            )


def _unlike(one: Placed, other: Placed) -> bool:
    return one.owner == other.owner and one.listen.tls != other.listen.tls


def _position(document: Document, one: Placed) -> tuple[int, int]:
    spot = document.values.get(document.known(one.where))
    return (spot.line, spot.column) if spot else (0, 0)


def _same_place(one: Listen, other: Listen) -> bool:
    """Linux refuses the second: "::" takes the IPv4 addresses too, "" is all there are."""
    if one.host == other.host or {"", "::"} & {one.host, other.host}:
        return True
    wide = {"0.0.0.0"} & {one.host, other.host}  # noqa: S104  # recognised, not bound
    return bool(wide) and ":" not in one.host + other.host


def _clash(document: Document, mine: Placed, other: Placed) -> str:
    line, _ = _position(document, other)
    text = f"{mine.listen.text} is taken already by {other.owner} (line {line})"
    if mine.owner == other.owner and mine.listen.host == other.listen.host:
        return f"{mine.listen.text} is listed twice (line {line})"
    if mine.listen.host != other.listen.host:
        text = f"{mine.listen.text} clashes with {other.listen.text} of {other.owner} (line {line})"
        wide = other if other.listen.host in EVERYWHERE else mine
        both = " and IPv4" if wide.listen.host == "::" else ""
        return f"{text}: {wide.listen.text} takes every address{both}"
    return text
