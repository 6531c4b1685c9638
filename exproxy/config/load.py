"""Read a configuration file: everything is checked, nothing is bound, written or looked up in DNS."""

from __future__ import annotations

import datetime
import pickle
import platform
from dataclasses import replace
from pathlib import Path

from exproxy.config import templates
from exproxy.config.grammar import host
from exproxy.config.nodes import read
from exproxy.config.resolve import resolve, usual_state_dir
from exproxy.config.resolved import Config
from exproxy.plugins import Catalogue


def load(
    path: str | Path,
    *,
    catalogue: Catalogue | None = None,
    host_name: str | None = None,
    now: datetime.datetime | None = None,
    text: str | None = None,
) -> Config:
    """The Config of that file. Raises Invalid, whose text is for the administrator.

    ``catalogue`` has the plugins (default: the installed ones), ``host_name`` is used where the file
    gives none (default: the machine's), ``now`` (aware) is what certificates are held to;
    ``text`` stands in the file's place.
    """
    document = read(Path(path), text)
    templates.apply(document)
    moment = now or datetime.datetime.now(datetime.timezone.utc)
    read_at = (host_name or _own_name(), moment, usual_state_dir())
    # Before it is resolved, which takes it to pieces.
    written = pickle.dumps((document, *read_at), pickle.HIGHEST_PROTOCOL)
    return replace(resolve(document, catalogue or Catalogue(), *read_at), written=written)


def reload(written: bytes, catalogue: Catalogue | None = None) -> Config:
    """The Config that another process of ours has read: from its ``written``, whatever the file says by now.

    The files that it names (certificates, authorities) are looked at again. Raises Invalid. The bytes are
    a pickle: only ever what came from ourselves.
    """
    document, name, moment, state_dir = pickle.loads(written)  # noqa: S301  # our own parent's
    return replace(resolve(document, catalogue or Catalogue(), name, moment, state_dir), written=written)


def _own_name() -> str:
    try:
        return host(platform.node())
    except ValueError:
        return "localhost"
