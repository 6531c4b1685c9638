"""TLS as the client of a backend: verified by name or fingerprint, old versions on request."""

# mypy: allow-untyped-calls
from __future__ import annotations

import socket
from collections.abc import Callable, Hashable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from exproxy.errors import ExproxyError
from exproxy.model import TLSOptions
from exproxy.tls import binding
from exproxy.tls.channel import TLSChannel
from exproxy.tls.material import fingerprint
from exproxy.tls.profiles import CIPHERS
from exproxy.tls.sessions import Kept, Sessions

Verify = Callable[[SSL.Connection, crypto.X509, int, int, int], bool]


# Certificates that were found to bear the right name; a server has one, and the next one already.
GOOD = 8


class WrongCertificate(ExproxyError):
    """A server showed another certificate than the one it is known by."""

    def __init__(self, served: bytes) -> None:
        # In the form in which it can be copied into the configuration, where it is the right one.
        super().__init__(f"not the certificate of `fingerprint:`, but sha256:{served.hex()}")


def client_context(options: TLSOptions) -> SSL.Context:
    """A context for the backends of one service; it may serve many connections.

    Raises OSError or SSL.Error where the file of authorities cannot be read.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    if options.legacy:
        # Windows 2008 R2 as delivered speaks TLS 1.0 with CBC and SHA-1; OpenSSL calls that level 0.
        context.set_min_proto_version(SSL.TLS1_VERSION)
        context.set_cipher_list(b"HIGH:!aNULL:@SECLEVEL=0")
    else:
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(CIPHERS + b":AES256-GCM-SHA384:AES128-GCM-SHA256")
    if options.verify == "system":
        context.set_default_verify_paths()
    elif options.verify != "none":
        context.load_verify_locations(str(Path(options.verify)))
    return context


@implementer(IOpenSSLClientConnectionCreator)
class ClientTLS:
    """Connections to one host name (or IP address), verified unless told not to be.

    On a socket of ours they resume sessions, unless a full handshake is wanted each time, so that the
    certificate is seen which a server has now. Twisted's own connections never do.
    """

    def __init__(
        self, options: TLSOptions, host: str, context: SSL.Context | None = None, *, resume: bool = True
    ) -> None:
        """``host``: the name that the backend is configured by; ``options.server_name`` wins over it."""
        self._name = options.server_name or host
        self._address = isIPAddress(self._name) or isIPv6Address(self._name)
        self._verify = options.verify != "none"
        self._fingerprints = options.fingerprints
        self._context = context or client_context(options)
        self._resume = resume
        self._good: dict[bytes, None] = {}
        self.sessions = Sessions()

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See IOpenSSLClientConnectionCreator."""
        connection = SSL.Connection(self._context, None)
        self._prepare(connection, protocol)
        return connection

    def channel(self, sock: socket.socket) -> TLSChannel:
        """TLS on a connected, non-blocking socket; its handshake has still to be carried out."""
        connection = SSL.Connection(self._context, sock)
        made = binding.channel(connection, begins=True)
        self._prepare(connection, made)
        if self._resume:
            # One that is gone already has no address, and no handshake.
            with suppress(OSError):
                self._remember(connection, made, self.peer_of(sock))
        return made

    def peer_of(self, sock: socket.socket) -> Hashable:
        """Whose sessions are offered there: another port, or address, may be another server."""
        address: Hashable = sock.getpeername()
        return address

    # -- sessions --------------------------------------------------------------------

    def _remember(self, connection: SSL.Connection, channel: TLSChannel, peer: Hashable) -> None:
        """Offer a session that there is, and keep the one that the server gives."""
        offered = self.sessions.take(peer)
        if offered is not None:
            connection.set_session(offered.session)
        channel.learn = lambda connection: self._learn(connection, peer, offered)

    def _learn(self, connection: SSL.Connection, peer: Hashable, offered: Kept | None) -> None:
        verified = None
        if offered is not None:
            if binding.resumed(connection) is False:
                self.sessions.refuse(peer)
            else:
                verified = offered.verified
        session = connection.get_session()
        if session is not None:
            self.sessions.keep(peer, session, verified)

    # -- verification ----------------------------------------------------------------

    def _prepare(self, connection: SSL.Connection, protocol: Any) -> None:
        if not self._address:
            connection.set_tlsext_host_name(self._name.encode("idna"))
        if self._verify or self._fingerprints:
            connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._judge(protocol))
        else:
            connection.set_verify(SSL.VERIFY_NONE)

    def _judge(self, protocol: Any) -> Verify:
        def judge(_: SSL.Connection, certificate: crypto.X509, __: int, depth: int, okay: int) -> bool:
            if depth or (self._verify and not okay):
                return bool(okay) or not self._verify
            der = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
            if der in self._good:
                return True
            try:
                self._look_at(der)
            except (WrongCertificate, VerificationError, CertificateError, ValueError):
                # Raised here it would be lost inside OpenSSL; this way it is the reason that the log shows.
                protocol.failVerification(Failure())
                return False
            if len(self._good) >= GOOD:
                self._good.clear()
            self._good[der] = None
            return True

        return judge

    def _look_at(self, der: bytes) -> None:
        """Raises WrongCertificate, VerificationError, CertificateError or ValueError; who signed it, and
        when it ends, is OpenSSL's to say."""
        served = fingerprint(der)
        if self._fingerprints and served not in self._fingerprints:
            raise WrongCertificate(served)
        if not self._verify:
            return
        leaf = x509.load_der_x509_certificate(der)
        if self._address:
            verify_certificate_ip_address(leaf, self._name)
        else:
            verify_certificate_hostname(leaf, self._name)
