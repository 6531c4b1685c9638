import warnings
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred

from exproxy.lab import epm
from tests.lab.support import LabCase

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from impacket.dcerpc.v5 import epm as impacket_epm
    from impacket.dcerpc.v5 import transport
    from impacket.dcerpc.v5.rpcrt import DCERPCException
    from impacket.uuid import uuidtup_to_bin


def dce(port: int) -> Any:
    made = transport.DCERPCTransportFactory(f"ncacn_ip_tcp:127.0.0.1[{port}]").get_dce_rpc()
    made.connect()
    return made


class RpcTests(LabCase):
    """impacket is the client."""

    services = ("epm", "rpc", "ab")

    def test_map_and_lookup(self) -> Deferred[None]:
        """impacket finds the lab's ports for each interface, and the server's name in every entry."""

        def ask() -> tuple[list[str], list[bytes]]:
            port, found = self.server.port("epm"), []
            for uuid, version in ((epm.EMSMDB, "0.81"), (epm.NSPI, "56.0"), (epm.RFRI, "1.0")):
                client = dce(port)
                wanted = uuidtup_to_bin((str(uuid), version))
                found.append(impacket_epm.hept_map("127.0.0.1", wanted, protocol="ncacn_ip_tcp", dce=client))
                client.disconnect()
            client = dce(port)
            entries = impacket_epm.hept_lookup("127.0.0.1", dce=client)
            client.disconnect()
            return found, [entry["annotation"] for entry in entries]

        def check(result: tuple[list[str], list[bytes]]) -> None:
            ports = [self.server.port(name) for name in ("rpc", "ab", "ab")]
            self.assertEqual(result[0], [f"ncacn_ip_tcp:127.0.0.1[{port}]" for port in ports])
            self.assertEqual(len(result[1]), 4)
            self.assertTrue(all(b"l12ex1" in text for text in result[1]))

        return self.in_thread(ask).addCallback(check)

    def test_not_registered(self) -> Deferred[None]:
        """impacket is told that an unknown interface is not registered."""

        def ask() -> None:
            client = dce(self.server.port("epm"))
            try:
                unknown = uuidtup_to_bin((str(UUID(int=7)), "1.0"))
                impacket_epm.hept_map("127.0.0.1", unknown, protocol="ncacn_ip_tcp", dce=client)
            finally:
                client.disconnect()

        return self.assertFailure(self.in_thread(ask), DCERPCException).addCallback(
            lambda error: self.assertIn("not_registered", str(error))
        )

    def test_calls(self) -> Deferred[None]:
        """A call to RPC Client Access and to the Address Book names the server."""

        def ask() -> list[bytes]:
            found = []
            for service, uuid, version in (("rpc", epm.EMSMDB, "0.81"), ("ab", epm.NSPI, "56.0")):
                client = dce(self.server.port(service))
                client.bind(uuidtup_to_bin((str(uuid), version)))
                client.call(3, b"\0" * 9000)
                found.append(client.recv())
                client.disconnect()
            return found

        return self.in_thread(ask).addCallback(
            lambda found: self.assertEqual(found, [b"simulated server=l12ex1 opnum=3\0"] * 2)
        )
