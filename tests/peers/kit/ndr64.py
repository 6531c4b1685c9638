"""scapy as an endpoint mapper and as its client (scapy_program.py), with 32- and 64-bit layouts."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from .interfaces import EXCHANGE, Interface
from .process import Process
from .server import Place
from .site import Site

_PROGRAM = str(Path(__file__).with_name("scapy_program.py"))


class Ndr64Mapper(Process):
    """An endpoint mapper at 135 of a server's address; `ports`: emsmdb=5931, ..."""

    def __init__(self, site: Site, place: Place, **ports: int) -> None:
        """Start it with start(); ended with the site."""
        mapped = [f"{'/'.join(EXCHANGE[name])}={port}" for name, port in ports.items()]
        argv = [sys.executable, _PROGRAM, "server", place.address, "135", *mapped]
        folder = site.new_folder("scapy")
        ready = [(place.address, 135)]
        # It looks for its configuration at home.
        home = {"HOME": str(folder)}
        super().__init__(site.namespace, f"scapy/{place.server}", argv, folder, ready, extra=home)
        site.adopt(self)


Question = tuple[str, int, str]


def ept_map(site: Site, interface: Interface, *questions: Question) -> list[list[tuple[str, int]]]:
    """What is said of an interface when asked at an address, with 32 or 64 bits, `little` or `big`.

    Gives for each question the towers' addresses and ports.
    """
    asked = [",".join(map(str, question)) for question in questions]
    argv = [sys.executable, _PROGRAM, "client", "/".join(interface), *asked]
    done = site.namespace.run(argv, timeout=60, extra={"HOME": str(site.new_folder("scapy"))})
    told = [line[7:] for line in done.out.splitlines() if line.startswith("towers ")]
    if done.code or len(told) != len(questions):
        raise AssertionError(f"scapy: {done.out}{done.err}")
    return [[(str(host), int(port)) for host, port in ast.literal_eval(line)] for line in told]
