import struct
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from exproxy.lab import dcerpc, epm
from exproxy.lab.dcerpc import Fault, Malformed
from exproxy.lab.epm import Endpoint, Mapper
from exproxy.lab.rpc import CALL_LIMIT, Groups, RpcConversation, RpcService, named

# As real clients send them: rpcclient (little-endian) and smbtorture (big-endian, with feature negotiation).
BIND = bytes.fromhex(
    "05000b03100000004800000001000000b810b8100000000001000000000001000883afe11f5dc91191a408002b14a0fa03000000"
    "045d888aeb1cc9119fe808002b10486002000000"
)
BIND_BIG = bytes.fromhex(
    "05000b0300000000007400000000000116d016d0000000000200000000000100e1af83085d1f11c991a408002b14a0fa00000003"
    "8a885d041ceb11c99fe808002b1048600000000200010100e1af83085d1f11c991a408002b14a0fa00000003"
    "6cb71c2c98124540030000000000000000000001"
)
MAP = bytes.fromhex(
    "05000003100000009c0000000100000084000000000003000100000000000000000000000000000000000000020000004b000000"
    "4b000000050013000d00dbf1a447ca6710b31f00dd010662da00000200510013000d045d888aeb1cc9119fe808002b10486002"
    "000200000001000b0200000001000702000000010009040000000000ab000000000000000000000000000000000000000004000000"
)
EMSMDB_ENDPOINT = Endpoint(epm.EMSMDB, 0, 81, 59531, "Exchange rpc on l12ex1")
NSPI_ENDPOINT = Endpoint(epm.NSPI, 56, 0, 59532, "Exchange ab on l12ex1")


def conversation(groups: Groups | None = None, refusing: bool = False) -> RpcConversation:
    """A server that knows the endpoint mapper and EMSMDB."""
    mapper = Mapper(lambda: (EMSMDB_ENDPOINT, NSPI_ENDPOINT), "127.0.0.11")
    interfaces = {(epm.EPM, 3): mapper, (epm.EMSMDB, 0): named("l12ex1")}
    return RpcConversation(RpcService(interfaces, groups or Groups(), lambda: 135, lambda: refusing))


def pdu(kind: int, body: bytes, flags: int = 3, call: int = 1) -> bytes:
    return struct.pack("<BBBBIHHI", 5, 0, kind, flags, 0x10, 16 + len(body), 0, call) + body


def request(stub: bytes, opnum: int = 3, context: int = 0, flags: int = 3) -> bytes:
    return pdu(dcerpc.REQUEST, struct.pack("<IHH", len(stub), context, opnum) + stub, flags)


def with_group(group: int) -> bytes:
    return BIND[:20] + struct.pack("<I", group) + BIND[24:]


class BindTests(SynchronousTestCase):
    def test_accepted(self) -> None:
        """The mapper with NDR32 is accepted, with the port as secondary address and a new group."""
        answer = conversation().receive(BIND)
        self.assertEqual((answer[2], len(answer)), (dcerpc.BIND_ACK, 60))
        self.assertEqual(answer[16:20], BIND[16:20])
        self.assertNotEqual(answer[20:24], bytes(4))
        self.assertEqual(answer[24:30], b"\4\x00135\0")
        self.assertEqual(answer[36:60], bytes(4) + dcerpc.NDR32.bytes_le + b"\2\0\0\0")

    def test_big_endian(self) -> None:
        """A big-endian client is understood, and its feature negotiation acknowledged with the same bits."""
        answer = conversation().receive(BIND_BIG)
        self.assertEqual((answer[2], len(answer), answer[32]), (dcerpc.BIND_ACK, 84, 2))
        self.assertEqual(struct.unpack_from("<HH", answer, 36), (0, 0))
        self.assertEqual(struct.unpack_from("<HH", answer, 60), (3, 3))

    def test_rejected_contexts(self) -> None:
        """NDR64 alone, and an unknown interface, are each rejected with their reason."""
        ndr64 = UUID("71710533-beba-4937-8319-b5dbef9ccc36").bytes_le
        answer = conversation().receive(BIND[:52] + ndr64 + b"\1\0\0\0")
        self.assertEqual(struct.unpack_from("<HH", answer, 36), (2, 2))
        answer = conversation().receive(BIND[:32] + bytes(16) + BIND[48:])
        self.assertEqual(struct.unpack_from("<HH", answer, 36), (2, 1))

    def test_groups(self) -> None:
        """A group can be joined while it lives; an unknown or ended one is a bind_nak."""
        groups = Groups()
        first = conversation(groups)
        group = struct.unpack_from("<I", first.receive(BIND), 20)[0]
        second = conversation(groups)
        self.assertEqual(struct.unpack_from("<I", second.receive(with_group(group)), 20)[0], group)
        other = conversation(Groups())
        nak = bytes.fromhex("05000d031000000018000000010000000000010500000000")
        self.assertEqual(other.receive(with_group(group)), nak)
        self.assertTrue(other.closing)
        first.ended()
        second.ended()
        self.assertEqual(conversation(groups).receive(with_group(group)), nak)

    def test_refusals(self) -> None:
        """A refusing service, and a bind with authentication, get a bind_nak."""
        self.assertEqual(conversation(refusing=True).receive(BIND)[2], dcerpc.BIND_NAK)
        secured = BIND[:8] + struct.pack("<HH", len(BIND) + 12, 4) + BIND[12:] + bytes(12)
        self.assertEqual(conversation().receive(secured)[16:18], b"\x08\0")

    def test_alter(self) -> None:
        """An alter_context adds an interface to the connection."""
        server = conversation()
        server.receive(BIND)
        alter = bytearray(
            BIND[:28] + b"\1\0\1\0" + epm.EMSMDB.bytes_le + struct.pack("<I", 81 << 16) + BIND[52:]
        )
        alter[2] = dcerpc.ALTER
        answer = server.receive(bytes(alter))
        self.assertEqual((answer[2], answer[24:28]), (dcerpc.ALTER_RESPONSE, bytes(4)))
        self.assertIn(b"server=l12ex1 opnum=11", server.receive(request(b"", 11, 1)))


