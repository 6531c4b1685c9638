"""The secret that signs cookies and keys digests: the configured one, or one made once and kept."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from exproxy.errors import ConfigurationError

LENGTH = 32


def kept_secret(state_dir: Path) -> bytes:
    """The secret in ``state_dir/secret``, made (mode 0600) where there is none.

    Raises ConfigurationError where it can be neither read nor made.
    """
    path = state_dir / "secret"
    try:
        state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            secret = path.read_bytes()
        else:
            secret = secrets.token_hex(LENGTH).encode("ascii")
            with os.fdopen(handle, "wb") as file:
                file.write(secret)
    except OSError as error:
        raise ConfigurationError(
            f"cannot keep a secret in {path}: {error.strerror}; "
            "set `secret:` or `state-dir:` in the configuration"
        ) from None
    if len(secret) < LENGTH:
        raise ConfigurationError(f"the secret in {path} is too short; remove the file to have a new one made")
    return secret
