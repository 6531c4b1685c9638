"""TLS handshakes in memory, between two OpenSSL connections."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from cryptography import x509
from OpenSSL import SSL

from exproxy.model import ServerTLSOptions, TLSOptions
from exproxy.tls.client import ClientTLS
from exproxy.tls.server import ServerTLS
from tests.certificates import pem


class Refused:
    """Stands for the Twisted protocol in ClientTLS: keeps why a certificate was refused."""

    def __init__(self) -> None:
        self.why: Any = None

    def failVerification(self, failure: Any) -> None:
        self.why = failure.value


def server(
    *names: tuple[str, ...], alpn: tuple[bytes, ...] = (), options: ServerTLSOptions = ServerTLSOptions()
) -> ServerTLS:
    """A ServerTLS with a certificate for each tuple of names."""
    return ServerTLS([(pem(*each), pem(*each)) for each in names], alpn, options)


def plain_client(
    name: str | None = None, alpn: tuple[bytes, ...] = (), least: int | None = None, most: int | None = None
) -> SSL.Connection:
    """A client that verifies nothing; ``least`` and ``most`` are TLS versions."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    if least is not None:
        context.set_min_proto_version(least)
    if most is not None:
        context.set_max_proto_version(most)
    if alpn:
        context.set_alpn_protos(list(alpn))
    connection = SSL.Connection(context, None)
    if name is not None:
        connection.set_tlsext_host_name(name.encode())
    return connection


def verifying_client(options: TLSOptions, host: str) -> tuple[SSL.Connection, Refused]:
    """A client as exproxy makes it for a backend, and why it refused."""
    refused = Refused()
    return ClientTLS(options, host).clientConnectionForTLS(refused), refused  # type: ignore[arg-type]


def shake(client: SSL.Connection, serving: ServerTLS | SSL.Connection) -> SSL.Connection:
    """Carry out a handshake; returns the server's connection. Raises SSL.Error as either side does."""
    accepting = (
        serving.serverConnectionForTLS(None)  # type: ignore[arg-type]
        if isinstance(serving, ServerTLS)
        else serving
    )
    accepting.set_accept_state()
    client.set_connect_state()
    ends = [(client, accepting), (accepting, client)]
    done = {client: False, accepting: False}
    for _ in range(20):
        for end, other in ends:
            if not done[end]:
                try:
                    end.do_handshake()
                    done[end] = True
                except SSL.WantReadError:
                    pass
                finally:
                    carry(end, other)
        if all(done.values()):
            # The tickets of TLS 1.3 come after the handshake.
            carry(accepting, client)
            with suppress(SSL.WantReadError):
                client.recv(1)
            return accepting
    raise AssertionError("no end of the handshake")


def carry(end: SSL.Connection, other: SSL.Connection) -> None:
    """Move what one has to send to the other."""
    while True:
        try:
            other.bio_write(end.bio_read(65536))
        except SSL.WantReadError:
            return


def shown(client: SSL.Connection) -> str:
    """The common name of the certificate that a server showed."""
    certificate = client.get_peer_certificate(as_cryptography=True)
    assert certificate is not None
    [name] = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(name.value)
