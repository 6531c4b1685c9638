"""Samba's endpoint mapper alone, at 135, in which interfaces come and go.

The mapper is the real one, and it answers with its own address. Behind the ports there is what the test
puts there: see stub.py.
"""

from __future__ import annotations

from .interfaces import EXCHANGE
from .server import PASSWORD, Place, Server

_LIBEXEC = "/usr/libexec/samba"
_FOLDERS = {
    "private dir": "private",
    "lock directory": "lock",
    "state directory": "state",
    "cache directory": "cache",
    "pid directory": "pid",
    "ncalrpc dir": "ncalrpc",
}
# A "/32" for its address would open no TCP socket at all.
_CONFIGURATION = """\
[global]
  netbios name = {server}
  workgroup = WG
  server role = standalone server
  security = user
  rpc start on demand helpers = no
  rpc server dynamic port range = 8000-8049
  interfaces = {address}/8
  bind interfaces only = yes
  passdb backend = tdbsam:{folder}/private/passdb.tdb
  disable spoolss = yes
  load printers = no
  map to guest = Bad User
  log file = {folder}/samba.log
  log level = 1
  max log size = 0
"""
# The mapper reads its table for every question. A record is "UUID/0xMAJOR" -> a name and bindings.
_STORE = """
import os, sys, tdb
table = tdb.open(sys.argv[1], flags=os.O_RDWR)
key = sys.argv[2].encode() + b"\\0"
if sys.argv[3:]:
    name, port = sys.argv[3:]
    binding = b"ncacn_ip_tcp:[" + port.encode() + b"]"
    table.store(key, name.encode() + b"\\0" + binding + b"\\0", tdb.REPLACE)
else:
    table.delete(key)
table.close()
"""


# Who may log in to it; nobody needs to.
ROOT_USER = f"WG\\root%{PASSWORD}"


class Mapper(Server):
    """`samba-dcerpcd` with its mapper and its classic services (srvsvc, wkssvc, ...)."""

    kind = "mapper"
    ports = (135,)

    def __init__(self, place: Place) -> None:
        """Write its configuration."""
        configuration = place.folder / f"{self.kind}-{place.server}" / "smb.conf"
        programs = [f"{_LIBEXEC}/{name}" for name in ("samba-dcerpcd", "rpcd_epmapper", "rpcd_classic")]
        options = ["-F", "--no-process-group", "-s", str(configuration)]
        super().__init__(place, [programs[0], *options, *programs[1:]])
        for name in _FOLDERS.values():
            (self.folder / name).mkdir()
        kept = "".join(f"  {option} = {self.folder / name}\n" for option, name in _FOLDERS.items())
        text = _CONFIGURATION.format(server=self.server, address=self.address, folder=self.folder)
        configuration.write_text(text + kept)
        self._registered: dict[str, int] = {}
        added = self.namespace.run(
            ["smbpasswd", "-c", str(configuration), "-s", "-a", "root"], text=f"{PASSWORD}\n" * 2
        )
        if added.code:
            raise AssertionError(f"smbpasswd: {added.out}{added.err}")

    def start(self) -> None:
        """Start it; what was registered is registered again, for it forgets."""
        super().start()
        for name, port in self._registered.items():
            self.register(name, port)

    def register(self, name: str, port: int) -> None:
        """From now on it maps one of Exchange's interfaces (`emsmdb`, ...) to this port."""
        self._registered[name] = port
        self._store(name, name, str(port))

    def unregister(self, name: str) -> None:
        """It knows this interface no longer."""
        self._registered.pop(name, None)
        self._store(name)

    def _store(self, name: str, *record: str) -> None:
        uuid, version = EXCHANGE[name]
        key = f"{uuid.lower()}/0x{int(version.split('.')[0]):08x}"
        argv = ["/usr/bin/python3", "-c", _STORE, str(self.folder / "lock" / "epmdb.tdb"), key, *record]
        done = self.namespace.run(argv)
        if done.code:
            raise AssertionError(f"epmdb.tdb: {done.err}")
