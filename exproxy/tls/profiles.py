"""Mozilla's three TLS configurations for servers, by name.

https://wiki.mozilla.org/Security/Server_Side_TLS (guidelines 5.7): which versions, ciphers and groups.
The finite-field (DHE) ciphers are there for Windows 7 and 8.1, which with an RSA certificate know no
other authenticated ones. 3DES is not: OpenSSL has given it up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from exproxy.tls import binding

GROUPS = b"X25519:P-256:P-384"

CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    b"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    b"DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
)
# TLS 1.0 and 1.1 sign with SHA-1, which OpenSSL allows at its level 0 only.
_OLD_CIPHERS = CIPHERS + (
    b":ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"
    b"ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:"
    b"DHE-RSA-AES128-SHA256:DHE-RSA-AES256-SHA256:"
    b"AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA256:AES256-SHA256:AES128-SHA:AES256-SHA:@SECLEVEL=0"
)

# RFC 7919 A.1, ffdhe2048: the group that Mozilla names for DHE.
_FFDHE2048 = Path(__file__).with_name("ffdhe2048.pem")


@dataclass(frozen=True, slots=True)
class Profile:
    """``least``: the oldest TLS version (OpenSSL's number); ``ciphers``: those of TLS 1.2 and older.

    ``our_order``: the server chooses among the ciphers of old clients, which know no better.
    """

    least: int
    ciphers: bytes
    our_order: bool = False

    def apply(self, context: SSL.Context) -> None:
        """Make a server's context speak this."""
        options = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION
        if self.our_order:
            options |= SSL.OP_CIPHER_SERVER_PREFERENCE
        context.set_options(options)
        context.set_min_proto_version(self.least)
        context.set_cipher_list(self.ciphers)
        context.set_tls13_ciphersuites(
            b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
        )
        restrict_groups(context)
        if self.least < SSL.TLS1_3_VERSION:
            context.load_tmp_dh(str(_FFDHE2048))


PROFILES = {
    "intermediate": Profile(SSL.TLS1_2_VERSION, CIPHERS),
    "modern": Profile(SSL.TLS1_3_VERSION, CIPHERS),
    "old": Profile(SSL.TLS1_VERSION, _OLD_CIPHERS, our_order=True),
}


def restrict_groups(context: SSL.Context) -> None:
    """Agree on keys over X25519, P-256 and P-384 only.

    pyOpenSSL's public methods can name one curve, not a list and not X25519. Where its private
    binding has changed, P-256 alone is what every client of the last fifteen years can do.
    """
    if not binding.restrict_groups(context, GROUPS):
        context.set_tmp_ecdh(ec.SECP256R1())
