"""Dovecot: IMAP at 143 and 993, POP3 at 110 and 995; the same behind the PROXY protocol at 1143, 1993, 1110
and 1995."""

from __future__ import annotations

import socket
import time

from .server import PASSWORD, USERS, Place, Server

_CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/run
instance_name = {server}
protocols = imap pop3
listen = {address}
log_path = {folder}/dovecot.log
info_log_path = {folder}/dovecot.log
auth_verbose = yes
auth_failure_delay = 0
login_greeting = {host} ready
default_internal_user = dovecot
default_internal_group = dovecot
default_login_user = dovenull
first_valid_uid = 8
mail_location = maildir:{mail}/%n
mail_max_userip_connections = 1000
disable_plaintext_auth = no
auth_mechanisms = plain login
ssl = yes
ssl_cert = <{pem}
ssl_key = <{pem}
ssl_min_protocol = TLSv1.2
login_trusted_networks = 127.0.0.0/8
haproxy_trusted_networks = 127.0.0.0/8
passdb {{
  driver = passwd-file
  args = scheme=plain username_format=%n {folder}/users
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={mail}/%n
}}
service imap-login {{
  process_limit = 1000
  inet_listener imap {{
    port = 143
  }}
  inet_listener imaps {{
    port = 993
    ssl = yes
  }}
  inet_listener imap_proxy {{
    port = 1143
    haproxy = yes
  }}
  inet_listener imaps_proxy {{
    port = 1993
    ssl = yes
    haproxy = yes
  }}
}}
service pop3-login {{
  process_limit = 1000
  inet_listener pop3 {{
    port = 110
  }}
  inet_listener pop3s {{
    port = 995
    ssl = yes
  }}
  inet_listener pop3_proxy {{
    port = 1110
    haproxy = yes
  }}
  inet_listener pop3s_proxy {{
    port = 1995
    ssl = yes
    haproxy = yes
  }}
}}
service auth {{
  unix_listener smtp-auth {{
    mode = 0666
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""


class Dovecot(Server):
    """Its greeting names it: `* OK [...] ex1.ex.test ready`. All instances show the same mailboxes."""

    kind = "dovecot"
    ports = (110, 143, 993, 995, 1110, 1143, 1993, 1995)

    def __init__(self, place: Place) -> None:
        """Write its configuration."""
        configuration = place.folder / f"{self.kind}-{place.server}" / "dovecot.conf"
        super().__init__(place, ["dovecot", "-F", "-c", str(configuration)])
        configuration.write_text(
            _CONFIGURATION.format(
                folder=self.folder,
                server=self.server,
                address=self.address,
                host=self.host,
                mail=place.mail,
                pem=place.pem,
            )
        )
        lines = (f"{user}:{{PLAIN}}{PASSWORD}::::::\n" for user in USERS)
        (self.folder / "users").write_text("".join(lines))

    def wait(self, patience: float = 10.0) -> None:
        """Wait for its own greeting: the very first clients would read that it waits for its parts."""
        super().wait(patience)
        deadline = time.monotonic() + patience
        greeting = b""
        while self.host.encode() not in greeting:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name} does not greet:\n{self.log_tail()}")
            with self.namespace.entered():
                client = socket.create_connection((self.address, 143), timeout=patience)
            with client, client.makefile("rb") as lines:
                greeting = lines.readline()
