"""Read a configuration file: everything is checked, nothing is bound, written or looked up in DNS."""

from __future__ import annotations

import datetime
import platform
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
    return resolve(
        document,
        catalogue or Catalogue(),
        host_name or _own_name(),
        now or datetime.datetime.now(datetime.timezone.utc),
        usual_state_dir(),
    )


def _own_name() -> str:
    try:
        return host(platform.node())
    except ValueError:
        return "localhost"
