"""TLS of the clients: version 1.3 and nothing older; who answers does not matter here."""

from __future__ import annotations

import ssl
from typing import Any

from bench.load.loop import connect

NAME = "mail.bench.test"


def context() -> ssl.SSLContext:
    """What a client connects with; sessions can be used again within one context only."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def wrapped(made: ssl.SSLContext, address: tuple[str, int], session: ssl.SSLSession | None = None) -> Any:
    """A connected socket with its handshake still before it."""
    sock = connect(address)
    return made.wrap_socket(sock, do_handshake_on_connect=False, server_hostname=NAME, session=session)
