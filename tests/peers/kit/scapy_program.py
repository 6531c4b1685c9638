"""scapy's endpoint mapper and its client: the only ones that speak NDR64 here.

`python scapy_program.py server ADDRESS PORT INTERFACE=PORT ...` serves. `client INTERFACE
ADDRESS,32|64,little|big ...` prints the towers' addresses and ports, a line for each question (it takes
seconds to start). INTERFACE: UUID/MAJOR.MINOR.
"""

# mypy: ignore-errors
from __future__ import annotations

import socket
import sys
import threading
import uuid

import scapy.layers.msrpce.all  # noqa: F401 - it registers the mapper's interface
from scapy.layers.dcerpc import DCERPC_Transport, find_dcerpc_interface, register_dcerpc_interface
from scapy.layers.msrpce.rpcclient import DCERPC_Client
from scapy.layers.msrpce.rpcserver import DCERPC_Server

_TCP = DCERPC_Transport.NCACN_IP_TCP


def known(text: str):
    """Scapy's object for an interface, which it has to know by a name."""
    identity, version = text.lower().split("/")
    register_dcerpc_interface(identity, uuid.UUID(identity), version, {})
    return find_dcerpc_interface(identity)


def serve(address: str, port: int, mapped: list[str]) -> None:
    """An endpoint mapper for ever; scapy's own loop would take the address of an interface."""
    ports = {known(name): int(at) for name, at in (each.split("=") for each in mapped)}
    sockets: list[socket.socket] = []
    with socket.create_server((address, port)) as server:
        while True:
            client, _ = server.accept()
            sockets.append(client)
            answering = DCERPC_Server(_TCP, local_ip=address, port=port, ndr64=True, portmap=ports)
            threading.Thread(
                target=DCERPC_Server._run_client, args=(answering, client, sockets), daemon=True
            ).start()


def ask(interface, address: str, size: str, order: str) -> None:
    """One ept_map."""
    client = DCERPC_Client(_TCP, ndr64=size == "64", ndrendian=order, verb=False)
    client.connect(address, port=135)
    client.bind(find_dcerpc_interface("ept"))
    print("towers", client.epm_map(interface))
    client.close()


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(sys.argv[2], int(sys.argv[3]), sys.argv[4:])
    else:
        wanted = known(sys.argv[2])
        for question in sys.argv[3:]:
            ask(wanted, *question.split(","))
