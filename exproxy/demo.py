"""The demonstration: the lab's little clients on the running services, and a table of who serves whom."""

# mypy: allow-untyped-calls
from __future__ import annotations

import os
import sys
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults

from exproxy.errors import ConfigurationError
from exproxy.lab.certificates import LAB_NAME
from exproxy.lab.demo import Demo
from exproxy.lab.hints import what_to_try
from exproxy.lab.server import SERVICES
from exproxy.service import ExproxyService


class DemoService(MultiService):
    """The services of a configuration with a ``lab:``, and clients that use all of them.

    The services that the clients know are those that bear the lab's own names (https, imap, rpc …).
    """

    def __init__(self, exproxy: ExproxyService, reactor: Any) -> None:
        super().__init__()
        if exproxy.config.lab is None:
            raise ConfigurationError("--demo needs a configuration with a `lab:`, such as etc/lab.yaml")
        self._exproxy = exproxy
        self._reactor = reactor
        self._demo: Demo | None = None
        exproxy.setServiceParent(self)

    def startService(self) -> None:
        """Start the services, then the clients."""
        super().startService()
        self._exproxy.ready.addCallback(lambda _: self._start())

    def stopService(self) -> Deferred[Any]:
        """Stop the clients, then the services."""
        clients = self._demo.stop() if self._demo is not None else None
        stopped = super().stopService()
        return gatherResults([each for each in (clients, stopped) if each is not None])

    def _start(self) -> None:
        lab, options = self._exproxy.lab, self._exproxy.config.lab
        if lab is None or options is None or not self.running:
            return
        addresses = {
            built.config.name: (built.config.listens[0].host, port)
            for built in self._exproxy.built
            for port in list(built.service.ports)[:1]
            if built.config.name in SERVICES
        }
        ca = lab.certificates.ca
        self._demo = Demo(
            self._reactor,
            addresses,
            # twistd makes sys.stdout a part of its log.
            sys.__stdout__ or sys.stdout,
            servers=tuple(options.servers),
            password=options.password,
            states=self._states,
            notes=what_to_try(addresses, LAB_NAME, options.password, options.control, ca=os.path.relpath(ca)),
            ca=ca.read_bytes(),
        )
        self._demo.start()

    def _states(self) -> dict[tuple[str, str], str]:
        return {
            (built.config.name, backend.server): backend.state
            for built in self._exproxy.built
            for pool, _ in built.pools
            for backend in pool.backends
        }
