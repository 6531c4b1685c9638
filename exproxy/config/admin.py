"""The administration's section: where it listens, under which certificate, and who may use it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from exproxy.config.certificates import usable
from exproxy.config.context import Context
from exproxy.config.document import Document
from exproxy.config.listens import Placed
from exproxy.config.models import AdminSection, ListenSection, TokenSection
from exproxy.config.resolved import AdminConfig, AdminToken, CertificateFiles, Listen, TlsMode
from exproxy.config.tls import server_options
from exproxy.config.validation import lacks

DEFAULT = ("127.0.0.1", 8404)
# Shorter ones can be guessed; `openssl rand -hex 32` gives 64 characters.
SHORTEST_TOKEN = 16
# RFC 6750 2.1: what can stand behind `Authorization: Bearer`.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True, slots=True)
class Administration:
    """What the section means, None where there is none, and its addresses with their places in the file."""

    config: AdminConfig | None = None
    addresses: list[Placed] = field(default_factory=list)


def admin(context: Context) -> Administration:
    """Read the section; what is wrong is told to the document."""
    section, document = context.draft.file.admin, context.document
    if section is None:
        return Administration()
    certified = section.tls is not None
    addresses = _addresses(document, section.listen, certified)
    tokens = _tokens(document, section.tokens or ())
    _reachable(document, section, addresses)
    certificates: tuple[CertificateFiles, ...] = ()
    options = server_options(document, None, None, ())
    if section.tls is not None:
        at = ("admin", "tls")
        options = server_options(document, section.tls.profile, section.tls.client_certificates, at)
        where = (*at, "certificate")
        certificates = usable(
            document, section.tls.certificate or (), where, context.now, context.made_by_lab
        )
        if not section.tls.certificate and not document.has(where):
            document.error(at, "'certificate' is missing: a PEM file with certificate and key", at_key=True)
    listens = tuple(one.listen for one in addresses)
    config = AdminConfig(listens, certificates, options, tokens, tuple(section.origins or ()))
    return Administration(config, addresses)


def _addresses(document: Document, sections: list[ListenSection] | None, certified: bool) -> list[Placed]:
    where = ("admin", "listen")
    usual: TlsMode = "implicit" if certified else "none"
    if sections is None:
        wrong = document.has(where)
        return [] if wrong else [Placed(Listen(*DEFAULT, usual), ("admin",), "admin")]
    found = []
    for index, one in enumerate(sections):
        at = (*where, index)
        if one.accept_proxy:
            document.error((*at, "accept-proxy"), "the administration's address takes no PROXY protocol")
        if one.tls not in (None, "none", "implicit"):
            document.error((*at, "tls"), f"must be 'none' or 'implicit', not {one.tls!r}")
        elif one.tls == "implicit" and not certified:
            document.error((*at, "tls"), "implicit needs a certificate: add admin.tls, {certificate: FILE}")
        if one.port is None:
            if lacks(document, document.known(at), ListenSection, "port"):
                document.error(at, "'port' is missing")
        else:
            mode: TlsMode = "none" if one.tls == "none" else usual
            found.append(Placed(Listen(one.address or "", one.port, mode), at, "admin.listen"))
    return found


def _reachable(document: Document, section: AdminSection, addresses: Iterable[Placed]) -> None:
    """Nothing but this machine reaches it without TLS and a token."""
    for one in addresses:
        if is_loopback(one.listen.host):
            continue
        lacking = [] if one.listen.tls == "implicit" else ["TLS (admin.tls, {certificate: FILE})"]
        if not section.tokens:
            lacking.append("tokens (admin.tokens, [{name, role, token: !file FILE}])")
        if lacking:
            document.error(
                one.where,
                f"{one.listen.text} can be reached from other machines, and the administration can take "
                f"servers out of service: add {' and '.join(lacking)}, or listen on 127.0.0.1:"
                f"{one.listen.port or DEFAULT[1]}",
            )


def is_loopback(host: str) -> bool:
    """Only this machine reaches that listening address; "" is all there are."""
    return bool(host) and ipaddress.ip_address(host).is_loopback


def _tokens(document: Document, sections: Iterable[TokenSection]) -> tuple[AdminToken, ...]:
    found: dict[str, AdminToken] = {}
    secrets: set[str] = set()
    for index, one in enumerate(sections):
        where = ("admin", "tokens", index)
        for key in ("name", "token"):
            if getattr(one, key) is None and lacks(document, where, TokenSection, key):
                document.error(where, f"{key!r} is missing")
        if one.name is None or one.token is None:
            continue
        if one.name in found:
            document.error(
                (*where, "name"), f"{one.name!r} is there twice: the event log could not tell them"
            )
        if len(one.token) < SHORTEST_TOKEN:
            advice = f"at least {SHORTEST_TOKEN} characters, for example of `openssl rand -hex 32`"
            document.error((*where, "token"), f"is too short: {advice}")
        elif not _TOKEN.fullmatch(one.token):
            document.error(
                (*where, "token"), "may have letters, digits and . _ ~ + / - only, and = at its end"
            )
        elif one.token in secrets:
            document.error((*where, "token"), "is that of another name; give each its own")
        elif (*where, "token") not in document.hidden:
            document.warn(
                (*where, "token"),
                "stands here in the clear: whoever reads this file has it; write !file PATH or !env NAME",
            )
        secrets.add(one.token)
        found[one.name] = AdminToken(one.name, one.role or "read", one.token.encode())
    return tuple(found.values())
