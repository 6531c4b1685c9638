"""Real clients, run inside the namespace, each with a time limit in seconds."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from .interfaces import SAMR, Interface
from .netns import Done, Namespace
from .samba import ADMINISTRATOR, REALM, WORKGROUP
from .server import PASSWORD, PUBLIC

_LIMIT = 10.0
# A certificate that stands in the file itself is trusted, whatever the host is called.
_MBSYNC = """\
IMAPStore far
Host {address}
Port {port}
User {user}
Pass {password}
AuthMechs LOGIN
SSLType {tls}
SystemCertificates no
CertificateFile {certificate}
PipelineDepth 1

MaildirStore near
Path {box}/
Inbox {box}/INBOX

Channel mail
Far :far:
Near :near:
Create Near
Sync Pull
SyncState *
"""


class Clients:
    """Each method gives `Done`, whatever the client's exit code; TimeoutExpired past the limit."""

    def __init__(self, namespace: Namespace, folder: Path, ca: Path) -> None:
        """`folder`: for their own files; `ca`: the authority to trust."""
        self._namespace = namespace
        self._ca = ca
        self._folder = folder / "clients"
        self._folder.mkdir(exist_ok=True)

    def curl(self, *arguments: str, limit: float = _LIMIT) -> Done:
        """Curl, quiet, with the authority verified."""
        options = ["--silent", "--show-error", "--max-time", str(limit), "--cacert", str(self._ca)]
        return self._namespace.run(["curl", "-q", *options, *arguments], timeout=limit + 5)

    def s_client(
        self, address: str, port: int, *arguments: str, text: str = "", limit: float = _LIMIT
    ) -> Done:
        """Send `text` through `openssl s_client -quiet`, authority verified; it ends when the server does."""
        options = ["-quiet", "-CAfile", str(self._ca), "-verify_return_error"]
        where = ["-connect", f"{address}:{port}"]
        argv = ["openssl", "s_client", *options, *where, *arguments]
        return self._namespace.run(argv, text=text, timeout=limit)

    def swaks(self, address: str, port: int, *arguments: str, limit: float = _LIMIT) -> Done:
        """Deliver a mail with swaks (its default text, unless the arguments say another)."""
        where = ["--server", address, "--port", str(port), "--timeout", f"{limit:.0f}s"]
        return self._namespace.run(["swaks", *where, *arguments], timeout=limit + 5)

    def smtp_source(self, address: str, port: int, *arguments: str, limit: float = 60.0) -> Done:
        """Deliver many mails with Postfix's own load generator; it fails at the first answer that is not
        the one it hoped for."""
        return self._namespace.run(["smtp-source", *arguments, f"{address}:{port}"], timeout=limit)

    def mbsync(
        self, address: str, port: int, user: str, certificate: Path, box: Path, *, tls: str = "STARTTLS",
        limit: float = 60.0,
    ) -> Done:  # fmt: skip
        """Pull a user's INBOX into the Maildir `box` with mbsync, command by command; `tls`: STARTTLS or
        IMAPS, where the server shows `certificate`."""
        configuration = self._folder / f"mbsync-{box.name}"
        configuration.write_text(
            _MBSYNC.format(
                address=address,
                port=port,
                user=user,
                password=PASSWORD,
                tls=tls,
                certificate=certificate,
                box=box,
            )
        )
        argv = ["mbsync", "--config", str(configuration), "--all"]
        return self._namespace.run(argv, timeout=limit, extra={"HOME": str(self._folder)})

    def fetchmail(
        self, address: str, port: int, user: str, box: Path, *arguments: str, limit: float = _LIMIT
    ) -> Done:
        """Fetch and keep a user's mail by POP3 with fetchmail into the file `box`; `arguments`: how TLS
        begins. The certificate is verified; exit code 1 where there is no mail."""
        configuration = self._folder / f"fetchmail-{box.name}"
        configuration.write_text(
            f"poll {address} service {port} protocol POP3 no envelope\n"
            f'  user "{user}" password "{PASSWORD}" fetchall keep mda "cat >>{box}"\n'
        )
        configuration.chmod(0o600)
        options = ["--fetchmailrc", str(configuration), "--nosyslog", "--idfile", f"{configuration}.ids"]
        options += ["--pidfile", f"{configuration}.pid", "--sslcertck", "--sslcertfile", str(self._ca)]
        argv = ["fetchmail", "-v", *options, "--sslcommonname", PUBLIC, *arguments]
        return self._namespace.run(argv, timeout=limit, extra={"HOME": str(self._folder)})

    def rpcclient(
        self,
        address: str,
        command: str = "enumdomusers",
        *,
        options: str = "seal",
        user: str = f"{WORKGROUP}\\{ADMINISTRATOR}%{PASSWORD}",
        limit: float = _LIMIT,
    ) -> Done:
        """Map the interface at port 135, bind with NTLM at the answer's port, call."""
        binding = f"ncacn_ip_tcp:{address}[{options}]"
        argv = ["rpcclient", "-s", self._smb_conf(), "-U", user, binding, "-c", command]
        return self._namespace.run(argv, timeout=limit)

    def smbtorture(
        self,
        binding: str,
        *tests: str,
        user: str = f"{WORKGROUP}\\{ADMINISTRATOR}%{PASSWORD}",
        limit: float = 60.0,
    ) -> Done:
        """Samba's own protocol tests, for example `ncacn_ip_tcp:127.0.0.1`, rpc.handles.samr."""
        argv = ["smbtorture", "-s", self._smb_conf(), binding, "-U", user, *tests]
        return self._namespace.run(argv, timeout=limit)

    def _smb_conf(self) -> str:
        path = self._folder / "smb.conf"
        if not path.exists():
            kept = ("private dir", "lock directory", "state directory", "cache directory", "pid directory")
            own = "".join(f"  {name} = {self._folder}\n" for name in kept)
            path.write_text(f"[global]\n  workgroup = {WORKGROUP}\n  realm = {REALM}\n{own}")
        return str(path)

    def hept_map(self, address: str, interface: Interface = SAMR, limit: float = _LIMIT) -> str:
        """Ask the endpoint mapper with impacket; gives `ncacn_ip_tcp:127.0.0.1[59531]`."""
        with self._namespace.entered(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from impacket.dcerpc.v5 import epm, transport  # type: ignore[import-untyped]
            from impacket.uuid import uuidtup_to_bin  # type: ignore[import-untyped]

            asking = transport.DCERPCTransportFactory(f"ncacn_ip_tcp:{address}[135]")
            asking.set_connect_timeout(limit)
            dce = asking.get_dce_rpc()
            dce.connect()
            try:
                wanted = uuidtup_to_bin(interface)
                return str(epm.hept_map(address, wanted, protocol="ncacn_ip_tcp", dce=dce))
            finally:
                dce.disconnect()

    def samr(self, binding: str, limit: float = _LIMIT) -> Samr:
        """Log in to SAMR with impacket, at what hept_map gave; close it."""
        with self._namespace.entered(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Samr(binding, limit)


class Samr:
    """A connection to SAMR with NTLM and privacy, and a handle of the domain that the server holds."""

    def __init__(self, binding: str, limit: float) -> None:
        """Connect, bind and open the domain."""
        from impacket.dcerpc.v5 import rpcrt, samr, transport

        self._samr: Any = samr
        reaching = transport.DCERPCTransportFactory(binding)
        reaching.set_connect_timeout(limit)
        reaching.set_credentials(ADMINISTRATOR, PASSWORD, WORKGROUP)
        self._dce = reaching.get_dce_rpc()
        self._dce.set_auth_type(rpcrt.RPC_C_AUTHN_WINNT)
        self._dce.set_auth_level(rpcrt.RPC_C_AUTHN_LEVEL_PKT_PRIVACY)
        self._dce.connect()
        try:
            self._dce.bind(samr.MSRPC_UUID_SAMR)
            server = samr.hSamrConnect(self._dce)["ServerHandle"]
            sid = samr.hSamrLookupDomainInSamServer(self._dce, server, WORKGROUP)["DomainId"]
            self._domain = samr.hSamrOpenDomain(self._dce, server, domainId=sid)["DomainHandle"]
        except BaseException:
            self.close()
            raise

    def users(self) -> list[str]:
        """The names of the domain's users; one of them is the server's."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = self._samr.hSamrEnumerateUsersInDomain(self._dce, self._domain)
        return [str(user["Name"]) for user in answer["Buffer"]["Buffer"]]

    def close(self) -> None:
        """Close the connection."""
        self._dce.disconnect()
