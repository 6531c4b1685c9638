"""The certificates a service shows, chosen by SNI, under one of Mozilla's profiles.

A context cannot be changed once it is used, so a new certificate is a new context: connections that
are there keep theirs, later ones get the new one.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from exproxy.model import ServerTLSOptions
from exproxy.tls import binding
from exproxy.tls.channel import TLSChannel
from exproxy.tls.material import CertificateFiles, Material, Unfit, certificates, material
from exproxy.tls.profiles import PROFILES

# Seconds for which a client may resume its session (RFC 8446 4.6.1 allows a week).
RESUMABLE = 2 * 3600


def server_context(
    shown: Material,
    alpn: Sequence[bytes] = (),
    options: ServerTLSOptions = ServerTLSOptions(),
    session_id: bytes = b"exproxy",
) -> SSL.Context:
    """A context that shows that chain; sessions resume by id and by ticket.

    ``alpn``: the protocols spoken here, best first. A client that offers ALPN without any of them is
    turned away (ALPACA); one that offers none is welcome. Raises Unfit.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    PROFILES[options.profile].apply(context)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    _show(context, shown)
    context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    context.set_timeout(RESUMABLE)
    context.set_session_id(session_id[:32])
    if options.client_authorities is not None:
        _ask_for_certificates(context, options.client_authorities, options.client_required)
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


def _show(context: SSL.Context, shown: Material) -> None:
    try:
        context.use_certificate(shown.leaf)
        for certificate in shown.chain[1:]:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(shown.key)
        context.check_privatekey()
    except SSL.Error as error:
        reason = error.args[0][-1][-1] if error.args and error.args[0] else "no reason given"
        subject = shown.leaf.subject.rfc4514_string()
        raise Unfit(f"OpenSSL does not take the certificate of {subject}: {reason}") from None


def _ask_for_certificates(context: SSL.Context, authorities: str, required: bool) -> None:
    for authority in certificates(Path(authorities)):
        context.add_client_ca(authority)
    try:
        context.load_verify_locations(authorities)
    except SSL.Error as error:
        raise Unfit(f"OpenSSL does not take the authorities in {authorities}: {error}") from None
    mode = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if required else 0)
    context.set_verify(mode)


class Shown:
    """What is shown at one time: the contexts by name, made from one reading of the files.

    Each context encrypts tickets with keys of its own, which no other process and no later context has.
    """

    def __init__(self, shown: Sequence[Material], alpn: Sequence[bytes], options: ServerTLSOptions) -> None:
        self.material = tuple(shown)
        contexts = [server_context(each, alpn, options) for each in self.material]
        self.default = contexts[0]
        self._by_name: dict[str, SSL.Context] = {}
        for each, context in zip(self.material, contexts, strict=True):
            for name in each.names:
                self._by_name.setdefault(name, context)
            context.set_tlsext_servername_callback(self._named)
        self.fingerprints = frozenset(each.fingerprint for each in self.material)

    def context_for(self, name: str) -> SSL.Context:
        """See ServerTLS."""
        name = name.lower().rstrip(".")
        found = self._by_name.get(name)
        if found is None:
            found = self._by_name.get("*." + name.partition(".")[2])
        return found or self.default

    def _named(self, connection: SSL.Connection) -> None:
        name = connection.get_servername()
        if name:
            context = self.context_for(name.decode("ascii", "replace"))
            if context is not connection.get_context():
                connection.set_context(context)


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """The door to the contexts: connections begin with the first certificate, SNI changes it."""

    def __init__(
        self,
        files: Sequence[CertificateFiles | tuple[Path, Path]],
        alpn: Sequence[bytes] = (),
        options: ServerTLSOptions = ServerTLSOptions(),
    ) -> None:
        """``files``: certificates, the default first; a pair is (chain, key) in PEM.

        Raises Unfit.
        """
        self.files = tuple(
            each if isinstance(each, CertificateFiles) else CertificateFiles(*each) for each in files
        )
        self._alpn = tuple(alpn)
        self._options = options
        self._shown = self._read()

    def _read(self) -> Shown:
        return Shown([material(each) for each in self.files], self._alpn, self._options)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that it was made from, the authorities of client certificates among them."""
        found = [path for each in self.files for path in each.paths]
        if self._options.client_authorities is not None:
            found.append(Path(self._options.client_authorities))
        return tuple(found)

    @property
    def fingerprints(self) -> frozenset[bytes]:
        """SHA-256 of each certificate that is shown now."""
        return self._shown.fingerprints

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """The certificates that are shown now, the default first."""
        return tuple(each.leaf for each in self._shown.material)

    def context_for(self, name: str) -> SSL.Context:
        """The context of the certificate for that host name: exact, then wildcard, then the default."""
        return self._shown.context_for(name)

    def reload(self) -> bool:
        """Read the files again and show what is in them from now on; whether a certificate changed.

        Raises Unfit where one of them cannot be used: then nothing has changed.
        """
        before = self._shown
        self._shown = self._read()
        return before.fingerprints != self._shown.fingerprints

    def rotate(self) -> None:
        """Encrypt tickets with new keys from now on; those that were given out are worth nothing any more.

        Whoever finds the old ones can read no TLS 1.2 connection that was resumed with such a ticket.
        """
        self._shown = Shown(self._shown.material, self._alpn, self._options)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See IOpenSSLServerConnectionCreator."""
        return SSL.Connection(self._shown.default, None)

    def channel(self, sock: socket.socket) -> TLSChannel:
        """TLS on an accepted, non-blocking socket; its handshake has still to be carried out."""
        return binding.channel(SSL.Connection(self._shown.default, sock), begins=False)
