"""protocols.tls_hello: what is read of real handshakes, and of bytes that are none."""

from __future__ import annotations

import ssl
from functools import lru_cache

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from exproxy.testing import every_split
from protocols.tls_hello import (
    CLIENT_HELLO,
    LARGEST_MESSAGE,
    SERVER_HELLO,
    ClientHello,
    Handshake,
    NotHello,
    client_hello,
    server_hello,
)
from tests.hellos import Flight, Peers, records

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@lru_cache
def modern() -> Flight:
    """A handshake of TLS 1.3 with ALPN."""
    return Peers(alpn=("h2", "http/1.1")).shake()


@lru_cache
def older() -> Flight:
    """A handshake of TLS 1.2 with session ids."""
    return Peers(client=TLS12).shake()


def message(data: bytes, kind: int = CLIENT_HELLO) -> bytes:
    """The body of the first message of ``data``, given in one piece."""
    body = Handshake(kind).feed(data)
    assert body is not None
    return body


def hello(
    *,
    session_id: bytes = b"",
    extensions: bytes | None = b"",
    version: bytes = b"\x03\x03",
    ciphers: bytes = b"\x13\x01",
) -> bytes:
    """The body of a ClientHello made by hand."""
    block = b"" if extensions is None else len(extensions).to_bytes(2, "big") + extensions
    return b"".join(
        (
            version,
            bytes(32),
            bytes((len(session_id),)) + session_id,
            len(ciphers).to_bytes(2, "big") + ciphers,
            b"\x01\x00",
            block,
        )
    )


def extension(kind: int, data: bytes) -> bytes:
    """One extension."""
    return kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


class ClientHelloTests(SynchronousTestCase):
    def test_modern(self) -> None:
        """A TLS 1.3 client's name, protocols and versions are read; its session id is made up."""
        found = client_hello(message(modern().client))
        self.assertEqual(found.server_name, "mail.example.org")
        self.assertEqual(found.alpn, ("h2", "http/1.1"))
        self.assertEqual(found.versions, ("TLSv1.3", "TLSv1.2"))
        self.assertTrue(found.offers_tls13)
        self.assertEqual(len(found.session_id), 32)

    def test_older(self) -> None:
        """A TLS 1.2 client without a session sends no id."""
        found = client_hello(message(older().client))
        self.assertEqual(found, ClientHello("mail.example.org", b"", (), ("TLSv1.2",)))
        self.assertFalse(found.offers_tls13)

    def test_resumption(self) -> None:
        """The id that a TLS 1.2 server gave out is the one that its client shows when it resumes."""
        peers = Peers(client=TLS12)
        first = peers.shake()
        given_out = server_hello(message(first.server, SERVER_HELLO))
        self.assertEqual(given_out.version, "TLSv1.2")
        self.assertTrue(given_out.session_id)
        second = peers.shake(session=first.session)
        self.assertTrue(second.resumed)
        self.assertEqual(client_hello(message(second.client)).session_id, given_out.session_id)

    def test_new_client_of_an_old_server(self) -> None:
        """A client that offers TLS 1.3 shows the id of its TLS 1.2 session all the same."""
        peers = Peers(server=TLS12)
        first = peers.shake()
        given_out = server_hello(message(first.server, SERVER_HELLO)).session_id
        found = client_hello(message(peers.shake(session=first.session).client))
        self.assertTrue(found.offers_tls13)
        self.assertEqual(found.session_id, given_out)

    def test_no_name(self) -> None:
        """A client that names no server has none; one that uses capitals is understood."""
        self.assertIsNone(client_hello(message(Peers().shake(None).client)).server_name)
        shouted = client_hello(message(Peers().shake("MAIL.Example.org").client))
        self.assertEqual(shouted.server_name, "mail.example.org")

    def test_no_extensions(self) -> None:
        """Hellos from before extensions are read too."""
        self.assertEqual(client_hello(hello(extensions=None)).versions, ("TLSv1.2",))
        self.assertEqual(client_hello(hello(extensions=None, version=b"\x03\x01")).versions, ("TLSv1",))

    def test_grease(self) -> None:
        """Values that mean nothing, meant to keep parsers honest (RFC 8701), do no harm."""
        found = client_hello(
            hello(
                extensions=extension(0x0A0A, b"")
                + extension(43, b"\x04\x0a\x0a\x03\x04")
                + extension(16, b"\x00\x06\x02\x0a\x0a\x02h2")
            )
        )
        self.assertEqual(found.versions, ("TLSv1.3",))
        self.assertEqual(found.alpn[1:], ("h2",))

    def test_violations(self) -> None:
        """What TLS forbids is no hello."""
        name = extension(0, b"\x00\x06\x00\x00\x03abc")
        for body in (
            b"",
            hello()[:-1],
            hello() + b"x",
            hello(session_id=b"x" * 33),
            hello(ciphers=b"x"),
            hello(extensions=name + name),
            hello(extensions=name[:-1]),
            hello(extensions=extension(0, b"\x00\x09\x00\x00\x03abc")),
            hello(extensions=extension(43, b"\x03\x03\x04\x03")),
            hello(extensions=extension(16, b"\x00\x03\x09h2")),
        ):
            self.assertRaises(NotHello, client_hello, body)


