"""TLS for the lab's listening services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

_SPOKEN = b"http/1.1"


@implementer(IOpenSSLServerConnectionCreator)
class LabTls:
    """TLS 1.2 and 1.3 from a PEM file with certificate and key; sessions can be resumed.

    Not Twisted's CertificateOptions: with those a client that offers only protocols unknown here (ALPN) meets
    an internal error, and curl offers h2 to everybody.
    """

    def __init__(self, certificate: Path) -> None:
        pem = certificate.read_bytes()
        key: Any = load_pem_private_key(pem, None)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.use_certificate(x509.load_pem_x509_certificate(pem))
        context.use_privatekey(key)
        context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
        context.set_session_id(b"exproxy lab")
        context.set_alpn_select_callback(_select)
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        """A connection for one client."""
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(tlsProtocol)
        return connection


def _select(connection: SSL.Connection, offered: list[bytes]) -> Any:
    return _SPOKEN if _SPOKEN in offered else SSL.NO_OVERLAPPING_PROTOCOLS
