"""Samba's RPC server: endpoint mapper at 135, SAMR at 59531, LSA at 59532, as Exchange's are.

SAMR stands for MSExchangeRPC and LSA for MSExchangeAB: NTLM, signing, sealing, context handles and
association groups are the real ones. `Roaming` has them at other ports, different on each server.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from .guardian import guardian
from .netns import Namespace
from .server import PASSWORD, Place, Server

# The interfaces besides the mapper's, in the order of their ports. Samba gives each a port of its own
# when it is not told one, and does not start where some of them share one.
INTERFACES = ("samr", "lsarpc", "netlogon", "drsuapi", "wkssvc")
REALM, WORKGROUP, ADMINISTRATOR = "EX.TEST", "EX", "Administrator"
MEMBERS = 40
_CONFIGURATION = """\
[global]
  netbios name = EXCH1
  workgroup = {workgroup}
  realm = {realm}
  server role = active directory domain controller
  server services = rpc
  dcerpc endpoint servers = epmapper, samr, lsarpc, dssetup, drsuapi, netlogon, wkssvc
{ports}
  interfaces = {address}/8
  bind interfaces only = yes
  private dir = {folder}/private
  lock directory = {folder}/lock
  state directory = {folder}/state
  cache directory = {folder}/cache
  pid directory = {folder}/pid
  ncalrpc dir = {folder}/ncalrpc
  binddns dir = {folder}/bind-dns
  log file = {folder}/samba.log
  log level = 1
  max log size = 0
[netlogon]
  path = {folder}/state/sysvol/ex.test/scripts
[sysvol]
  path = {folder}/state/sysvol
"""


def _user(name: str) -> str:
    return f"dn: CN={name},CN=Users,DC=ex,DC=test\nobjectClass: user\nsAMAccountName: {name}\n\n"


def _add(namespace: Namespace, folder: Path, records: str) -> None:
    added = namespace.run(["ldbadd", "-H", str(folder / "private" / "sam.ldb")], text=records, timeout=60)
    if added.code:
        raise AssertionError(f"ldbadd: {added.out}{added.err}")


@cache
def _template() -> Path:
    """A provisioned domain with some users, made once in the life of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="exproxy-domain-"))
    guardian().folder(folder)
    namespace = Namespace()
    try:
        arguments = {
            "targetdir": folder,
            "realm": REALM,
            "domain": WORKGROUP,
            "host-name": "exch1",
            "host-ip": "127.0.0.1",
            "adminpass": PASSWORD,
            "server-role": "dc",
            "dns-backend": "NONE",
        }
        options = [f"--{name}={value}" for name, value in arguments.items()]
        options += ["--option=interfaces=lo", "--option=bind interfaces only=yes"]
        made = namespace.run(["samba-tool", "domain", "provision", *options], timeout=120)
        if made.code:
            raise AssertionError(f"samba-tool domain provision: {made.err}")
        _add(namespace, folder, "".join(_user(f"member{number:02}") for number in range(MEMBERS)))
    finally:
        namespace.close()
    return folder


class Samba(Server):
    """Its list of users names it: the copy on ex1 has a user `ex1`. Users and SIDs are else the same.

    The endpoint mapper answers with the address 0.0.0.0: clients use the one that they asked.
    """

    kind = "samba"
    first: int = 59531

    def __init__(self, place: Place) -> None:
        """Copy the domain and write the configuration."""
        configuration = place.folder / f"{self.kind}-{place.server}" / "smb.conf"
        argv = ["samba", "-F", "--no-process-group", "-M", "single", "-s", str(configuration)]
        super().__init__(place, argv)
        template = _template()
        for name in ("private", "state"):
            shutil.copytree(template / name, self.folder / name, copy_function=shutil.copy2)
        for name in ("lock", "pid", "ncalrpc", "cache", "bind-dns"):
            (self.folder / name).mkdir(exist_ok=True)
        _add(self.namespace, self.folder, _user(self.server))
        self._configure()

    def _configure(self) -> None:
        """Write what the next start reads."""
        at = {name: self.first + number for number, name in enumerate(INTERFACES)}
        lines = (
            f"  rpc server port:{name} = {port}" for name, port in (*at.items(), ("dssetup", at["lsarpc"]))
        )
        (self.folder / "smb.conf").write_text(
            _CONFIGURATION.format(
                folder=self.folder,
                address=self.address,
                realm=REALM,
                workgroup=WORKGROUP,
                ports="\n".join(lines),
            )
        )
        self.ports = (135, *at.values())
        self.ready = frozenset((self.address, port) for port in self.ports)

    def port(self, interface: str) -> int:
        """Where one of INTERFACES is."""
        return self.ports[1 + INTERFACES.index(interface)]


class Roaming(Samba):
    """The same with ports that nothing fixes: others on each server, others after `move`."""

    kind = "roaming"

    def __init__(self, place: Place) -> None:
        """7100 and the next ones on ex1, 7200 and the next ones on ex2."""
        self.first = 7000 + 100 * int(place.server.removeprefix("ex"))
        super().__init__(place)

    def move(self) -> None:
        """Stop it, and start it at other ports, which no server had before."""
        self.stop()
        self.first += 10
        self._configure()
        self.start()
