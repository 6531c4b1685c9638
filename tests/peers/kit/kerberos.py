"""MIT's key distribution centre: the realm EX.TEST, its users, and one service for both web servers."""

from __future__ import annotations

from pathlib import Path

from .samba import REALM
from .server import PASSWORD, PUBLIC, USERS, Place, Server

_CLIENT = """\
[libdefaults]
  default_realm = {realm}
  dns_lookup_kdc = false
  dns_lookup_realm = false
  dns_canonicalize_hostname = false
  rdns = false
  udp_preference_limit = 1
[realms]
  {realm} = {{
    kdc = {address}:88
  }}
"""
_CENTRE = """\
[kdcdefaults]
  kdc_listen = {address}:88
  kdc_tcp_listen = {address}:88
[realms]
  {realm} = {{
    database_name = {folder}/principal
    key_stash_file = {folder}/stash
    acl_file = {folder}/acl
  }}
"""


def keytab(folder: Path) -> Path:
    """The web servers' key, in the site's folder."""
    return folder / "http.keytab"


class Kerberos(Server):
    """At 88 of its address. `settings`: the environment that programs find it by."""

    kind = "kerberos"
    ports = (88,)

    def __init__(self, place: Place) -> None:
        """Make the realm; the servers' key goes to where Apache looks for it."""
        super().__init__(place, ["krb5kdc", "-n", "-P", str(place.folder / "kdc.pid")])
        words = {"realm": REALM, "address": place.address, "folder": self.folder}
        (self.folder / "krb5.conf").write_text(_CLIENT.format(**words))
        (self.folder / "kdc.conf").write_text(_CENTRE.format(**words))
        self.settings = {
            "KRB5_CONFIG": str(self.folder / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf"),
            "KRB5CCNAME": f"FILE:{self.folder}/tickets",
        }
        self.extra = self.settings
        self._do("kdb5_util", "create", "-s", "-P", PASSWORD, "-r", REALM)
        for user in USERS:
            self._do("kadmin.local", "addprinc", "-pw", PASSWORD, user)
        self._do("kadmin.local", "addprinc", "-randkey", f"HTTP/{PUBLIC}")
        key = keytab(place.folder)
        self._do("kadmin.local", "ktadd", "-k", str(key), f"HTTP/{PUBLIC}")
        key.chmod(0o644)

    def _do(self, *argv: str) -> None:
        done = self.namespace.run(argv, extra=self.settings)
        if done.code:
            raise AssertionError(f"{argv[0]}: {done.out}{done.err}")

    def log_in(self, user: str) -> None:
        """Get a ticket for the user; clients with `settings` have it."""
        done = self.namespace.run(["kinit", user], text=f"{PASSWORD}\n", extra=self.settings)
        if done.code:
            raise AssertionError(f"kinit: {done.out}{done.err}")
