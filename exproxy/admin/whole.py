"""A process that serves, and its administration: they begin together, and end one after the other."""

# mypy: allow-untyped-calls
from __future__ import annotations

from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, maybeDeferred

from exproxy.admin.local import LocalPlane
from exproxy.admin.service import AdminService
from exproxy.config import Config
from exproxy.notify import Notify


class Administered(MultiService):
    """``serving`` is what clients meet (bound already), ``admin`` answers for it by way of ``plane``.

    What the operator wished is in force before the first client comes. While the connections of a stop are
    waited for the administration still answers; it goes last.
    """

    def __init__(
        self, serving: Any, plane: LocalPlane, admin: AdminService, notify: Notify | None = None
    ) -> None:
        """``notify``: the service manager, who is told of the end; of the begin whoever knows of it tells."""
        super().__init__()
        self._notify = notify
        self._serving = serving
        self._plane = plane
        self._admin = admin
        IService(serving).setServiceParent(self)
        admin.setServiceParent(self)

    def startService(self) -> None:
        """See IService."""
        self._plane.start()
        super().startService()

    def stopService(self) -> Deferred[Any]:
        """See IService."""
        self.running = 0
        if self._notify is not None:
            self._notify.stopping("waits for connections to end")
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        try:
            await maybeDeferred(self._serving.stopService)
        finally:
            self._plane.stop()
            await self._admin.stopService()
            if self._notify is not None:
                self._notify.close()


def summed(config: Config) -> str:
    """A configuration in a few words, for `systemctl status`."""
    addresses = sum(len(service.listens) for service in config.services.values())
    return f"serving: {len(config.services)} services on {addresses} addresses, {len(config.servers)} servers"
