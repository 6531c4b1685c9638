"""protocols.msrpc: rpc and epm, whose clients speak first."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Hangup, Pick, Relay, SetDeadline, ToBackend
from exproxy.events import Began, Connected, Data, Eof, Unavailable
from exproxy.model import CLIENT
from exproxy.testing import Script, check_protocol_plugin, every_split, facts, link, service
from protocols.msrpc.epm import plugin as epm
from protocols.msrpc.first_pdu import FirstPdu
from protocols.msrpc.rpc import plugin as rpc

# A bind of 72 bytes to the endpoint mapper, as rpcclient sends it.
BIND = bytes.fromhex(
    "05000b03100000004800000001000000d016d016000000000100000000000100"
    "0883afe11f5dc91191a408002b14a0fa03000000045d888aeb1cc9119fe80800"
    "2b10486002000000"
)
KNOWN = facts(port=135)


def begun() -> Script:
    """A conversation whose client is there."""
    script = Script(FirstPdu(service()))
    assert script.on(Began(KNOWN)) == [SetDeadline("first-pdu", 10.0)]
    return script


class FirstPduTests(SynchronousTestCase):
    def test_contract(self) -> None:
        """Both plugins keep what the framework counts on."""
        check_protocol_plugin(rpc, opening=BIND)
        check_protocol_plugin(epm, opening=BIND)

    def test_settings(self) -> None:
        """Connections outlive a client's keep-alive of two hours; those of a server that is down are cut."""
        for plugin in (rpc, epm):
            self.assertEqual(plugin.defaults["timeouts"], {"idle": "2h10m"})
            self.assertEqual(plugin.defaults["on-down"], "cut")
        self.assertEqual(epm.default_ports, {135: "none"})

    def test_bind(self) -> None:
        """The first packet's header leads to a server, which gets all that was held."""
        script = begun()
        self.assertEqual(script.on(Data(CLIENT, BIND)), [SetDeadline("first-pdu", None), Pick(KNOWN)])
        self.assertEqual(script.on(Connected(link())), [ToBackend(BIND), Relay()])
        self.assertEqual(script.on(Eof(CLIENT)), [])

    def test_splits(self) -> None:
        """However the bytes are cut, no server is picked before the header of 16 bytes is there."""
        for pieces in every_split(BIND[:20]):
            script = begun()
            held = b""
            while len(held) < 16:
                piece, *rest = pieces
                pieces = tuple(rest)
                held += piece
                picked = script.on(Data(CLIENT, piece))
                self.assertEqual(bool(picked), len(held) >= 16)
            self.assertEqual(script.on(Connected(link())), [ToBackend(held), Relay()])

    def test_big_endian(self) -> None:
        """A client of the other byte order is no stranger."""
        script = begun()
        header = bytes.fromhex("05000b0300000000004800000000 0001")
        self.assertIn(Pick(KNOWN), script.on(Data(CLIENT, header)))

    def test_rubbish(self) -> None:
        """What does not begin like DCE/RPC costs no server anything, and the log says why."""
        self.assertEqual(
            begun().on(Data(CLIENT, b"GET / HTTP/1.1\r\n\r\n")),
            [Hangup("not DCE/RPC: the first byte is 71, not 5")],
        )

    def test_silence(self) -> None:
        """A client that says nothing is not kept."""
        script = begun()
        self.assertEqual(script.expire("first-pdu"), [Hangup("no packet in 10 s")])
        self.assertEqual(script.on(Data(CLIENT, BIND)), [])

    def test_early_end(self) -> None:
        """A client that ends before its first packet is not kept."""
        self.assertEqual(begun().on(Eof(CLIENT)), [Hangup("ended before its first packet")])

    def test_refused(self) -> None:
        """Without a server the connection is closed."""
        script = begun()
        script.on(Data(CLIENT, BIND))
        self.assertEqual(script.on(Unavailable("all are DOWN")), [Hangup()])
