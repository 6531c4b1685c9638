"""A network namespace for the length of a test: loopback only, all of 127.0.0.0/8, every port free."""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .guardian import guardian, inhabitants

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP_RUNNING = 0x1 | 0x40
_LISTEN, _ESTABLISHED = "0A", "01"
# Outgoing connections get their ports from here: no server of the kit, and no service of an exproxy
# before it (59531 among them), listens at one of these.
_OUTGOING = (10000, 32767)
_UNWANTED = ("PYTHON", "COVERAGE", "MAIL_CONFIG", "SSL_CERT", "LC_", "LANG")

Endpoint = tuple[str, int]


@dataclass(frozen=True)
class Done:
    """What a command did: its exit code, its two texts (line ends kept), and its seconds."""

    code: int
    out: str
    err: str
    seconds: float


def environment() -> dict[str, str]:
    """The environment for peers: nothing in it chooses other authorities, proxies or languages."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_UNWANTED) and not name.lower().endswith(("_proxy", "_ca_bundle"))
    }
    folders = kept.get("PATH", os.defpath).split(os.pathsep)
    folders += [folder for folder in ("/usr/sbin", "/sbin") if folder not in folders]
    return {**kept, "PATH": os.pathsep.join(folders), "LC_ALL": "C"}


def _call(name: str, *arguments: int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _here() -> int:
    """A descriptor for the network namespace of this thread."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _endpoint(text: str) -> Endpoint:
    """`0B00007F:01BB` of /proc/net/tcp as ("127.0.0.11", 443); a mapped IPv4 address as IPv4."""
    digits, port = text.split(":")
    words = [digits[start : start + 8] for start in range(0, len(digits), 8)]
    raw = b"".join(struct.pack("=I", int(word, 16)) for word in words)
    address = ipaddress.ip_address(raw)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address), int(port, 16)


class Namespace:
    """A namespace without a name: the kernel removes it when this object and its processes are gone.

    `entered()` moves only the calling thread. A socket belongs to the namespace in which it was
    made, for ever, and a thread or a process starts in the namespace of the thread that starts it.
    So imaplib, http.client, a thread pool or subprocess work inside without knowing.
    """

    def __init__(self, addresses: Iterable[str] = ()) -> None:
        """Make it. `addresses` beyond 127.0.0.0/8 are put on the loopback interface.

        Raises OSError where the kernel does not allow it (only root may).
        """
        guard = guardian()
        home = _here()
        try:
            _call("unshare", _CLONE_NEWNET)
            try:
                self._descriptor = _here()
                self.identity = os.fstat(self._descriptor).st_ino
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                    fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP_RUNNING))
                Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("{} {}\n".format(*_OUTGOING))
            finally:
                _call("setns", home, _CLONE_NEWNET)
        finally:
            os.close(home)
        guard.namespace(self.identity)
        for address in addresses:
            width = ipaddress.ip_address(address).max_prefixlen
            added = self.run(["ip", "address", "add", f"{address}/{width}", "dev", "lo"])
            if added.code:
                raise OSError(added.err)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is inside for the length of the block. May be nested."""
        home = _here()
        try:
            _call("setns", self._descriptor, _CLONE_NEWNET)
            try:
                yield
            finally:
                _call("setns", home, _CLONE_NEWNET)
        finally:
            os.close(home)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 20.0,
        text: str = "",
        extra: Mapping[str, str] | None = None,
    ) -> Done:
        """Run a command inside with `text` as its input and `extra` environment; raises TimeoutExpired
        after killing it."""
        began = time.monotonic()
        with self.entered():
            done = subprocess.run(
                argv,
                input=text.encode(),
                capture_output=True,
                timeout=timeout,
                env={**environment(), **(extra or {})},
                cwd="/",
                check=False,
            )
        out, err = (raw.decode(errors="replace") for raw in (done.stdout, done.stderr))
        return Done(done.returncode, out, err, time.monotonic() - began)

    @property
    def path(self) -> str:
        """A path by which other programs find it, while this process lives."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    def pids(self) -> list[int]:
        """The living processes inside, this one not counted."""
        return inhabitants(self.identity)

    def listening(self) -> set[Endpoint]:
        """Where somebody listens, asked of the kernel: no server sees a connection for it."""
        return {local for state, local, _ in self._sockets() if state == _LISTEN}

    def connections(self, address: str, port: int) -> list[Endpoint]:
        """The peers of the established connections that a server at this address and port has."""
        here = (address, port)
        return [peer for state, local, peer in self._sockets() if state == _ESTABLISHED and local == here]

    def _sockets(self) -> list[tuple[str, Endpoint, Endpoint]]:
        with self.entered():
            tables = [Path(f"/proc/thread-self/net/{name}").read_text() for name in ("tcp", "tcp6")]
        rows = [line.split() for table in tables for line in table.splitlines()[1:]]
        return [(row[3], _endpoint(row[1]), _endpoint(row[2])) for row in rows]

    def close(self) -> list[str]:
        """Kill what still runs inside, let the namespace go, and tell the names of what was killed."""
        killed = []
        while left := self.pids():
            for pid in left:
                try:
                    killed.append(f"{pid} {Path(f'/proc/{pid}/comm').read_text().strip()}")
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    continue
        guardian().left(self.identity)
        os.close(self._descriptor)
        return sorted(set(killed))
