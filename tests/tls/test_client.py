"""TLS towards backends: verified by name or address, unverified on request, old versions on request."""

from __future__ import annotations

from pathlib import Path

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.model import TLSOptions
from exproxy.tls.client import ClientTLS, client_context
from exproxy.tls.material import CertificateFiles, material
from exproxy.tls.server import ServerTLS
from tests.certificates import authority, ca_file, folder, nameless_pem, pem
from tests.tls.handshakes import server, shake, shown, verifying_client


class ClientTests(SynchronousTestCase):
    """ClientTLS against servers in memory."""

    def accepted(self, options: TLSOptions, host: str, *names: str) -> SSL.Connection:
        client, refused = verifying_client(options, host)
        accepting = shake(client, server(names))
        self.assertIsNone(refused.why)
        return accepting

    def refused(self, options: TLSOptions, host: str, *names: str) -> object:
        client, refused = verifying_client(options, host)
        self.assertRaises(SSL.Error, shake, client, server(names))
        return refused.why

    def setUp(self) -> None:
        self.ours = TLSOptions(str(ca_file()))

    def test_interface(self) -> None:
        """It is Twisted's way to make client connections."""
        self.assertTrue(verifyObject(IOpenSSLClientConnectionCreator, ClientTLS(self.ours, "a.test")))

    def test_name(self) -> None:
        """A server is verified by the name it is configured by, which is sent as SNI too."""
        accepting = self.accepted(self.ours, "ex1.litware.test", "ex1.litware.test")
        self.assertEqual(accepting.get_servername(), b"ex1.litware.test")
        self.accepted(self.ours, "ex1.litware.test", "*.litware.test")

    def test_another_name(self) -> None:
        """A certificate for another name is refused, and the reason is kept for the log."""
        self.assertIsInstance(
            self.refused(self.ours, "ex1.litware.test", "ex2.litware.test"), VerificationError
        )

    def test_server_name_wins(self) -> None:
        """`server-name` is verified and sent in place of the host."""
        options = TLSOptions(str(ca_file()), server_name="outlook.litware.test")
        accepting = self.accepted(options, "192.0.2.1", "outlook.litware.test")
        self.assertEqual(accepting.get_servername(), b"outlook.litware.test")
        self.assertIsNotNone(self.refused(options, "ex1.litware.test", "ex1.litware.test"))

    def test_address(self) -> None:
        """A server that is configured by address is verified by address, IPv4 and IPv6, without SNI."""
        self.assertIsNone(self.accepted(self.ours, "192.0.2.1", "a.test", "192.0.2.1").get_servername())
        self.accepted(self.ours, "2001:db8::1", "a.test", "2001:db8::1")
        self.assertIsNotNone(self.refused(self.ours, "192.0.2.2", "a.test", "192.0.2.1"))
        # A name that looks like an address is none.
        self.assertIsNotNone(self.refused(self.ours, "192.0.2.3", "b.test"))

    def test_without_alternative_names(self) -> None:
        """A certificate with a common name alone is refused like any wrong name, with a reason."""
        path = nameless_pem("ex1.litware.test")
        for host in ("ex1.litware.test", "192.0.2.1"):
            client, refused = verifying_client(self.ours, host)
            self.assertRaises(SSL.Error, shake, client, ServerTLS([(path, path)]))
            self.assertIsNotNone(refused.why)

    def test_unknown_authority(self) -> None:
        """An authority that is not in the file is refused; the system's file does not know ours."""
        elsewhere = TLSOptions(str(pem("elsewhere.test")))
        for options in (elsewhere, TLSOptions("system")):
            self.assertIsNone(self.refused(options, "a.test", "a.test"))

    def test_unverified(self) -> None:
        """`verify: none` takes whoever answers."""
        client, refused = verifying_client(TLSOptions("none"), "a.test")
        shake(client, server(("b.test",)))
        self.assertEqual(shown(client), "b.test")
        self.assertIsNone(refused.why)

    def test_internationalised_names(self) -> None:
        """A name in any script is sent in its ASCII form."""
        accepting = self.accepted(TLSOptions("none"), "müller.test", "b.test")
        self.assertEqual(accepting.get_servername(), b"xn--mller-kva.test")

    def test_no_authorities(self) -> None:
        """A file that is gone or no PEM is an error when the context is made."""
        self.assertRaises(SSL.Error, client_context, TLSOptions("/nonexistent/ca.pem"))

    def test_legacy(self) -> None:
        """TLS 1.0 is spoken with `legacy`, and only then."""
        for legacy in (False, True):
            context = SSL.Context(SSL.TLS_SERVER_METHOD)
            context.set_cipher_list(b"ALL:@SECLEVEL=0")
            context.set_max_proto_version(SSL.TLS1_VERSION)
            context.use_certificate_chain_file(str(pem("old.test")))
            context.use_privatekey_file(str(pem("old.test")))
            client, _ = verifying_client(TLSOptions(str(ca_file()), legacy=legacy), "old.test")
            if legacy:
                shake(client, SSL.Connection(context, None))
                self.assertEqual(client.get_protocol_version_name(), "TLSv1")
            else:
                self.assertRaises(SSL.Error, shake, client, SSL.Connection(context, None))


class FingerprintTests(SynchronousTestCase):
    """Servers known by the certificate itself."""

    def attempt(self, options: TLSOptions, path: Path) -> object:
        """None, or why a server with that certificate was refused."""
        client, refused = verifying_client(options, "ex1.litware.test")
        try:
            shake(client, ServerTLS([(path, path)]))
        except SSL.Error:
            return refused.why or "OpenSSL"
        return None

    def test_alone(self) -> None:
        """The pinned certificate is enough, whatever its name and whoever signed it; any other is not."""
        path = pem("elsewhere.test")
        options = TLSOptions("none", fingerprints=(b"x" * 32, pin(path)))
        self.assertTrue(options.verified)
        self.assertIsNone(self.attempt(options, path))
        self.assertIsNone(self.attempt(TLSOptions("none", fingerprints=(pin(selfsigned()),)), selfsigned()))
        why = self.attempt(options, pem("ex1.litware.test"))
        self.assertIn(f"sha256:{pin(pem('ex1.litware.test')).hex()}", str(why))
        self.assertIsNotNone(self.attempt(options, selfsigned()))

    def test_with_authorities(self) -> None:
        """Where authorities are given too, both must hold, and the name as well."""
        right, wrong = pem("ex1.litware.test"), pem("elsewhere.test")
        for options, path, good in (
            (TLSOptions(str(ca_file()), fingerprints=(pin(right),)), right, True),
            (TLSOptions(str(ca_file()), fingerprints=(pin(wrong),)), right, False),
            (TLSOptions(str(ca_file()), fingerprints=(pin(wrong),)), wrong, False),
            (TLSOptions(str(ca_file()), fingerprints=(pin(selfsigned()),)), selfsigned(), False),
        ):
            self.assertEqual(self.attempt(options, path) is None, good)


def pin(path: Path) -> bytes:
    """The SHA-256 fingerprint of the certificate in a file."""
    return material(CertificateFiles(path, path)).fingerprint


def selfsigned() -> Path:
    """The authority's own certificate, shown as a server's."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    certificate, key = authority()
    path = folder() / "selfsigned.pem"
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(certificate.public_bytes(Encoding.PEM) + key.private_bytes(*form))
    return path
