"""TLS on a socket: bytes, both directions' back-pressure, ends, and what is wrong on the other side."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import socket
import ssl
import struct
import weakref

from OpenSSL import SSL
from service_identity import VerificationError

from exproxy.channel import ChannelLost
from exproxy.tls import binding
from exproxy.tls.channel import TLSChannel, Truncated, lost
from exproxy.tls.client import WrongCertificate
from exproxy.tls.description import describe
from exproxy.wire import reason_text
from tests.tls.channels import (
    AGAIN,
    BUFFER,
    NAME,
    ChannelTestCase,
    asking,
    far_client,
    far_server,
    received,
    serving,
    shake,
)

BLOCK = hashlib.sha256(b"seed").digest() * 32768


class DirectTests(ChannelTestCase):
    """Through pyOpenSSL's binding."""

    kind: type[TLSChannel] = binding.DirectChannel

    def test_kind(self) -> None:
        """The fastest kind that there is carries a connection."""
        for maker in (serving(), asking()):
            ours, _ = self.sockets()
            self.assertIs(type(maker.channel(ours)), self.kind)

    def test_both_ways(self) -> None:
        """What one end sends the other gets, whichever began."""
        for maker in (serving(), asking()):
            channel, far = self.pair(maker)
            self.assertEqual(channel.send(b"hello"), 5)
            self.assertEqual(far.recv(100), b"hello")
            far.send(b"world!")
            self.assertEqual(received(channel), b"world!")
            self.assertRaises(BlockingIOError, channel.recv_into, BUFFER, len(BUFFER))

    def test_a_handshake_waits(self) -> None:
        """A handshake with a silent end is not done, and fails nobody."""
        for maker in (serving(), asking()):
            ours, _ = self.sockets()
            channel = maker.channel(ours)
            for _ in range(3):
                self.assertFalse(channel.handshake())
            self.assertFalse(channel.secured)

    def test_many_records_at_once(self) -> None:
        """Records that are there together come in one call; less than asked for was all there is."""
        channel, far = self.pair()
        for number in range(50):
            far.send(b"%02d" % number)
        count = channel.recv_into(BUFFER, len(BUFFER))
        self.assertEqual(count, 100)
        self.assertFalse(channel.pending())

    def test_a_small_buffer(self) -> None:
        """What a record has more than was asked for is pending, and no socket will tell of it."""
        channel, far = self.pair()
        far.send(b"0123456789")
        small = memoryview(bytearray(4))
        found = []
        while not found or channel.pending():
            count = channel.recv_into(small, 4)
            found.append(bytes(small[:count]))
        self.assertEqual(found, [b"0123", b"4567", b"89"])

    def test_only_a_part_of_the_buffer(self) -> None:
        """Never more than `size` is written into the buffer."""
        channel, far = self.pair()
        far.send(b"0123456789")
        buffer = memoryview(bytearray(b"-" * 10))
        self.assertEqual(channel.recv_into(buffer, 3), 3)
        self.assertEqual(bytes(buffer), b"012-------")

    def test_a_part_of_a_buffer(self) -> None:
        """A view of a part of something is read into as well as a whole one."""
        channel, far = self.pair()
        far.send(b"0123456789")
        whole = bytearray(b"-" * 10)
        self.assertEqual(channel.recv_into(memoryview(whole)[2:6], 4), 4)
        self.assertEqual(whole, b"--0123----")

    def test_garbage_with_buffers(self) -> None:
        """Buffers that were used, errors and all, can become garbage in any order."""
        for _ in range(5):
            channel, far = self.pair()
            kept: list[object] = [memoryview(bytearray(100)), memoryview(b"x" * 100)]
            gc.collect()
            kept.append(kept)
            far.send(b"word")
            channel.recv_into(kept[0], 100)  # type: ignore[arg-type]
            far.shutdown(socket.SHUT_RD)
            far.close()
            try:
                while True:
                    channel.send(kept[1])  # type: ignore[arg-type]
            except OSError as error:
                kept.append(error)
            try:
                channel.recv_into(kept[0], 100)  # type: ignore[arg-type]
            except OSError as error:
                kept.append(error)
            channel.close()
            del kept, channel, far
            gc.collect()

    def test_bulk(self) -> None:
        """Megabytes arrive whole in both directions while neither end waits for the other."""
        channel, far = self.pair()
        there, back = bytearray(), bytearray()
        sent = returned = 0
        while len(there) < len(BLOCK) or len(back) < len(BLOCK):
            with contextlib.suppress(BlockingIOError):
                sent += channel.send(memoryview(BLOCK)[sent:]) if sent < len(BLOCK) else 0
            with contextlib.suppress(*AGAIN):
                returned += far.send(BLOCK[returned : returned + 16384]) if returned < len(BLOCK) else 0
            with contextlib.suppress(*AGAIN):
                there += far.recv(65536)
            back += received(channel)
        self.assertEqual(bytes(there), BLOCK)
        self.assertEqual(bytes(back), BLOCK)

    def test_a_full_socket(self) -> None:
        """An end that does not read takes what fits, then says so; it goes on from another copy."""
        channel, far = self.pair()
        sent = channel.send(BLOCK)
        self.assertGreater(sent, 0)
        self.assertLess(sent, len(BLOCK))
        with self.assertRaises(BlockingIOError):
            channel.send(BLOCK[sent:])
        self.assertFalse(channel.wants_read)
        there = bytearray()
        while len(there) < len(BLOCK):
            with contextlib.suppress(*AGAIN):
                there += far.recv(65536)
            if sent < len(BLOCK):
                with contextlib.suppress(BlockingIOError):
                    # Each time other memory: what was refused is encrypted already.
                    sent += channel.send(bytes(BLOCK[sent:]))
        self.assertEqual(bytes(there), BLOCK)

    def test_nothing(self) -> None:
        """No bytes are no record."""
        channel, far = self.pair()
        self.assertEqual(channel.send(b""), 0)
        self.assertRaises(AGAIN, far.recv, 1)

    def test_a_goodbye(self) -> None:
        """close_notify is an end, after the bytes that came before it, however often one asks."""
        for maker in (serving(), asking()):
            channel, far = self.pair(maker)
            far.send(b"last")
            with contextlib.suppress(*AGAIN):
                far.unwrap()
            told: list[bool] = []
            channel.later = lambda told=told: told.append(True)  # type: ignore[misc]
            self.assertEqual(channel.recv_into(BUFFER, len(BUFFER)), 4)
            self.assertEqual(told, [True])
            self.assertTrue(channel.pending())
            for _ in range(2):
                self.assertEqual(channel.recv_into(BUFFER, len(BUFFER)), 0)
            self.assertEqual(channel.send(b"answer"), 6)

    def test_our_goodbye(self) -> None:
        """shutdown() says close_notify."""
        channel, far = self.pair()
        channel.send(b"all")
        self.assertTrue(channel.shutdown())
        self.assertEqual((far.recv(10), far.recv(10)), (b"all", b""))

    def test_our_goodbye_to_a_full_socket(self) -> None:
        """A goodbye that does not fit is to be said again; it then comes after all that was sent."""
        channel, far = self.pair()
        there, sent = bytearray(), 0
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += channel.send(b"x" * 100)
        # What was refused is under way.
        whole, rest = sent + 100, 100
        while not (said := channel.shutdown() if not rest else False):
            with contextlib.suppress(*AGAIN):
                there += far.recv(100)
            with contextlib.suppress(BlockingIOError):
                rest -= channel.send(b"x" * rest)
        self.assertTrue(said)
        with contextlib.suppress(*AGAIN):
            while found := far.recv(65536):
                there += found
        self.assertEqual(len(there), whole)
        self.assertEqual(far.recv(1), b"")

    def test_a_truncation(self) -> None:
        """TCP that ends without a goodbye is told after the bytes, as a loss, of either TLS version."""
        for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            channel, far = self.pair(context=far_client(most))
            far.send(b"half of")
            far.shutdown(socket.SHUT_WR)
            self.assertEqual(received_before(channel), b"half of")
            self.assertTrue(channel.pending())
            for _ in range(2):
                self.assertRaises(Truncated, channel.recv_into, BUFFER, len(BUFFER))

    def test_a_reset(self) -> None:
        """A reset is the system's error, when reading and when writing."""
        for verb in ("receive", "send"):
            channel, far = self.pair(tcp=True)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            far.close()
            with self.assertRaises(ConnectionResetError):
                for _ in range(3):
                    if verb == "receive":
                        channel.recv_into(BUFFER, len(BUFFER))
                    else:
                        channel.send(b"x")
            # Nobody is there to hear it, which is no news.
            self.assertTrue(channel.shutdown())

    def test_rubbish(self) -> None:
        """What is no TLS fails the handshake with OpenSSL's reason, and no other connection hears of it."""
        for rubbish in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\0" * 100,
            b"\x16\x03\x01\xff\xff" + b"x" * 70000,
            b"EHLO a\r\n",
        ):
            ours, theirs = self.sockets()
            channel = serving().channel(ours)
            with contextlib.suppress(BlockingIOError):
                theirs.send(rubbish)
            error = self.assertRaises(ChannelLost, channel.handshake)
            self.assertTrue(reason_text(error.reason))
            channel.close()
            healthy, far = self.pair()
            far.send(b"on")
            self.assertEqual(received(healthy), b"on")

    def test_rubbish_after_the_handshake(self) -> None:
        """A record that is no record ends the connection, after the bytes before it."""
        channel, far = self.pair()
        far.send(b"good")
        raw = socket.socket(fileno=os.dup(far.fileno()))
        self.addCleanup(raw.close)
        raw.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        self.assertEqual(channel.recv_into(BUFFER, len(BUFFER)), 4)
        error = self.assertRaises(ChannelLost, channel.recv_into, BUFFER, len(BUFFER))
        self.assertIn("bad record mac", reason_text(error.reason))

    def test_a_huge_record(self) -> None:
        """A record that says it is longer than TLS allows is refused by its head."""
        channel, far = self.pair()
        raw = socket.socket(fileno=os.dup(far.fileno()))
        self.addCleanup(raw.close)
        raw.send(b"\x17\x03\x03\xff\xff" + b"x" * 20000)
        self.assertRaises(ChannelLost, channel.recv_into, BUFFER, len(BUFFER))

    def test_gone_in_the_middle_of_a_handshake(self) -> None:
        """An end that leaves before the handshake is done is lost."""
        for maker in (serving(), asking()):
            ours, theirs = self.sockets()
            channel = maker.channel(ours)
            self.assertFalse(channel.handshake())
            theirs.close()
            self.assertRaises(OSError, channel.handshake)

    def test_after_the_end(self) -> None:
        """A closed channel touches its socket's number no more: it may be another connection's by now."""
        channel, far = self.pair()
        far.send(b"late")
        channel.close()
        channel.close()
        self.assertRaises(OSError, channel.recv_into, BUFFER, len(BUFFER))
        self.assertRaises(OSError, channel.send, b"x")
        self.assertTrue(channel.pending())
        self.assertTrue(channel.shutdown())

    def test_nothing_stays(self) -> None:
        """A connection's memory goes with it, without a search for cycles."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for maker in (serving(), asking()):
            channel, far = self.pair(maker)
            kept = weakref.ref(channel.connection)
            far.close()
            channel.close()
            self.assertIsNone(kept())

    def test_a_renegotiation_is_refused(self) -> None:
        """A client of TLS 1.2 cannot make the server shake hands again."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        ours, theirs = self.sockets()
        channel, client = serving().channel(ours), SSL.Connection(context, theirs)
        client.set_connect_state()
        for _ in range(10):
            with contextlib.suppress(SSL.WantReadError):
                client.do_handshake()
            channel.secured or channel.handshake()
        client.renegotiate()
        with contextlib.suppress(SSL.WantReadError):
            client.do_handshake()
        with contextlib.suppress(BlockingIOError):
            channel.recv_into(BUFFER, len(BUFFER))
        error = self.assertRaises(SSL.Error, client.do_handshake)
        self.assertIn("no renegotiation", str(error))


