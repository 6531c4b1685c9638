"""Mozilla's profiles: which versions, ciphers and groups a client can agree upon."""

from __future__ import annotations

from OpenSSL import SSL
from OpenSSL._util import lib
from twisted.trial.unittest import SynchronousTestCase

from exproxy.model import ServerTLSOptions
from exproxy.tls.profiles import PROFILES, restrict_groups
from exproxy.tls.server import ServerTLS
from tests.certificates import rsa_pem
from tests.tls.handshakes import plain_client, server, shake

VERSIONS = {
    "TLSv1": SSL.TLS1_VERSION,
    "TLSv1.1": SSL.TLS1_1_VERSION,
    "TLSv1.2": SSL.TLS1_2_VERSION,
    "TLSv1.3": SSL.TLS1_3_VERSION,
}


class ProfileTests(SynchronousTestCase):
    """What a server of each profile agrees to."""

    def agrees(self, profile: str, client: SSL.Connection) -> bool:
        try:
            shake(client, server(("a.test",), options=ServerTLSOptions(profile)))
        except SSL.Error:
            return False
        return True

    def test_versions(self) -> None:
        """intermediate: 1.2 and 1.3; modern: 1.3; old: all."""
        for profile, spoken in (
            ("intermediate", {"TLSv1.2", "TLSv1.3"}),
            ("modern", {"TLSv1.3"}),
            ("old", set(VERSIONS)),
        ):
            agreed = {
                name
                for name, version in VERSIONS.items()
                if self.agrees(profile, plain_client(least=version, most=version))
            }
            self.assertEqual(agreed, spoken, profile)
        self.assertEqual(set(PROFILES), {"intermediate", "modern", "old"})

    def test_ciphers(self) -> None:
        """Without forward secrecy, or with CBC, a cipher is spoken by the old profile only."""
        for cipher in (b"AES128-SHA", b"AES128-GCM-SHA256", b"ECDHE-ECDSA-AES128-SHA"):
            for profile in ("intermediate", "old"):
                context = SSL.Context(SSL.TLS_CLIENT_METHOD)
                context.set_max_proto_version(SSL.TLS1_2_VERSION)
                context.set_cipher_list(cipher + b":@SECLEVEL=0")
                # The certificate is ECDSA: plain RSA ciphers cannot be agreed upon by anybody.
                expected = profile == "old" and cipher.startswith(b"ECDHE")
                self.assertEqual(self.agrees(profile, SSL.Connection(context, None)), expected)

    def test_windows_7(self) -> None:
        """With an RSA certificate DHE is there for those who know nothing else that is authenticated."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(b"DHE-RSA-AES256-GCM-SHA384:AES256-SHA")
        # It knows of RFC 7919 as little as Windows 7 does.
        self.assertEqual(lib.SSL_CTX_set1_curves_list(context._context, b"P-256:P-384"), 1)
        client = SSL.Connection(context, None)
        shake(client, ServerTLS([(rsa_pem("a.test"), rsa_pem("a.test"))]))
        self.assertEqual(client.get_cipher_name(), "DHE-RSA-AES256-GCM-SHA384")

    def test_groups(self) -> None:
        """X25519, P-256 and P-384 are agreed upon, P-521, X448 and the post-quantum hybrid are not."""
        for group, expected in (
            (b"X25519", True),
            (b"P-256", True),
            (b"P-384", True),
            (b"P-521", False),
            (b"X448", False),
            (b"X25519MLKEM768", False),
        ):
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            self.assertEqual(lib.SSL_CTX_set1_curves_list(context._context, group), 1, group)
            self.assertEqual(self.agrees("intermediate", SSL.Connection(context, None)), expected, group)

    def test_without_the_private_binding(self) -> None:
        """Where pyOpenSSL's binding has changed, P-256 alone is agreed upon."""
        self.patch(lib, "SSL_CTX_set1_curves_list", lambda context, names: 0)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        restrict_groups(context)
        client = plain_client()
        serving = server(("a.test",))
        shake(client, serving)
        self.assertEqual(client.get_group_name(), "secp256r1")
