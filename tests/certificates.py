"""Throw-away certificates for tests, made once a run."""

from __future__ import annotations

import datetime
import tempfile
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.peers.kit.certs import Authority


class _Kept:
    """An authority whose folder goes with the process."""

    def __init__(self) -> None:
        self._holder = tempfile.TemporaryDirectory(prefix="exproxy-certificates-")
        self.authority = Authority(Path(self._holder.name))


@lru_cache
def _kept() -> _Kept:
    return _Kept()


def folder() -> Path:
    """Where the files are: a temporary folder that goes with the process."""
    return ca_file().parent


def authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The authority's certificate and key, for signing something unusual."""
    return _kept().authority.certificate, _kept().authority.key


def ca_file() -> Path:
    """The authority's certificate, PEM."""
    return _kept().authority.ca


@lru_cache
def pem(*names: str) -> Path:
    """A PEM file with a key and a certificate for those DNS names and IP addresses."""
    return _kept().authority.pem(*names)


@lru_cache
def rsa_pem(name: str, bits: int = 2048) -> Path:
    """A self-signed certificate with an RSA key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder() / f"{name}-rsa{bits}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@lru_cache
def nameless_pem(common_name: str) -> Path:
    """The same with a common name alone, as certificates were once."""
    return _kept().authority.pem(common_name, alternatives=False)
