"""Everything that can be asked of running traffic, or done to it.

One interface for one process (:class:`exproxy.admin.local.LocalPlane`) and for all workers together. Methods
return values, or Deferreds of them: call them with ``maybeDeferred``, or await that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import Interface

from exproxy.admin.explanation import Explanation, Question
from exproxy.admin.rows import (
    CertificateRow,
    EntryRow,
    Event,
    History,
    Operated,
    Problem,
    Progress,
    Reloaded,
    SessionRow,
    Weighted,
)
from exproxy.admin.status import Status

T = TypeVar("T")
MaybeLater: TypeAlias = T | Deferred[T]

# The operator's words.
STATES = ("ready", "drain", "maint")


class Refused(Exception):
    """What was asked for is not done; the text says why, and what to do."""


class Unknown(Refused):
    """There is no such server, service, session, group or entry."""


class LastUsable(Refused):
    """Nobody would be left in ``services`` (a tuple of names): only with ``force``."""

    def __init__(self, server: str, services: Sequence[str]) -> None:
        self.server = server
        self.services = tuple(services)
        super().__init__(
            f"{server} is the last usable server of {', '.join(services)}, new clients would be refused: "
            "bring another server up first, or force it"
        )


class IPlane(Interface):
    """See the module. Whatever is refused raises :class:`Refused` (its kinds say more), or fails with it."""

    def status() -> MaybeLater[Status]:
        """Everything at this moment."""

    # -- sessions --------------------------------------------------------------------

    def sessions(
        *, service: str | None = None, server: str | None = None, client: str | None = None, limit: int = 1000
    ) -> MaybeLater[list[SessionRow]]:
        """The client connections that fit all that is given, oldest first, ``limit`` (1 to 10,000) at most.
        ``client``: an address or a network (192.0.2.0/24)."""

    def kill(session_id: str, reason: str, *, who: str = "") -> MaybeLater[bool]:
        """Cut one; False where it is gone already. ``reason`` goes into the access log."""

    def kill_where(
        *,
        service: str | None = None,
        server: str | None = None,
        client: str | None = None,
        reason: str,
        who: str = "",
    ) -> MaybeLater[int]:
        """Cut all that fit, how many those were; Refused where nothing is given to choose them by."""

    # -- the operator's wish ---------------------------------------------------------

    def operate(
        server: str,
        state: str,
        *,
        service: str | None = None,
        reason: str = "",
        who: str = "",
        until: float | None = None,
        force: bool = False,
        timeout: float | None = None,
        drain: str | None = None,
    ) -> MaybeLater[Operated]:
        """Have a server ready, drain or maint, in all services or one.

        ``until``: POSIX seconds at which it goes back to ready by itself. ``timeout``: seconds after which
        what is left of its connections is cut; None: never. ``drain``: keep (known clients go on coming) or
        move (their next connection goes elsewhere); None: as the services are configured. Raises LastUsable
        where a service would have nobody left, unless ``force``.
        """

    def weight(server: str, value: int, *, service: str | None = None, who: str = "") -> MaybeLater[Weighted]:
        """Give a server another weight (0 to 256) in all services or one, until the next reload changes
        it."""

    def emptying(
        server: str, told: Callable[[Progress], None], *, service: str | None = None
    ) -> Deferred[Progress]:
        """Watch a server get empty: ``told`` hears of it now and then whenever the count changes, once a
        second at most. Fires with the last Progress (its ``end`` says how it ended); cancel it to stop."""

    # -- persistence -----------------------------------------------------------------

    def entries(
        group: str,
        *,
        server: str | None = None,
        key: str | None = None,
        client: str | None = None,
        user: str | None = None,
        limit: int = 1000,
    ) -> MaybeLater[list[EntryRow]]:
        """The entries of a table (a group's, or a service's own) that fit all that is given, those used last
        first, ``limit`` (1 to 10,000) at most. ``client``: an address, ``user``: a name; they are made into
        keys as the table's own persistence does it."""

    def delete_entries(
        group: str,
        *,
        server: str | None = None,
        key: str | None = None,
        client: str | None = None,
        user: str | None = None,
        who: str = "",
    ) -> MaybeLater[int]:
        """Forget the entries that fit; how many those were. Refused where nothing is given to choose by."""

    def move_entries(
        group: str,
        to: str,
        *,
        server: str | None = None,
        key: str | None = None,
        client: str | None = None,
        user: str | None = None,
        who: str = "",
    ) -> MaybeLater[int]:
        """Bind the entries that fit to the server ``to``; how many those were."""

    def explain(question: Question) -> MaybeLater[Explanation]:
        """Where that client goes and why. Nothing is advanced, nothing claimed."""

    # -- configuration ---------------------------------------------------------------

    def reload(*, dry_run: bool = False, who: str = "") -> MaybeLater[Reloaded]:
        """Read the configuration file again and have what it says; all of it or nothing."""

    def validate(text: str) -> MaybeLater[list[Problem]]:
        """What is wrong or doubtful (``warning``) in a configuration, as if it stood in the file's place."""

    def configuration() -> MaybeLater[Mapping[str, Any]]:
        """The configuration as served, values for JSON, every secret masked."""

    def certificates() -> MaybeLater[list[CertificateRow]]:
        """The certificates that services show."""

    # -- the past --------------------------------------------------------------------

    def events(*, since: int = 0, limit: int = 1000) -> MaybeLater[list[Event]]:
        """Events with a number greater than ``since``, oldest first; the latest ``limit`` of them."""

    def watch_events(told: Callable[[Event], None]) -> Callable[[], None]:
        """``told`` hears each event from now on; returns a callable to stop that."""

    def history(*, service: str | None = None, seconds: float = 3600.0) -> MaybeLater[History]:
        """The last ``seconds`` (an hour at most) of all services or one."""
