"""The first packet of a channel."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from protocols.http.rts import OPENING, virtual_connection

# What impacket and smbtorture send: CONN/A1 over RPC_OUT_DATA, CONN/B1 over RPC_IN_DATA.
A1 = bytes.fromhex(
    "05001403100000004c00000000000000000004000600000001000000030000008e8ff460baa4954097c9827f10873f2c"
    "030000006260b1019fbafa5d055fa63d3b54983e0000000000000400"
)
B1 = bytes.fromhex(
    "05001403100000006800000000000000000006000600000001000000030000008e8ff460baa4954097c9827f10873f2c"
    "030000006b965c7c0fbc9f3d92078d51a5685e4f040000000000004005000000e09304000c00000090724146be995f00"
    "0174b576c1b2353e"
)
COOKIE = bytes.fromhex("8e8ff460baa4954097c9827f10873f2c")


class VirtualConnectionTests(SynchronousTestCase):
    """The cookie in it."""

    def test_both_halves(self) -> None:
        """They show the same."""
        self.assertEqual(virtual_connection(A1[:OPENING]), COOKIE)
        self.assertEqual(virtual_connection(B1[:OPENING]), COOKIE)
        self.assertEqual(virtual_connection(B1), COOKIE)

    def test_other_packets(self) -> None:
        """An echo, a bind, another byte order and a packet that is too short show nothing."""
        for data in (
            b"",
            A1[: OPENING - 1],
            bytes.fromhex("0500140310000000140000000000000040000000"),
            A1[:2] + b"\x0b" + A1[3:],
            A1[:4] + b"\0" + A1[5:],
            A1[:8] + b"\x20" + A1[9:],
            A1[:18] + b"\1" + A1[19:],
            A1[:20] + b"\7" + A1[21:],
            A1[:28] + b"\4" + A1[29:],
        ):
            self.assertIsNone(virtual_connection(data), data)