class CallTests(SynchronousTestCase):
    def test_any_split(self) -> None:
        """Bytes may arrive in any pieces."""
        whole = conversation().receive(BIND + MAP)
        for at in range(len(BIND + MAP)):
            server = conversation()
            said = server.receive((BIND + MAP)[:at]) + server.receive((BIND + MAP)[at:])
            self.assertEqual(said[60:], whole[60:], at)

    def test_fragments(self) -> None:
        """A call in fragments is joined; the pieces of one that never began end the connection."""
        server = conversation()
        server.receive(BIND)
        stub = epm.map_request(epm.NSPI, 56, 0)
        self.assertEqual(server.receive(request(stub[:40], flags=1)), b"")
        answer = server.receive(request(stub[40:], flags=2))
        self.assertEqual(epm.mapped_port(answer[24:]), 59532)
        server.receive(request(stub, flags=2))
        self.assertTrue(server.closing)

    def test_limit(self) -> None:
        """Nobody can make the server hold more than the limit."""
        server = conversation()
        server.receive(BIND)
        server.receive(request(b"x" * 60000, flags=1))
        for _ in range(CALL_LIMIT // 60000 + 1):
            server.receive(request(b"x" * 60000, flags=0))
        self.assertTrue(server.closing)

    def test_faults(self) -> None:
        """Unknown context, unknown operation, bad stub and a call before the bind are faults."""
        server = conversation()
        self.assertEqual(server.receive(request(b""))[24:28], struct.pack("<I", dcerpc.PROTOCOL_ERROR))
        server = conversation()
        server.receive(BIND)
        for sent, status in (
            (request(b"", context=7), dcerpc.UNKNOWN_INTERFACE),
            (request(b"", opnum=0), dcerpc.OP_RANGE),
            (request(b"\0"), dcerpc.BAD_STUB),
        ):
            answer = server.receive(sent)
            self.assertEqual((answer[2], answer[24:28]), (dcerpc.FAULT, struct.pack("<I", status)))
            self.assertFalse(server.closing)

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=200), st.booleans())
    def test_robust(self, noise: bytes, bound: bool) -> None:
        """No bytes make it raise."""
        server = conversation()
        if bound:
            server.receive(BIND)
        server.receive(b"\5\0" + noise)
        server.receive(request(noise))
        server.receive(request(noise, opnum=2))

    def test_other_protocols(self) -> None:
        """What is not DCE/RPC 5 is refused at its first byte, and so are impossible lengths."""
        self.assertRaises(Malformed, dcerpc.read_pdu, b"G")
        self.assertRaises(Malformed, dcerpc.read_pdu, b"\5\0\0\3\x10\0\0\0\x0f\0" + bytes(6))


class MapperTests(SynchronousTestCase):
    def ask(self, opnum: int, stub: bytes) -> bytes:
        mapper = Mapper(lambda: (EMSMDB_ENDPOINT, NSPI_ENDPOINT), "127.0.0.11")
        return mapper(dcerpc.Request(0, opnum, "<", stub))

    def test_map(self) -> None:
        """impacket's question for EMSMDB is answered with the tower of port and address."""
        server = conversation()
        server.receive(BIND)
        answer = server.receive(MAP)[24:]
        self.assertEqual(struct.unpack_from("<IIII", answer, 20), (1, 4, 0, 1))
        self.assertIn(bytes.fromhex("0100070200e88b01000904007f00000b"), answer)
        self.assertEqual(answer[-4:], bytes(4))
        self.assertEqual(len(answer), 128)

    def test_not_registered(self) -> None:
        """Unknown interfaces and other transports are not registered."""
        answer = self.ask(3, epm.map_request(UUID(int=1), 1, 0))
        self.assertEqual(answer[-4:], struct.pack("<I", epm.NOT_REGISTERED))
        self.assertEqual(len(answer), 40)
        over_http = epm.map_request(epm.NSPI, 56, 0).replace(b"\1\0\x07\2\0", b"\1\0\x1f\2\0")
        self.assertIsNone(epm.mapped_port(self.ask(3, over_http)))

    def test_lookup(self) -> None:
        """All entries in one answer, or one by one with a handle, until there are no more."""
        self.assertIn(b"Exchange ab on l12ex1\0", self.ask(2, epm.lookup_request()))
        first = self.ask(2, epm.lookup_request(1))
        self.assertIn(b"rpc on", first)
        self.assertNotEqual(first[:20], bytes(20))
        second = self.ask(2, bytes(16) + first[:20] + struct.pack("<I", 1))
        self.assertIn(b"ab on", second)
        self.assertEqual(second[:20], bytes(20))
        self.assertEqual(self.ask(4, first[:20]), bytes(24))

    def test_cut_tower(self) -> None:
        """A tower whose counters lie is a fault."""
        self.assertRaises(Fault, epm.floors, b"\5\0\x13\0\x0d")
        self.assertRaises(Fault, epm.floors, b"")
