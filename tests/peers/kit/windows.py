"""Two servers with Windows authentication: one of ours that is an RPC proxy too, and Apache."""

from __future__ import annotations

import sys
from pathlib import Path

from .kerberos import keytab
from .samba import WORKGROUP
from .server import PASSWORD, USERS, Place, Server

ROOT = Path(__file__).parents[3]


def user_file(folder: Path, users: tuple[str, ...] = USERS) -> Path:
    """The users as gss-ntlmssp and pyspnego read them; everybody may, for the servers do not stay root."""
    path = folder / "ntlm-users"
    path.write_text("".join(f"{WORKGROUP}:{user}:{PASSWORD}\n" for user in users))
    path.chmod(0o644)
    return path


class Windows(Server):
    """HTTP at 8080 with NTLM, Negotiate and Basic by connection; EWS at /EWS; /rpc to Samba beside it."""

    kind = "windows"
    ports = (8080,)

    def __init__(self, place: Place) -> None:
        """Write its users; those of Samba's administrator log in too."""
        argv = [sys.executable, "-m", "tests.peers.kit.windows_program"]
        argv += [place.address, "8080", place.server, place.address]
        super().__init__(place, argv)
        users = user_file(self.folder, (*USERS, "Administrator", *MANY))
        self.extra = {"NTLM_USER_FILE": str(users), "PYTHONPATH": str(ROOT)}


MANY = tuple(f"person{number:03}" for number in range(200))

_APACHE = """\
ServerRoot {folder}
PidFile {folder}/httpd.pid
ServerName {server}.ex.test
Listen {address}:8081
Mutex file:{folder} default
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule headers_module {modules}/mod_headers.so
LoadModule auth_gssapi_module {modules}/mod_auth_gssapi.so
User www-data
Group www-data
ErrorLog {folder}/error.log
LogLevel info
LogFormat "%{{remote}}p %k %u %>s" who
CustomLog {folder}/access.log who
DocumentRoot {folder}/www
KeepAlive On
KeepAliveTimeout 30
MaxKeepAliveRequests 0
<Location />
  AuthType GSSAPI
  AuthName "windows"
  GssapiAllowedMech ntlmssp
{kerberos}  GssapiBasicAuth Off
  GssapiConnectionBound On
  GssapiSSLonly Off
  Require valid-user
  Header always set X-Server {server}
  Header always set X-Port "expr=%{{REMOTE_PORT}}"
  Header always set X-User "expr=%{{REMOTE_USER}}"
</Location>
"""
_KERBEROS = """\
  GssapiAllowedMech krb5
  GssapiCredStore keytab:{keytab}
"""


class Apache(Server):
    """HTTP at 8081 with SPNEGO and raw NTLM by gss-ntlmssp, bound to the connection; with Kerberos too
    where that was started before."""

    kind = "apache"
    ports = (8081,)

    def __init__(self, place: Place) -> None:
        """Write its configuration and a page."""
        configuration = place.folder / f"{self.kind}-{place.server}" / "httpd.conf"
        super().__init__(place, ["apache2", "-f", str(configuration), "-DFOREGROUND"])
        self.folder.chmod(0o755)
        (self.folder / "www").mkdir()
        (self.folder / "www" / "index.html").write_text(f"{place.server}\n")
        configuration.write_text(
            _APACHE.format(
                folder=self.folder,
                address=place.address,
                server=place.server,
                modules="/usr/lib/apache2/modules",
                kerberos=_KERBEROS.format(keytab=key) if (key := keytab(place.folder)).exists() else "",
            )
        )
        self.extra = {"NTLM_USER_FILE": str(user_file(self.folder))}
