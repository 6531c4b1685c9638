"""What every check of one reading needs at hand."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from exproxy.config.document import Document
from exproxy.config.draft import Draft
from exproxy.config.selection import Selection


@dataclass(frozen=True, slots=True)
class Context:
    """The draft, the plugins, the present time (aware), the host name where the file gives none, and
    the files that do not exist before the lab starts."""

    draft: Draft
    selection: Selection
    now: datetime.datetime
    host_name: str
    made_by_lab: frozenset[Path] = frozenset()

    @property
    def document(self) -> Document:
        """The file."""
        return self.draft.document
