"""What MSRPC clients see of ends: servers that die in a call, full servers, exproxy's own end."""

from __future__ import annotations

from tests.peers.kit import pdus
from tests.peers.kit.balanced import HEAD, epm, rpc
from tests.peers.kit.interfaces import EMSMDB, EPM
from tests.peers.kit.rpc import Rpc, refusal
from tests.peers.test_rpc_mapper import ExchangeCase

_OWN = "{rpc-association: {fallback: none}}"
_COMM_FAILURE = 0x1C010001
_STORE = 59531


class EndTests(ExchangeCase):
    """Two servers with stubs, clients on bare sockets."""

    head = HEAD.replace("grace: 1s", "grace: 30s")
    services = epm(_OWN) + rpc("store", _STORE, "emsmdb", _OWN)

    def bound(self, group: int = 0) -> Rpc:
        """A client that may call."""
        client = self.client(_STORE)
        answer = client.bind(EMSMDB, group=group)
        self.assertEqual(answer.kind, pdus.BIND_ACK, answer)
        return client

    def met(self, name: str) -> Rpc:
        """A client of that server."""
        for _ in range(2):
            client = self.bound()
            if client.who() == name:
                return client
        raise AssertionError(f"round robin does not come to {name}")

    def ended(self, client: Rpc) -> None:
        """Nothing comes but the end."""
        self.assertRaises(EOFError, client.read)

    def test_lost_in_a_call(self) -> None:
        """A server that dies is a fault for a call under way, then the end; a new client is served."""
        client = self.met("ex1")
        stub = self.stubs["ex1", "store"]
        stub.freeze()
        client.socket.sendall(pdus.request(0, call=7))
        stub.kill()
        answer = client.read()
        self.assertEqual((answer.kind, answer.call), (pdus.FAULT, 7))
        self.assertEqual(answer.unpack("I", 8), (_COMM_FAILURE,))
        self.ended(client)
        self.assertEqual(self.whom(_STORE, EMSMDB), {"ex2"})

    def test_lost_between_calls(self) -> None:
        """Without a call there is only the end."""
        client = self.met("ex1")
        self.stubs["ex1", "store"].kill()
        self.ended(client)

    def test_stop_waits_for_associations(self) -> None:
        """An association with a call under way keeps all its connections until that is answered."""
        busy, idle = self.met("ex1"), self.met("ex2")
        other = self.bound(group=busy.group)
        stub = self.stubs["ex1", "store"]
        stub.freeze()
        busy.socket.sendall(pdus.request(0, call=7))
        self.exproxy.ask()
        self.ended(idle)
        for client in (busy, other):
            client.socket.setblocking(False)
            self.assertRaises(BlockingIOError, client.read)
            client.socket.settimeout(10)
        stub.thaw()
        answer = busy.read()
        self.assertEqual((answer.kind, answer.call, answer.body[8:]), (pdus.RESPONSE, 7, b"ex1"))
        for client in (busy, other):
            self.ended(client)
        self.exproxy.stop()


class FullTests(ExchangeCase):
    """Servers with room for one connection each."""

    head = HEAD.replace("127.0.0.11", "{address: 127.0.0.11, limit: 1}").replace(
        "127.0.0.12", "{address: 127.0.0.12, limit: 1}"
    )
    services = epm(_OWN, more=", when-full: refuse") + rpc(
        "store", _STORE, "emsmdb", _OWN, more=", when-full: refuse"
    )

    def test_full(self) -> None:
        """The one too many is refused as such, and welcome once there is room."""
        for port, interface in ((_STORE, EMSMDB), (135, EPM)):
            clients = [self.client(port) for _ in range(2)]
            for client in clients:
                self.assertEqual(client.bind(interface).kind, pdus.BIND_ACK)
            self.assertEqual(refusal(self.client(port).bind(interface)), 2)
            clients[0].close()
            self.exproxy.await_access(lambda r, port=port: r["service"] == NAME[port] and r["server"], 1)
            self.assertEqual(self.client(port).bind(interface).kind, pdus.BIND_ACK)


NAME = {_STORE: "store", 135: "epm"}
