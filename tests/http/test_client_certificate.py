"""Client certificates in header fields, and Strict-Transport-Security."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from exproxy.model import TLS, Destination, Facts, Source
from exproxy.testing.service import service
from protocols.http.client_certificate import certificate_fields
from protocols.http.edits import Origin, forward_request
from protocols.http.head import parse_request, parse_response
from protocols.http.marks import Marks
from protocols.http.peer import Peer
from protocols.http.refusal import refusal
from tests.certificates import pem

DER = x509.load_pem_x509_certificate(pem("ann.test").read_bytes()).public_bytes(Encoding.DER)
FORGED = (
    b"X-Client-Certificate-Subject: CN=boss",
    b"x-client-certificate: boss",
    b"X_Client_Certificate_Subject: CN=boss",
    b"X-CLIENT_CERTIFICATE-serial: 1",
    b"Client-Cert: :AAAA:",
    b"Client_Cert: :AAAA:",
    b"Client-Cert-Chain: :AAAA:",
)


class RequestTests(SynchronousTestCase):
    """What the backend is told of the client."""

    def forwarded(self, origin: Origin, *fields: bytes) -> bytes:
        lines = b"".join(field + b"\r\n" for field in fields)
        head = parse_request(b"GET /owa/ HTTP/1.1\r\nHost: a.test\r\n" + lines + b"\r\n")
        return forward_request(head, origin, b"1")

    def test_fields(self) -> None:
        """The certificate and what it says, one field each."""
        lines = certificate_fields(DER).split(b"\r\n")
        self.assertEqual(
            [line.partition(b":")[0] for line in lines],
            [
                b"Client-Cert",
                b"X-Client-Certificate-Subject",
                b"X-Client-Certificate-Issuer",
                b"X-Client-Certificate-Serial",
                b"X-Client-Certificate-Fingerprint",
                b"X-Client-Certificate-Not-After",
                b"",
            ],
        )
        self.assertIn(b"X-Client-Certificate-Subject: CN=ann.test", lines)
        self.assertEqual(certificate_fields(None), b"")

    def test_of_the_handshake(self) -> None:
        """They come from the TLS handshake, with every request of the connection."""
        facts = Facts(Source("192.0.2.7"), Destination("192.0.2.1", 443), TLS("TLSv1.3", certificate=DER))
        out = self.forwarded(Peer(facts, service()).origin)
        self.assertIn(b"\r\nX-Client-Certificate-Subject: CN=ann.test\r\n", out)
        facts = Facts(Source("192.0.2.7"), TLS("TLSv1.3"))
        self.assertNotIn(b"Client-Cert", self.forwarded(Peer(facts, service()).origin))

    def test_forged(self) -> None:
        """What a request says of itself is never passed on: not with "_", not from a trusted proxy."""
        for trusted in (False, True):
            for certificate in (b"", certificate_fields(DER)):
                origin = Origin("192.0.2.7", trusted=trusted, certificate=certificate)
                out = self.forwarded(origin, *FORGED, b"X-Client-Certify: harmless")
                self.assertNotIn(b"boss", out)
                self.assertNotIn(b"AAAA", out)
                self.assertIn(b"X-Client-Certify: harmless\r\n", out)
                self.assertEqual(out.lower().count(b"client-cert:"), 1 if certificate else 0)

    def test_not_named_away(self) -> None:
        """A client cannot have ours taken out by naming them in Connection."""
        origin = Origin("192.0.2.7", certificate=certificate_fields(DER))
        out = self.forwarded(origin, b"Connection: Client-Cert, X-Client-Certificate-Subject", FORGED[0])
        self.assertIn(b"\r\nX-Client-Certificate-Subject: CN=ann.test\r\n", out)
        self.assertNotIn(b"boss", out)


class HstsTests(SynchronousTestCase):
    """Strict-Transport-Security in answers."""

    def fields(self, hsts: bytes | None, own: bytes = b"") -> list[tuple[bytes, bytes]]:
        head = parse_response(b"HTTP/1.1 200 OK\r\n" + own + b"Content-Length: 0\r\n\r\n")
        return Marks(service(hsts=hsts)).fields(Facts(), head, "ex1")

    def test_added(self) -> None:
        """Where the service wants it every answer has it."""
        self.assertEqual(self.fields(b"max-age=1"), [(b"Strict-Transport-Security", b"max-age=1")])
        self.assertEqual(self.fields(None), [])

    def test_refusals(self) -> None:
        """What exproxy says itself has it too."""
        self.assertIn(b"\r\nStrict-Transport-Security: max-age=1\r\n", refusal(503, hsts=b"max-age=1"))
        self.assertNotIn(b"Strict-Transport-Security", refusal(503))

    def test_the_servers_own(self) -> None:
        """A server's own word stays alone: browsers believe the first only (RFC 6797 8.1)."""
        self.assertEqual(self.fields(b"max-age=1", b"strict-transport-security: max-age=2\r\n"), [])
