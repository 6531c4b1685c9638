"""The small languages inside single values: addresses, ``wait 5s``, names, plugin choices.

Every function takes what stood in the file and raises ValueError with advice for its writer.
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Any, Literal

from exproxy.model import Version
from exproxy.plugins import Choice as Choice
from exproxy.plugins import choice as choice
from exproxy.settings import WhenFull
from exproxy.units import duration

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
# More processes than that would only wait for each other's words.
MOST_WORKERS = 64
HOST_PATTERN = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"

_HOST_NAME = re.compile(rf"{HOST_PATTERN}(\.{HOST_PATTERN})*\.?")


def name(text: str) -> str:
    """A name of a server, group or service."""
    if not re.fullmatch(NAME_PATTERN[1:-1], text):
        raise ValueError(
            "a name begins with a letter or digit and goes on with letters, digits, '-', '_', '.'"
        )
    return text


def ip_address(text: str) -> str:
    """An IP address without brackets, in its usual spelling; brackets around IPv6 are taken off."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        raise ValueError(f"{text!r} is no IP address") from None


def host(text: str) -> str:
    """An IP address or a host name."""
    try:
        return ip_address(text)
    except ValueError:
        pass
    labels = text.split(".")
    if re.fullmatch(r"[0-9.]+", text):
        raise ValueError(f"{text!r} is no IP address")
    if ":" in text:
        raise ValueError(
            f"{text!r} is no IP address or host name; a port belongs into a service's `backend:`"
        )
    if not _HOST_NAME.fullmatch(text) or len(text) > 253 or not labels:
        raise ValueError(f"{text!r} is no IP address or host name")
    return text.lower().rstrip(".")


def origin(text: str) -> str:
    """``https://lb.example.org`` or ``http://[::1]:8404``: scheme, host and port of a page (RFC 6454)."""
    found = re.fullmatch(r"(https?)://(\[[0-9a-f:.]+\]|[^/:\[\]]+)(?::([0-9]{1,5}))?/?", text.lower())
    if found is None:
        raise ValueError(f"{text!r} is no origin; write it like https://lb.example.org, without a path")
    scheme, name, number = found.groups()
    host(name)
    usual = {"http": 80, "https": 443}[scheme]
    at = f":{port(number)}" if number and int(number) != usual else ""
    return f"{scheme}://{name}{at}"


def port(text: str) -> int:
    """A port of 0 to 65535, where 0 is any free one."""
    if re.fullmatch(r"[0-9]{1,5}", text) and int(text) <= 65535:
        return int(text)
    raise ValueError(f"{text!r} is no port; ports are 1 to 65535")


def listen(written: object) -> dict[str, Any]:
    """``443``, ``"192.0.2.1:443"``, ``"[::]:443"`` as the mapping that they are short for."""
    if isinstance(written, dict):
        return written
    if isinstance(written, int) and not isinstance(written, bool):
        return {"port": port(str(written))}
    if not isinstance(written, str):
        raise ValueError('must be a port, "address:port" or {port: …, address: …, tls: …}')
    before, colon, after = written.rpartition(":")
    if not colon:
        return {"port": port(written)}
    if before in ("", "*"):
        return {"port": port(after)}
    if ":" in before and not before.startswith("["):
        raise ValueError(f'an IPv6 address needs brackets before the port, like "[{before}]:{after}"')
    return {"address": ip_address(before), "port": port(after)}


def when_full(written: object) -> WhenFull:
    """``next``, ``wait 5s`` or ``refuse``."""
    if written == "next":
        return WhenFull("next")
    if written == "refuse":
        return WhenFull("refuse")
    words = written.split() if isinstance(written, str) else []
    if len(words) == 2 and words[0] == "wait":
        seconds = duration(words[1])
        if seconds <= 0:
            raise ValueError("must wait longer than 0; or write refuse")
        return WhenFull("wait", seconds)
    if words == ["wait"]:
        raise ValueError("says not how long; write wait 5s")
    raise ValueError(f"must be next, refuse or wait with a duration (wait 5s), not {written!r}")


def send_proxy(written: object) -> Version | Literal[False]:
    """``v1``, ``v2`` or false."""
    if written is False:
        return False
    if written == "v1" or written == "v2":
        return written
    raise ValueError(f"must be v1, v2 or false, not {'true' if written is True else repr(written)}")


def workers(written: object) -> int:
    """A number of processes; ``auto`` is that of the processors which this one may use."""
    if written == "auto":
        return min(MOST_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    if isinstance(written, int) and not isinstance(written, bool) and 1 <= written <= MOST_WORKERS:
        return written
    raise ValueError(f"must be a number of processes, 1 to {MOST_WORKERS}, or auto, not {written!r}")


def log_target(written: object) -> str | Literal[False]:
    """``stdout``, a path, or false."""
    if written is False or (isinstance(written, str) and written):
        return written
    raise ValueError("must be stdout, a file's path, or false")
