"""What clients are shown: the right certificate, modern TLS, and no protocol that is not spoken."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.model import ServerTLSOptions
from exproxy.tls.material import CertificateFiles, Unfit, material
from exproxy.tls.server import RESUMABLE, ServerTLS
from tests.certificates import nameless_pem, pem, rsa_pem
from tests.tls.handshakes import plain_client, server, shake, shown


class ServerNameTests(SynchronousTestCase):
    """The choice among certificates."""

    def setUp(self) -> None:
        self.server = server(
            ("default.test", "Second.Default.test"),
            ("outlook.litware.test",),
            ("*.litware.test",),
            ("mail.litware.test", "default.test"),
        )

    def shown(self, name: str | None) -> str:
        client = plain_client(name)
        shake(client, self.server)
        return shown(client)

    def test_interface(self) -> None:
        """It is Twisted's way to make server connections."""
        self.assertTrue(verifyObject(IOpenSSLServerConnectionCreator, self.server))

    def test_exact(self) -> None:
        """An exact name wins over a wildcard, whichever stands first."""
        self.assertEqual(self.shown("outlook.litware.test"), "outlook.litware.test")
        self.assertEqual(self.shown("mail.litware.test"), "mail.litware.test")

    def test_wildcard(self) -> None:
        """A wildcard stands for one label, not for none and not for two."""
        self.assertEqual(self.shown("other.litware.test"), "*.litware.test")
        self.assertEqual(self.shown("litware.test"), "default.test")
        self.assertEqual(self.shown("a.b.litware.test"), "default.test")

    def test_default(self) -> None:
        """No name and an unknown one are shown the first certificate."""
        self.assertEqual(self.shown(None), "default.test")
        self.assertEqual(self.shown("unknown.test"), "default.test")

    def test_first_of_two_with_the_same_name(self) -> None:
        """Of two certificates for one name the first is shown."""
        self.assertEqual(self.shown("default.test"), "default.test")

    def test_spelling(self) -> None:
        """Case and a final dot do not matter."""
        self.assertEqual(self.shown("OUTLOOK.Litware.TEST"), "outlook.litware.test")
        self.assertEqual(self.shown("second.default.test"), "default.test")
        self.assertIs(
            self.server.context_for("outlook.litware.test."), self.server.context_for("outlook.litware.test")
        )

    def test_common_name(self) -> None:
        """A certificate without alternative names goes by its common name."""
        path = nameless_pem("ex1.litware.test")
        self.assertEqual(material(CertificateFiles(path, path)).names, ("ex1.litware.test",))
        self.server = ServerTLS([(pem("default.test"), pem("default.test")), (path, path)])
        self.assertEqual(self.shown("ex1.litware.test"), "ex1.litware.test")


class WeakTests(SynchronousTestCase):
    """What OpenSSL thinks too weak."""

    def test_short_key(self) -> None:
        """A key of 1024 bits is refused in words, and shown by the old profile."""
        files = [(rsa_pem("weak.test", 1024), rsa_pem("weak.test", 1024))]
        error = self.assertRaises(Unfit, ServerTLS, files)
        self.assertIn("does not take the certificate of CN=weak.test: ee key too small", str(error))
        self.assertEqual(len(ServerTLS(files, options=ServerTLSOptions("old")).certificates), 1)