class ServerHelloTests(SynchronousTestCase):
    def test_modern(self) -> None:
        """A TLS 1.3 server's hello says so in an extension, and echoes the id."""
        found = server_hello(message(modern().server, SERVER_HELLO))
        self.assertEqual(found.version, "TLSv1.3")
        self.assertEqual(found.session_id, client_hello(message(modern().client)).session_id)

    def test_unknown_version(self) -> None:
        """A version that nobody knows has a name still."""
        body = b"\x03\x09" + bytes(32) + b"\x00" + b"\x13\x01\x00"
        self.assertEqual(server_hello(body).version, "0x0309")

    def test_too_short(self) -> None:
        """Half a hello is none."""
        self.assertRaises(NotHello, server_hello, b"\x03\x03" + bytes(20))


class HandshakeTests(SynchronousTestCase):
    def test_every_split(self) -> None:
        """However the network cuts the bytes, the message is the same."""
        for flight in (modern(), older()):
            expected = message(flight.client)
            for pieces in every_split(flight.client):
                handshake = Handshake(CLIENT_HELLO)
                found = [body for piece in pieces if (body := handshake.feed(piece)) is not None]
                self.assertEqual(found, [expected])

    def test_many_records(self) -> None:
        """A message cut over records is put together, however the network cuts those."""
        whole = modern().client[5:]
        for size in (1, 3, 4, 5, 100, len(whole)):
            cut = records(whole, size)
            self.assertEqual(message(cut), whole[4:])
            handshake = Handshake(CLIENT_HELLO)
            found = [handshake.feed(cut[at : at + 1]) for at in range(len(cut))]
            self.assertEqual(found, [None] * (len(cut) - 1) + [whole[4:]])

    def test_more_than_the_message(self) -> None:
        """What follows the message (early data, the rest of a server's flight) is not looked at."""
        self.assertEqual(message(older().client + b"\x00rubbish"), older().client[9:])

    def test_rubbish(self) -> None:
        """What is no handshake is known by its first bytes."""
        for data in (
            b"G",
            b"\x15\x03\x03\x00\x02\x02\x28",
            b"\x80\x2e\x01\x03\x01",
            b"\x16\x02",
            b"\x16\x03\x01\x00\x00",
            b"\x16\x03\x01\x40\x01",
            b"\x16\x03\x01\x00\x01\x02",
        ):
            self.assertRaises(NotHello, Handshake(CLIENT_HELLO).feed, data)

    def test_too_long(self) -> None:
        """A message that says it is larger than any hello is refused before it is collected."""
        head = b"\x01" + (LARGEST_MESSAGE + 1).to_bytes(3, "big")
        self.assertRaises(NotHello, Handshake(CLIENT_HELLO).feed, b"\x16\x03\x01\x00\x04" + head)

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=300), st.booleans())
    def test_any_bytes(self, data: bytes, framed: bool) -> None:
        """Bytes of all kinds are a hello, or not one, or not enough; nothing else happens."""
        if framed:
            data = b"\x16\x03\x01\x01\x40\x01\x00\x01\x3c" + data
        handshake = Handshake(CLIENT_HELLO)
        try:
            body = handshake.feed(data)
            if body is not None:
                client_hello(body)
        except NotHello:
            pass

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0, 400), st.integers(0, 255))
    def test_a_byte_changed(self, at: int, value: int) -> None:
        """A real hello with a byte changed is read or refused, and takes no other way."""
        data = bytearray(modern().client)
        data[at % len(data)] = value
        try:
            body = Handshake(CLIENT_HELLO).feed(bytes(data))
            if body is not None:
                client_hello(body)
        except NotHello:
            pass
