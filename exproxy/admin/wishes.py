"""The operator's wishes, and the file that keeps them over a restart."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exproxy.admin.moments import rfc3339
from exproxy.admin.status import Operator

VERSION = 1
# Bytes of the file: a thousand wishes are about 200 kB.
MAX_BYTES = 1024 * 1024
# Characters of a reason, and of the name of who wants it.
LONGEST = 500


@dataclass(frozen=True, slots=True)
class Wish:
    """A server shall be ``state`` in ``service``, or in all of them (None; drain or maint then).

    ``since``, ``until``: POSIX seconds; ``drain``: keep or move, None: as each service is configured.
    """

    server: str
    service: str | None
    state: str
    reason: str = ""
    who: str = ""
    since: float = 0.0
    until: float | None = None
    drain: str | None = None

    def shown(self, drain: str | None = None) -> Operator:
        """For people; ``drain``: what the service is configured to."""
        until = None if self.until is None else rfc3339(self.until)
        return Operator(
            self.state,
            self.reason,
            self.who,
            rfc3339(self.since),
            until,
            self.service,
            self.drain or drain or "keep",
        )


class Unreadable(ValueError):
    """The file is not what was written there."""


class WishFile:
    """``operator.json`` in the state folder: replaced as a whole, mode 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Wish]:
        """What is kept; [] without a file. Raises Unreadable; the file is put aside then."""
        try:
            with self.path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unreadable(f"{self.path} cannot be read: {error.strerror or error}") from None
        try:
            if len(content) > MAX_BYTES:
                raise ValueError(f"it is larger than {MAX_BYTES} bytes")
            return [_wish(each) for each in json.loads(content)["wishes"]]
        except (ValueError, KeyError, TypeError) as error:
            aside = self.path.with_suffix(".json.bad")
            with suppress(OSError):
                self.path.replace(aside)
            raise Unreadable(f"{self.path} holds no operator states ({error}); it is {aside} now") from None

    def write(self, wishes: Iterable[Wish]) -> None:
        """Keep these, and only these. Raises OSError; the old ones stay then."""
        text = json.dumps({"version": VERSION, "wishes": [asdict(each) for each in wishes]}, indent=1)
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        # mkstemp makes it 0600.
        handle, name = tempfile.mkstemp(prefix=".operator-", dir=self.path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise


def _wish(written: Any) -> Wish:
    wish = Wish(**written)
    good = (
        isinstance(wish.server, str)
        and (wish.service is None or isinstance(wish.service, str))
        and (wish.state in ("drain", "maint") or (wish.state == "ready" and wish.service is not None))
        and isinstance(wish.reason, str)
        and isinstance(wish.who, str)
        and isinstance(wish.since, (int, float))
        and (wish.until is None or isinstance(wish.until, (int, float)))
        and wish.drain in (None, "keep", "move")
    )
    if not good:
        raise ValueError(f"{written!r:.200} is no wish")
    return wish