class ServerSettingsTests(SynchronousTestCase):
    """Versions, ALPN, sessions."""

    def test_versions(self) -> None:
        """TLS 1.2 and 1.3 are spoken, nothing older."""
        for version, name in ((SSL.TLS1_2_VERSION, "TLSv1.2"), (SSL.TLS1_3_VERSION, "TLSv1.3")):
            client = plain_client(least=version, most=version)
            shake(client, server(("a.test",)))
            self.assertEqual(client.get_protocol_version_name(), name)
        for version in (SSL.TLS1_VERSION, SSL.TLS1_1_VERSION):
            client = plain_client(least=version, most=version)
            self.assertRaises(SSL.Error, shake, client, server(("a.test",)))

    def test_alpn(self) -> None:
        """The server's order decides among what the client offers, also behind SNI."""
        serving = server(("a.test",), ("b.test",), alpn=(b"h2", b"http/1.1"))
        for name in ("a.test", "b.test"):
            client = plain_client(name, alpn=(b"http/1.1", b"h2"))
            shake(client, serving)
            self.assertEqual(client.get_alpn_proto_negotiated(), b"h2")

    def test_no_alpn(self) -> None:
        """A client that offers none is welcome."""
        client = plain_client()
        shake(client, server(("a.test",), alpn=(b"http/1.1",)))
        self.assertEqual(client.get_alpn_proto_negotiated(), b"")

    def test_foreign_alpn(self) -> None:
        """A client that offers only other protocols is refused with the alert, an error of TLS like any."""
        serving = server(("a.test",), ("b.test",), alpn=(b"http/1.1",))
        for name in ("a.test", "b.test"):
            client = plain_client(name, alpn=(b"imap", b"ftp"))
            self.assertRaises(SSL.Error, shake, client, serving)
            error = self.assertRaises(SSL.Error, client.do_handshake)
            self.assertIn("no application protocol", str(error))

    def test_alpn_is_of_no_interest(self) -> None:
        """A service without ALPN welcomes whatever is offered, and chooses nothing."""
        client = plain_client(alpn=(b"imap",))
        shake(client, server(("a.test",)))
        self.assertEqual(client.get_alpn_proto_negotiated(), b"")

    def test_sessions_resume(self) -> None:
        """A client that comes again is known again, by TLS 1.2 and 1.3, also behind SNI."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            serving = server(("a.test",), ("b.test",))
            for name in ("a.test", "b.test"):
                first = plain_client(name, least=version, most=version)
                shake(first, serving)
                session = first.get_session()
                assert session is not None
                again = SSL.Connection(first.get_context(), None)
                again.set_tlsext_host_name(name.encode())
                again.set_session(session)
                accepted = shake(again, serving)
                self.assertEqual(master_key(again, version), master_key(accepted, version))
                self.assertTrue(resumed(again), (version, name))

    def test_tickets_of_before(self) -> None:
        """Once the keys of tickets are changed a client that comes again is met like a new one; the
        certificate stays."""
        serving = server(("a.test",), ("b.test",))
        for name in ("a.test", "b.test"):
            first = plain_client(name)
            shake(first, serving)
            session = first.get_session()
            assert session is not None
            for rotated in (False, True):
                if rotated:
                    serving.rotate()
                again = SSL.Connection(first.get_context(), None)
                again.set_tlsext_host_name(name.encode())
                again.set_session(session)
                shake(again, serving)
                self.assertEqual(resumed(again), not rotated)
                self.assertEqual(shown(again), name)

    def test_the_life_of_a_ticket(self) -> None:
        """Tickets say for how long they are good."""
        self.assertEqual(server(("a.test",)).context_for("a.test").get_timeout(), RESUMABLE)

    def test_renegotiation_is_refused(self) -> None:
        """A client of TLS 1.2 cannot make the server shake hands again and again."""
        client = plain_client(most=SSL.TLS1_2_VERSION)
        accepted = shake(client, server(("a.test",)))
        client.renegotiate()
        self.assertRaises(SSL.Error, self._again, client, accepted)

    def _again(self, client: SSL.Connection, accepted: SSL.Connection) -> None:
        from tests.tls.handshakes import carry

        for _ in range(4):
            for end, other in ((client, accepted), (accepted, client)):
                try:
                    end.recv(10) if end is accepted else end.do_handshake()
                except SSL.WantReadError:
                    pass
                finally:
                    carry(end, other)


def master_key(connection: SSL.Connection, version: int) -> bytes:
    """What both ends of one session share (TLS 1.2); nothing is compared for TLS 1.3."""
    return connection.master_key() or b"" if version == SSL.TLS1_2_VERSION else b""


def resumed(connection: SSL.Connection) -> bool:
    """Whether OpenSSL says that the session was used again."""
    from OpenSSL._util import lib

    return bool(lib.SSL_session_reused(connection._ssl))
