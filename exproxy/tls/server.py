"""The certificates a service shows, chosen by SNI, under Mozilla's intermediate settings.

https://wiki.mozilla.org/Security/Server_Side_TLS: TLS 1.2 and 1.3, forward secrecy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    b"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)


def server_context(
    cert: Path, key: Path, alpn: Sequence[bytes] = (), session_id: bytes = b"exproxy"
) -> SSL.Context:
    """A context that shows the chain in ``cert``; sessions resume by id and by ticket.

    ``alpn``: the protocols spoken here, best first. A client that offers ALPN without any of them is
    turned away (ALPACA); one that offers none is welcome.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(CIPHERS)
    context.use_certificate_chain_file(str(cert))
    context.use_privatekey_file(str(key))
    context.check_privatekey()
    context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    context.set_session_id(session_id[:32])
    if alpn:
        spoken = tuple(alpn)

        def select(_: SSL.Connection, offered: list[bytes]) -> bytes:
            for name in spoken:
                if name in offered:
                    return name
            # OpenSSL sends the alert; Twisted takes any other kind of error for a mistake of ours.
            raise SSL.Error([("ALPN", "select", "no protocol in common")])

        context.set_alpn_select_callback(select)
    return context


def names_of(cert: Path) -> tuple[str, ...]:
    """The DNS names of the first certificate in a PEM file, lower case; its subject's name if it has none."""
    certificate = x509.load_pem_x509_certificates(cert.read_bytes())[0]
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = alternative.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    if not names:
        common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        names = [str(attribute.value) for attribute in common]
    return tuple(name.lower() for name in names)


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """Twisted's door to the contexts: connections begin with the first certificate, SNI changes it."""

    def __init__(self, files: Sequence[tuple[Path, Path]], alpn: Sequence[bytes] = ()) -> None:
        """``files``: (certificate chain, key) in PEM, the default first."""
        contexts = [server_context(cert, key, alpn) for cert, key in files]
        self._default = contexts[0]
        self._by_name: dict[str, SSL.Context] = {}
        for (cert, _), context in zip(files, contexts, strict=True):
            for name in names_of(cert):
                self._by_name.setdefault(name, context)
        for context in contexts:
            context.set_tlsext_servername_callback(self._named)

    def context_for(self, name: str) -> SSL.Context:
        """The context of the certificate for that host name: exact, then wildcard, then the default."""
        name = name.lower().rstrip(".")
        found = self._by_name.get(name)
        if found is None:
            found = self._by_name.get("*." + name.partition(".")[2])
        return found or self._default

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See IOpenSSLServerConnectionCreator."""
        return SSL.Connection(self._default, None)

    def _named(self, connection: SSL.Connection) -> None:
        name = connection.get_servername()
        if name:
            context = self.context_for(name.decode("ascii", "replace"))
            if context is not connection.get_context():
                connection.set_context(context)
