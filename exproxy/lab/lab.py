"""The lab of a configuration: all its servers, their shared mail, their control."""

# mypy: allow-untyped-calls
from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from exproxy.lab.certificates import LabCertificates, lab_certificates
from exproxy.lab.control import Control
from exproxy.lab.modes import LabService, Recipe
from exproxy.lab.options import LabOptions
from exproxy.lab.server import LabServer
from exproxy.lab.store import MailStore
from exproxy.lab.web import LabSite


class Lab:
    """Started and stopped as a whole; `state_dir` is where certificates are kept unless the options say."""

    def __init__(self, options: LabOptions, state_dir: Path, reactor: Any) -> None:
        self.options = options
        self.servers: dict[str, LabServer] = {}
        self._folder = options.certificates or state_dir / "lab"
        self._reactor = reactor
        self._control: LabService | None = None
        self._certificates: LabCertificates | None = None

    @property
    def certificates(self) -> LabCertificates:
        """Where ``ca.pem`` and ``server.pem`` are; made when first asked for, so also before `start`."""
        if self._certificates is None:
            self._certificates = lab_certificates(self._folder)
        return self._certificates

    @property
    def control_port(self) -> int | None:
        """Where the control listens; None without one."""
        return self._control.port if self._control else None

    def start(self) -> Deferred[None]:
        """Listen everywhere, or nowhere: fails with CannotListenError, or OSError for the certificates."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        store = MailStore(self.options.password)
        ports, certificate = self.options.all_ports(), self.certificates.server
        try:
            for name, address in self.options.servers.items():
                server = LabServer(name, address, ports, self._reactor, store, certificate)
                await server.start()
                self.servers[name] = server
            self._start_control()
        except Exception:
            await self.stop()
            raise

    def _start_control(self) -> None:
        if self.options.control is None:
            return
        host, _, port = self.options.control.rpartition(":")
        site = LabSite(Control(self.servers), reactor=self._reactor, parsePOSTFormSubmission=False)
        site.displayTracebacks = False
        control = LabService("control", host, int(port), self._reactor, Recipe(site))
        control.start()
        self._control = control

    def stop(self) -> Deferred[None]:
        """Close everything; fires when no port and no connection is left."""
        control, self._control = self._control, None
        stopping = [server.stop() for server in self.servers.values()]
        stopping += [control.stop()] if control else []
        self.servers.clear()
        return gatherResults(stopping).addCallback(lambda _: None)

    def states(self) -> dict[tuple[str, str], str]:
        """The mode of each (service, server)."""
        return {
            (service.name, name): service.mode.value
            for name, server in self.servers.items()
            for service in server.services.values()
        }
