"""How servers are reached: port, TLS, and whether that goes together with the listening ports."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from exproxy.config.certificates import authorities
from exproxy.config.document import Document
from exproxy.config.errors import Where
from exproxy.config.layers import Layers, said
from exproxy.config.listens import Placed
from exproxy.config.resolved import BackendConfig
from exproxy.interfaces import ILocating, ILocator
from exproxy.model import TLSOptions
from exproxy.plugins import Selected
from exproxy.tls.material import Unfit


def backend(document: Document, layers: Layers, lab: frozenset[Any]) -> BackendConfig:
    """The backend section of a service, its file of authorities read unless the lab is to make it."""
    tls = _tls(layers)
    verify = tls.get("verify", "system")
    if verify not in ("system", "none"):
        path = document.folder / verify
        verify = str(path)
        try:
            if path.exists() or path not in lab:
                authorities(path)
        except Unfit as error:
            document.error(_where(layers, "verify"), f"{error}; verify: can also be system or none")
    pins = _fingerprints(document, layers, tls.get("fingerprint", ()))
    if pins and "verify" not in tls:
        verify = "none"
    options = TLSOptions(verify, tls.get("server_name"), tls.get("legacy", False), pins)
    written = layers.section("backend")
    mode, send_proxy = tls.get("mode", "follow"), written.get("send_proxy") or None
    return BackendConfig(written.get("port"), mode, options, bool(tls), send_proxy)


def _tls(layers: Layers) -> dict[str, Any]:
    """The keys of ``backend: tls:`` put together; who says how to speak TLS lifts a weaker ``false``."""
    together: dict[str, Any] = {}
    for layer in layers.layers:
        section = layer.settings.backend
        tls = said(section.tls) if section else {}
        if tls and "mode" not in tls and together.get("mode") == "none":
            del together["mode"]
        together.update(tls)
    return together


def _fingerprints(document: Document, layers: Layers, written: Sequence[str]) -> tuple[bytes, ...]:
    """``sha256:`` and 64 hexadecimal digits, with or without colons between them, as openssl shows them."""
    found = []
    for index, text in enumerate(written):
        kind, _, digits = text.partition(":")
        plain = digits.replace(":", "")
        if kind.lower() != "sha256" or not re.fullmatch("[0-9A-Fa-f]{64}", plain):
            example = "openssl x509 -in server.pem -noout -fingerprint -sha256"
            where = (*_where(layers, "fingerprint"), index)
            document.error(where, f"must be sha256: and 64 hexadecimal digits, as of `{example}`")
        else:
            found.append(bytes.fromhex(plain))
    return tuple(found)


def _where(layers: Layers, key: str) -> Where:
    """Where that key of ``backend: tls:`` was said last."""
    for layer in reversed(layers.layers):
        section = layer.settings.backend
        if section and section.tls and getattr(section.tls, key) is not None:
            return (*layer.where, "backend", "tls", key.replace("_", "-"))
    return layers.layers[-1].where


def locator(protocol: Selected[Any] | None, config: BackendConfig) -> ILocator | None:
    """What the servers are asked for their ports: nothing where the port is written, or nobody knows how."""
    if protocol is None or config.port is not None or not ILocating.providedBy(protocol.plugin):
        return None
    found: ILocator | None = protocol.plugin.locator(protocol.options)
    return found


def agree(
    document: Document,
    layers: Layers,
    config: BackendConfig,
    addresses: Sequence[Placed],
    located: bool = False,
) -> None:
    """Tell where the backend's TLS and that of the listening ports cannot both be. ``located``: the
    servers are asked for their ports."""
    mode, at = config.tls_mode, _where(layers, "mode")
    if mode == "starttls" and addresses and not all("starttls" in one.modes for one in addresses):
        document.error(
            at, "starttls is a word of smtp, imap and pop; write mode: implicit for TLS from the first byte"
        )
        return
    for one in addresses:
        port, listening = one.listen.port, one.listen.tls
        if port == 0 and config.port is None and not located:
            document.error(
                one.where, "listens on any free port, so `backend: {port: …}` must say the servers' port"
            )
        if mode == "follow" or mode == listening:
            continue
        if listening == "passthrough":
            document.error(
                at, f"port {port} passes the clients' TLS through, so its backend cannot have mode {mode!r}"
            )
        elif mode == "passthrough":
            document.error(at, f"there is no client's TLS to pass through: port {port} has tls {listening!r}")
    own = (*layers.layers[-1].where, "backend", "tls")
    written = document.raw(own)
    unused = mode == "follow" and isinstance(written, dict) and "mode" not in written
    if unused and addresses and all(one.listen.tls == "none" for one in addresses):
        document.error(
            own,
            "says how to speak TLS, but the listening ports are plain: add mode: implicit (or mode: none)",
        )
