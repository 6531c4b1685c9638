"""TLS with clients, and what Extended Protection asks of the servers behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from exproxy.config.certificates import authorities
from exproxy.config.document import Document
from exproxy.config.errors import Where
from exproxy.config.layers import Layers
from exproxy.config.listens import Placed
from exproxy.config.models import ClientCertificatesSection, HstsSection
from exproxy.config.resolved import ENDS_TLS, BackendConfig
from exproxy.config.validation import lacks
from exproxy.model import ServerTLSOptions
from exproxy.tls.guard import Policy
from exproxy.tls.material import Unfit


@dataclass(frozen=True, slots=True)
class FrontTls:
    """What a service says of TLS with its clients."""

    options: ServerTLSOptions
    hsts: bytes | None
    extended_protection: Policy


def front_tls(document: Document, layers: Layers, addresses: Sequence[Placed]) -> FrontTls:
    """The service's `tls:` and `extended-protection:`; the file of clients' authorities is read."""
    section = layers.section("tls")
    at = layers.where("tls")
    written = section.get("client_certificates")
    options = server_options(document, section.get("profile"), written, at)
    hsts = section.get("hsts")
    value = _hsts(document, hsts, (*at, "hsts")) if hsts is not None else None
    if not any(one.listen.tls in ENDS_TLS for one in addresses):
        # RFC 6797 7.2: never in plain text.
        value = None
    _used(document, layers, addresses)
    return FrontTls(options, value, layers.pick("extended_protection") or "off")


def server_options(
    document: Document,
    profile: Literal["intermediate", "modern", "old"] | None,
    written: ClientCertificatesSection | None,
    where: Where,
) -> ServerTLSOptions:
    """What a `tls:` at ``where`` means; the file of clients' authorities is read."""
    authority = _client_authorities(document, written, (*where, "client-certificates")) if written else None
    return ServerTLSOptions(
        profile or "intermediate",
        authority,
        authority is not None and written is not None and written.mode != "optional",
    )


def protects(
    document: Document,
    layers: Layers,
    policy: Policy,
    backends: Iterable[BackendConfig],
    addresses: Sequence[Placed],
) -> None:
    """Tell of servers that are reached without TLS while they are to have Extended Protection."""
    ended = [one.listen.port for one in addresses if one.listen.tls in ENDS_TLS]
    if policy != "require" or not ended or all(one.tls_mode != "none" for one in backends):
        return
    document.error(
        layers.where("extended_protection"),
        f"require cannot be kept: port {ended[0]} ends TLS here and goes on in plain text. Extended "
        "Protection binds a login to the certificate that the client saw, and a server without TLS has "
        "none to compare: each such login would fail. Let the backend speak TLS with the same certificate, "
        "or turn Extended Protection off at the servers and write extended-protection: off",
    )


def _client_authorities(document: Document, section: ClientCertificatesSection, where: Where) -> str | None:
    if not section.ca:
        if lacks(document, document.known(where), ClientCertificatesSection, "ca"):
            document.error(where, "'ca' is missing: the PEM file of the authorities that sign certificates")
        return None
    path = document.folder / section.ca
    try:
        authorities(path)
    except Unfit as error:
        document.error((*where, "ca"), str(error))
        return None
    return str(path)


def _hsts(document: Document, section: HstsSection, where: Where) -> bytes | None:
    if section.max_age is None:
        if lacks(document, document.known(where), HstsSection, "max-age"):
            document.error(where, "'max-age' is missing, for example 730d")
        return None
    value = f"max-age={section.max_age:.0f}"
    if section.subdomains:
        value += "; includeSubDomains"
    if section.preload:
        value += "; preload"
    return value.encode("ascii")


def _used(document: Document, layers: Layers, addresses: Sequence[Placed]) -> None:
    own = getattr(layers.layers[-1].settings, "tls", None)
    if own is not None and addresses and not any(one.listen.tls in ENDS_TLS for one in addresses):
        where = (*layers.layers[-1].where, "tls")
        document.warn(where, "is not used: no listening port of this service ends TLS", at_key=True)
