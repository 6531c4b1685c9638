"""Postfix: SMTP at 25 and 587, and at 2587 for those who log in at Dovecot's; STARTTLS on all. Behind the
PROXY protocol at 1025, and TLS from the first byte on at 1465."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .server import DOMAIN, USERS, Place, Server

_DAEMONS = Path("/usr/lib/postfix/sbin")
_PRIVATE = ("active", "incoming", "hold", "deferred", "defer", "bounce", "corrupt", "saved", "trace")
_MAIN = """\
compatibility_level = 3.6
command_directory = /usr/sbin
daemon_directory = {daemons}
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
multi_instance_name = postfix-{server}
myhostname = {host}
smtpd_banner = $myhostname ESMTP
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = all
inet_protocols = ipv4
disable_dns_lookups = yes
smtpd_peername_lookup = no
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {mail}
virtual_mailbox_maps = inline:{{ {boxes} }}
virtual_minimum_uid = 8
virtual_uid_maps = static:8
virtual_gid_maps = static:8
default_transport = discard
relay_transport = discard
smtpd_tls_cert_file = {pem}
smtpd_tls_key_file = {pem}
smtpd_tls_security_level = may
smtpd_tls_loglevel = 1
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
"""
_MASTER = """\
{address}:25  inet n - n - 500 smtpd
{address}:587 inet n - n - 500 smtpd
{address}:1025 inet n - n - 500 smtpd -o smtpd_upstream_proxy_protocol=haproxy
{address}:1465 inet n - n - 500 smtpd -o smtpd_upstream_proxy_protocol=haproxy -o smtpd_tls_wrappermode=yes
{address}:2587 inet n - n - 500 smtpd
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_sasl_type=dovecot
  -o smtpd_sasl_path={dovecot}/run/smtp-auth
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
tlsmgr    unix  - - n 1000? 1 tlsmgr
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix(Server):
    """Its greeting names it: `220 ex1.ex.test ESMTP`; so does the Received field of what it delivers.

    All instances deliver into the same mailboxes, those that Dovecot shows.
    """

    kind = "postfix"
    ports = (25, 587, 1025, 1465)

    def __init__(self, place: Place) -> None:
        """Write its configuration and make its queue."""
        etc = place.folder / f"{self.kind}-{place.server}" / "etc"
        # master itself and not `postfix start-fg`: no shell stays between it and us.
        super().__init__(place, [str(_DAEMONS / "master"), "-c", str(etc), "-s"])
        self.extra["MAIL_CONFIG"] = str(etc)
        for name in ("etc", "queue", "data"):
            (self.folder / name).mkdir(mode=0o755)
        shutil.chown(self.folder / "data", "postfix")
        boxes = " ".join(f"{{{user}@{DOMAIN}={user}/}}" for user in USERS)
        (etc / "main.cf").write_text(
            _MAIN.format(
                folder=self.folder,
                daemons=_DAEMONS,
                server=self.server,
                host=self.host,
                address=self.address,
                domain=DOMAIN,
                mail=place.mail,
                boxes=boxes,
                pem=place.pem,
            )
        )
        dovecot = place.folder / f"dovecot-{self.server}"
        (etc / "master.cf").write_text(_MASTER.format(address=self.address, dovecot=dovecot))
        # Postfix waits until a file that changed a moment ago stands still.
        os.utime(etc / "main.cf", (1e9, 1e9))
        self._queue()

    def _queue(self) -> None:
        """What `postfix check` would make, in milliseconds instead of two seconds."""
        for name in (*_PRIVATE, "flush", "private"):
            (self.folder / "queue" / name).mkdir(mode=0o700)
            shutil.chown(self.folder / "queue" / name, "postfix")
        for name, mode in (("maildrop", 0o730), ("public", 0o710)):
            (self.folder / "queue" / name).mkdir()
            shutil.chown(self.folder / "queue" / name, "postfix", "postdrop")
            (self.folder / "queue" / name).chmod(mode)
        (self.folder / "queue" / "pid").mkdir(mode=0o755)
