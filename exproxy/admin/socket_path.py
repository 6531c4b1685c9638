"""The path of the unix socket, for whoever binds it and whoever connects to it; imports next to nothing."""

from __future__ import annotations

import os
from pathlib import Path

SOCKET = "exproxy.sock"
# sun_path of unix(7), less its final zero.
LONGEST = 107


def address_of(path: Path, folder: int) -> str:
    """What to bind or connect to for that path: itself, or a short way by an open ``folder``'s descriptor."""
    text = os.fspath(path)
    return text if len(os.fsencode(text)) <= LONGEST else f"/proc/self/fd/{folder}/{path.name}"