class PublicTests(DirectTests):
    """Through pyOpenSSL's public methods, where its binding is another one."""

    direct = False
    kind = TLSChannel


class VerificationTests(ChannelTestCase):
    """Servers' certificates, over sockets."""

    def refused(self, maker: object, *names: str) -> Exception:
        """Why a handshake failed."""
        ours, theirs = self.sockets()
        channel = maker.channel(ours)  # type: ignore[attr-defined]
        far = self.far(theirs, far_server(*names))
        try:
            shake(channel, far)
        except ChannelLost as error:
            # The server is told, too.
            self.assertRaises(ssl.SSLError, far.do_handshake)
            return error.reason.value
        raise AssertionError("it was not refused")

    def test_another_name(self) -> None:
        """A certificate for another name is the error, in words, not OpenSSL's."""
        self.assertIsInstance(self.refused(asking(), "ex2.litware.test"), VerificationError)

    def test_another_certificate(self) -> None:
        """So is one with another fingerprint."""
        maker = asking(verify="none", fingerprints=(b"x" * 32,))
        self.assertIsInstance(self.refused(maker), WrongCertificate)

    def test_an_unknown_authority(self) -> None:
        """An authority that is not known is OpenSSL's reason."""
        error = self.refused(asking(verify="system"))
        self.assertIn("certificate verify failed", str(error))

    def test_good_ones_are_remembered(self) -> None:
        """A certificate that was found good is not read again; another one is."""
        maker = asking()
        for _ in range(2):
            self.pair(maker)
        self.assertIsInstance(self.refused(maker, "ex2.litware.test"), VerificationError)
        self.pair(maker)

    def test_description(self) -> None:
        """What is told of a connection is the same as of Twisted's."""
        channel, _ = self.pair(asking())
        told = describe(channel.connection)
        self.assertEqual((told.version, told.resumed), ("TLSv1.3", False))
        self.assertIsNotNone(told.certificate)
        channel, _ = self.pair(serving(), server_hostname=NAME)
        told = describe(channel.connection)
        self.assertEqual((told.server_name, told.certificate), (NAME, None))


class LostTests(ChannelTestCase):
    """What OpenSSL's errors say of the connection."""

    def test_ends(self) -> None:
        """Each version's way to say that TCP ended is a truncation; other errors stay what they are."""
        for error in (
            SSL.SysCallError(-1, "Unexpected EOF"),
            SSL.Error([]),
            SSL.Error([("SSL routines", "", "unexpected eof while reading")]),
        ):
            self.assertIsInstance(lost(error), Truncated)
        self.assertIsInstance(lost(SSL.SysCallError(104, "ECONNRESET")), ConnectionResetError)
        other = SSL.Error([("SSL routines", "", "wrong version number")])
        found = lost(other)
        assert isinstance(found, ChannelLost)
        self.assertEqual(reason_text(found.reason), "wrong version number")


def received_before(channel: TLSChannel) -> bytes:
    """The bytes before an end that is told later."""
    count = channel.recv_into(BUFFER, len(BUFFER))
    return bytes(BUFFER[:count])
