"""``python -m bench.soak.servers '{"name": …, "host": …, "certificate": …}'``: until stdin ends.

A line on stdin is a mode of bench.soak.servers.modes; a line on stdout says that it listens.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from bench.soak.line import Cut, Line
from bench.soak.servers.mail import imap, pop, smtp
from bench.soak.servers.modes import MODES, Modes
from bench.soak.servers.plain import rpc, tcp
from bench.soak.servers.web import web
from bench.soak.site import BEHIND
from bench.soak.stream import Wrong

# Seconds that a server waits for its client's next word.
_PATIENCE = 60.0
_TLS = ("tls", "https")
Service = Callable[[Line, Modes], None]


class Server:
    """All services on one address."""

    def __init__(self, name: str, host: str, certificate: str) -> None:
        self.modes = Modes(name)
        self._host = host
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate)
        self._services: dict[str, Service] = {
            "tcp": tcp,
            "tls": tcp,
            "http": web,
            "https": web,
            "rpc": rpc,
            "imap": imap,
            "pop": pop,
            "smtp": partial(smtp, tls=self._tls),
        }
        self._doors: list[socket.socket] = []

    def open(self) -> None:
        """Listen."""
        for name, port in BEHIND.items():
            door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((self._host, port))
            door.listen(1024)
            self._doors.append(door)
            threading.Thread(target=self._accept, args=(name, door), daemon=True).start()

    def close(self) -> None:
        """Refuse."""
        doors, self._doors = self._doors, []
        for door in doors:
            # Whoever is in accept() wakes up.
            with suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)
            door.close()

    def become(self, mode: str) -> None:
        """Take that mode on."""
        if mode not in MODES:
            raise ValueError(f"no such mode: {mode}; there are {', '.join(MODES)}")
        self.modes.set(mode)
        if mode == "refuse":
            self.close()
        elif not self._doors:
            self.open()

    def _accept(self, name: str, door: socket.socket) -> None:
        while True:
            try:
                sock = door.accept()[0]
            except OSError:
                if door.fileno() < 0 or door not in self._doors:
                    return
                continue
            threading.Thread(target=self._serve, args=(name, sock), daemon=True).start()

    def _serve(self, name: str, sock: socket.socket) -> None:
        with Line(sock, _PATIENCE) as line, suppress(Cut, Wrong, OSError, ValueError, IndexError, KeyError):
            self.modes.pass_gate()
            if name in _TLS:
                line.secure(self._tls)
            self._services[name](line, self.modes)
            line.goodbye()


def main() -> None:
    """Serve until stdin ends."""
    order = json.loads(sys.argv[1])
    threading.stack_size(256 * 1024)
    server = Server(order["name"], order["host"], order["certificate"])
    server.open()
    print(json.dumps({"listening": len(BEHIND)}), flush=True)
    for line in sys.stdin:
        server.become(line.strip())


if __name__ == "__main__":
    main()
