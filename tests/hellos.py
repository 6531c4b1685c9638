"""Real TLS handshakes, made by the ssl module in memory: what tests feed to our own parser."""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass

from tests.certificates import pem


@dataclass
class Flight:
    """The first flights of one handshake; ``session`` resumes it in another."""

    client: bytes
    server: bytes
    session: ssl.SSLSession | None
    version: str | None
    resumed: bool


class Peers:
    """A client and a server that agree on ``version`` at the most; they remember their sessions."""

    def __init__(
        self,
        client: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        server: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        *,
        alpn: tuple[str, ...] = (),
        tickets: bool = False,
    ) -> None:
        self._client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._client.check_hostname = False
        self._client.verify_mode = ssl.CERT_NONE
        self._client.maximum_version = client
        self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.load_cert_chain(pem("mail.example.org"))
        self._server.maximum_version = server
        if alpn:
            self._client.set_alpn_protocols(list(alpn))
        if not tickets:
            self._client.options |= ssl.OP_NO_TICKET
            self._server.options |= ssl.OP_NO_TICKET

    def shake(self, name: str | None = "mail.example.org", session: ssl.SSLSession | None = None) -> Flight:
        """One whole handshake."""
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self._client.wrap_bio(to_client, to_server, server_hostname=name, session=session)
        server = self._server.wrap_bio(to_server, to_client, server_side=True)
        first = self._step(client, to_server)
        to_server.write(first)
        answer = self._step(server, to_client)
        to_client.write(answer)
        for _ in range(3):
            self._step(client)
            self._step(server)
        server.write(b"x")
        client.read(1)
        resumed = client.session_reused or False
        session, version = client.session, client.version()
        # OpenSSL forgets the session of a connection that was not ended properly.
        for end in (client, server, client):
            with suppress(ssl.SSLError):
                end.unwrap()
        return Flight(first, answer, session, version, resumed)

    @staticmethod
    def _step(end: ssl.SSLObject, outgoing: ssl.MemoryBIO | None = None) -> bytes:
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
        return outgoing.read() if outgoing is not None else b""


def records(message: bytes, size: int) -> bytes:
    """A handshake message cut into records of ``size`` bytes."""
    return b"".join(
        b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece
        for piece in (message[at : at + size] for at in range(0, len(message), size))
    )
