"""The lab's control over HTTP: see what there is, and break it.

``GET /`` gives everything as JSON, ``GET /l12ex1`` and ``GET /l12ex1/imap`` a part of it;
``POST /l12ex1/imap/hang`` puts a service into a mode, ``POST /l12ex1/all/stop`` a whole server, and
``POST /l12ex1/https/ews/refuse`` one virtual directory (``ok``, ``refuse``, ``drain``). Only POST
changes anything, and no web page may: requests with an Origin, or not for a loopback address, are refused.
"""

# mypy: allow-untyped-calls
# (twisted.web and twisted.mail are not typed)
from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import DeferredList
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from exproxy.lab.modes import LabService, Mode
from exproxy.lab.server import LabServer
from exproxy.lab.web import Illness

ALL = "all"


class Refused(Exception):
    """The request cannot be done: an HTTP status and a sentence for a person."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def service_state(service: LabService) -> dict[str, Any]:
    """One service as JSON shows it."""
    return {
        "mode": service.mode.value,
        "address": f"{service.address}:{service.port}",
        "connections": service.connections,
        "open": service.open,
    }


def server_state(server: LabServer) -> dict[str, Any]:
    """One server as JSON shows it."""
    services = {name: service_state(service) for name, service in server.services.items()}
    return {"address": server.address, "requests": server.requests, "services": services}


def lab_state(servers: Mapping[str, LabServer]) -> dict[str, Any]:
    """The whole lab as JSON shows it."""
    return {"servers": {name: server_state(server) for name, server in servers.items()}}


class Control(Resource):
    """The one resource."""

    isLeaf = True

    def __init__(self, servers: Mapping[str, LabServer]) -> None:
        super().__init__()
        self._servers = servers

    def render(self, request: Request) -> bytes | int:
        """GET, HEAD and POST; everything else is refused."""
        try:
            _own(request)
            path = [part for part in request.path.decode("utf-8", "replace").split("/") if part]
            if request.method in (b"GET", b"HEAD"):
                return _json(request, 200, self._look(path))
            if request.method == b"POST":
                return self._change(request, path)
            request.setHeader(b"allow", b"GET, HEAD, POST")
            raise Refused(405, "only GET, and POST /<server>/<service>/<mode>")
        except Refused as refused:
            return _json(request, refused.status, {"error": str(refused)})

    def _look(self, path: list[str]) -> dict[str, Any]:
        if not path:
            return lab_state(self._servers)
        server = self._server(path[0])
        if len(path) == 1:
            return server_state(server)
        if len(path) == 2:
            return service_state(self._services(server, path[1])[0])
        raise Refused(405 if len(path) == 3 else 404, "to change a mode use POST /<server>/<service>/<mode>")

    def _change(self, request: Request, path: list[str]) -> bytes | int:
        if len(path) not in (3, 4):
            raise Refused(404, "expected POST /<server>/<service>/<mode>")
        server = self._server(path[0])
        if len(path) == 4:
            return _json(request, 200, self._make_ill(server, *path[1:]))
        services = list(server.services.values()) if path[1] == ALL else self._services(server, path[1])
        try:
            mode = Mode(path[2])
        except ValueError as error:
            known = ", ".join(known.value for known in Mode)
            raise Refused(404, f"no mode {path[2]!r}; known: {known}") from error
        changing = DeferredList([service.set_mode(mode) for service in services], consumeErrors=True)
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)

        def done(results: Any) -> None:
            failed = [str(failure.value) for success, failure in results if not success]
            said = {"error": "; ".join(failed)} if failed else {s.name: service_state(s) for s in services}
            body = _json(request, 409 if failed else 200, said)
            if not gone:
                request.write(body)
                request.finish()

        changing.addCallback(done)
        return NOT_DONE_YET

    def _make_ill(self, server: LabServer, service: str, directory: str, illness: str) -> dict[str, Any]:
        known = server.directories(service)
        if directory.lower() not in known:
            raise Refused(404, f"{service} has no directory {directory!r}; known: {', '.join(known)}")
        try:
            server.set_directory(service, directory, illness)
        except ValueError as error:
            words = ", ".join(each.value for each in Illness)
            raise Refused(404, f"no state {illness!r} of a directory; known: {words}") from error
        return {"directories": server.directories(service)}

    def _server(self, name: str) -> LabServer:
        if name not in self._servers:
            raise Refused(404, f"no server {name!r}; known: {', '.join(self._servers)}")
        return self._servers[name]

    def _services(self, server: LabServer, name: str) -> list[LabService]:
        if name not in server.services:
            raise Refused(404, f"{server.name} has no service {name!r}; known: {', '.join(server.services)}")
        return [server.services[name]]


def _own(request: Request) -> None:
    """A page in the administrator's browser must not break the lab, not even by a name that leads here."""
    if request.getHeader("origin") is not None:
        raise Refused(403, "not for web pages")
    host = request.getRequestHostname().decode("ascii", "replace")
    try:
        local = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        local = False
    if not local:
        raise Refused(403, "use the control's loopback address")


def _json(request: Request, status: int, content: dict[str, Any]) -> bytes:
    body = json.dumps(content, indent=2).encode() + b"\n"
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"content-length", str(len(body)).encode())
    return body
