"""What a test needs of this machine, and what is said where it is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import unittest
from functools import cache
from pathlib import Path

from .netns import Namespace, environment

# What is looked for: a program on the path, or a file (with wildcards) from the root on.
_NEEDS: dict[str, tuple[str, ...]] = {
    "dovecot": ("dovecot", "/usr/lib/dovecot/imap", "/usr/lib/dovecot/pop3"),
    "postfix": ("postfix", "postconf"),
    "nginx": ("nginx",),
    "samba": (
        "samba",
        "samba-tool",
        "ldbadd",
        "/usr/share/samba/setup/provision*.ldif",
        "/usr/lib/*/samba/ldb/samba_dsdb.so",
    ),
    "roaming": ("samba", "samba-tool", "ldbadd", "/usr/share/samba/setup/provision*.ldif"),
    "mapper": (
        "/usr/libexec/samba/samba-dcerpcd",
        "/usr/libexec/samba/rpcd_epmapper",
        "/usr/lib/python3/dist-packages/tdb*.so",
    ),
    "raw_protocol": ("/usr/lib/python3/dist-packages/samba/tests/dcerpc/raw_protocol.py",),
    "curl": ("curl",),
    "openssl": ("openssl",),
    "smtp-source": ("smtp-source",),
    "mbsync": ("mbsync",),
    "fetchmail": ("fetchmail",),
    "nginx-mail": ("nginx", "/usr/lib/nginx/modules/ngx_mail_module.so"),
    "swaks": ("swaks", "/usr/lib/*/perl5/*/Net/SSLeay.pm"),
    "rpcclient": ("rpcclient",),
    "smbtorture": ("smbtorture",),
    "haproxy": ("haproxy",),
    "nftables": ("nft", "ip"),
    "chromium": ("chromium",),
    "promtool": ("promtool",),
    "windows": ("python3",),
    "kerberos": ("krb5kdc", "kdb5_util", "kadmin.local", "kinit"),
    "apache": (
        "apache2",
        "/usr/lib/apache2/modules/mod_auth_gssapi.so",
        "/usr/lib/*/gssntlmssp/gssntlmssp.so",
    ),
}
# Python packages among the clients, and the module that each is known by.
_MODULES = {
    "impacket": "impacket",
    "pyspnego": "spnego",
    "requests-ntlm": "requests_ntlm",
    "exchangelib": "exchangelib",
    "scapy": "scapy",
}


def _there(need: str) -> bool:
    if need.startswith("/"):
        return any(Path("/").glob(need[1:]))
    return shutil.which(need, path=environment()["PATH"]) is not None


@cache
def missing(name: str) -> str:
    """Why `name` cannot be used here; empty where it can."""
    if name == "namespace":
        try:
            Namespace().close()
        except (OSError, AttributeError) as error:
            return f"no network namespace ({error}): run the tests as root on Linux"
        return ""
    if module := _MODULES.get(name):
        found = importlib.util.find_spec(module) is not None
        return "" if found else f"{name} is not installed: pip install 'exproxy[test]'"
    absent = [need for need in _NEEDS[name] if not _there(need)]
    return f"{name} is not installed ({', '.join(absent)}): sudo make peers" if absent else ""


def skip_unless(*names: str) -> None:
    """Raise SkipTest for the first thing that is missing; fail instead where EXPROXY_NO_SKIP=1."""
    for name in (*names, "namespace"):
        if reason := missing(name):
            if os.environ.get("EXPROXY_NO_SKIP") == "1":
                raise AssertionError(reason)
            raise unittest.SkipTest(reason)
