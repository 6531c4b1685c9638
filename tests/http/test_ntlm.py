"""The messages of NTLM, and SPNEGO around them."""

from __future__ import annotations

import contextlib
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protocols.http import ntlm, spnego
from protocols.http.ntlm import Authenticate, Challenge, Negotiate, parse

UNICODE = 0x00000001
SESSION_SECURITY = 0x00080000
V2 = b"\x11" * 16 + b"\x01\x01" + bytes(42)


def type_3(
    user: str = "ann",
    domain: str = "EX",
    nt: bytes = V2,
    lm: bytes = bytes(24),
    flags: int = UNICODE,
    encoding: str = "utf-16-le",
) -> bytes:
    """An AUTHENTICATE message."""
    pieces = [lm, nt, domain.encode(encoding), user.encode(encoding), b"", b""]
    at, head, body = 72, b"", b""
    for piece in pieces:
        head += struct.pack("<HHI", len(piece), len(piece), at + len(body))
        body += piece
    return ntlm.SIGNATURE + struct.pack("<I", 3) + head + struct.pack("<I", flags) + bytes(8) + body


def der(tag: int, content: bytes) -> bytes:
    """One element of DER."""
    size = len(content)
    length = bytes([size]) if size < 0x80 else b"\x82" + struct.pack(">H", size)
    return bytes([tag]) + length + content


SPNEGO = bytes.fromhex("06062b0601050502")
NTLMSSP = bytes.fromhex("060a2b06010401823702020a")


def init(token: bytes) -> bytes:
    """A NegTokenInit that offers NTLM, with its first token."""
    fields = der(0xA0, der(0x30, NTLMSSP)) + der(0xA2, der(0x04, token))
    return der(0x60, SPNEGO + der(0xA0, der(0x30, fields)))


def response(token: bytes) -> bytes:
    """A NegTokenResp with a token and a checksum."""
    fields = der(0xA0, b"\x0a\x01\x01") + der(0xA2, der(0x04, token)) + der(0xA3, der(0x04, bytes(16)))
    return der(0xA1, der(0x30, fields))


def type_1() -> bytes:
    """A NEGOTIATE message without version, as curl sends it."""
    return ntlm.SIGNATURE + struct.pack("<II", 1, 0x00088207) + bytes(16)


class MessageTests(SynchronousTestCase):
    """What is read of a message."""

    def test_kinds(self) -> None:
        """The three kinds are told apart; a fourth is none."""
        self.assertEqual(parse(type_1()), Negotiate())
        self.assertEqual(parse(ntlm.SIGNATURE + struct.pack("<I", 2) + bytes(40)), Challenge())
        self.assertIsInstance(parse(type_3()), Authenticate)
        self.assertIsNone(parse(ntlm.SIGNATURE + struct.pack("<I", 4) + bytes(80)))
        self.assertIsNone(parse(b"Kerberos" + bytes(80)))

    def test_name(self) -> None:
        """User and domain, in UTF-16 or in the old code page."""
        found = parse(type_3("Jörg", "EX"))
        assert isinstance(found, Authenticate)
        self.assertEqual((found.user, found.domain, found.name), ("Jörg", "EX", "EX\\Jörg"))
        found = parse(type_3("Jörg", "", flags=0, encoding="cp1252"))
        assert isinstance(found, Authenticate)
        self.assertEqual(found.name, "Jörg")

    def test_versions(self) -> None:
        """24 bytes are NTLMv1, session security or not; LM alone is older still; more is NTLMv2."""
        for nt, lm, flags, version in (
            (V2, bytes(24), UNICODE, 2),
            (bytes(24), bytes(24), UNICODE, 1),
            (bytes(24), bytes(24), UNICODE | SESSION_SECURITY, 1),
            (b"", b"\x55" * 24, UNICODE, 1),
            (b"", b"\0", UNICODE, 0),
            (b"", b"", UNICODE, 0),
        ):
            found = parse(type_3(nt=nt, lm=lm, flags=flags))
            assert isinstance(found, Authenticate)
            self.assertEqual(found.version, version, nt)

    def test_not_believed(self) -> None:
        """Pieces outside of the message, strange lengths, and names with control characters are none."""
        self.assertIsNone(parse(type_3()[:-1]))
        self.assertIsNone(parse(type_3()[:60]))
        self.assertIsNone(parse(type_3(nt=bytes(30))))
        self.assertIsNone(parse(type_3("a\nb")))
        self.assertIsNone(parse(type_3("a" * 300)))
        self.assertIsNone(parse(type_3("abc", "E", encoding="latin-1")))

    @given(st.binary(max_size=200))
    @settings(max_examples=60, deadline=None)
    def test_rubbish(self, data: bytes) -> None:
        """Whatever comes, nothing is raised."""
        parse(ntlm.SIGNATURE + b"\3\0\0\0" + data)
        with contextlib.suppress(spnego.NotDER):
            spnego.inner(data)
        spnego.is_kerberos(data)


class WrappingTests(SynchronousTestCase):
    """What SPNEGO is put around."""

    def test_inner(self) -> None:
        """The token of the first message and of the later ones."""
        self.assertEqual(spnego.inner(init(type_1())), type_1())
        self.assertEqual(spnego.inner(response(type_3())), type_3())

    def test_long(self) -> None:
        """Lengths of more than one byte."""
        self.assertEqual(spnego.inner(init(bytes(5000))), bytes(5000))

    def test_without_token(self) -> None:
        """The last message may have none."""
        self.assertEqual(spnego.inner(der(0xA1, der(0x30, der(0xA0, b"\x0a\x01\0")))), b"")

    def test_kerberos(self) -> None:
        """A Kerberos token is what it is, wrapped or not."""
        ticket = der(0x60, bytes.fromhex("06092a864886f712010202") + b"\1\0" + bytes(100))
        self.assertEqual(spnego.inner(ticket), ticket)
        self.assertTrue(spnego.is_kerberos(ticket))
        self.assertTrue(spnego.is_kerberos(spnego.inner(init(ticket))))
        self.assertFalse(spnego.is_kerberos(type_1()))

    def test_cut_off(self) -> None:
        """What is not whole, or something else, is refused."""
        whole = init(type_1())
        for data in (
            *(whole[:end] for end in range(len(whole))),
            whole + b"\0",
            der(0x60, b"\x06\x01\x01"),
            der(0x60, SPNEGO + der(0xA1, b"")),
            der(0xA1, der(0x31, b"")),
            der(0xA1, der(0x30, der(0xA2, der(0x04, b"a")) * 2)),
            der(0xA1, der(0x30, der(0xA2, der(0x05, b"a")))),
            b"\x60\x80\0\0",
            b"\x30\0",
        ):
            self.assertRaises(spnego.NotDER, spnego.inner, data)
