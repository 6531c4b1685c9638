"""The administration's HTTP, asked from a terminal: over the unix socket, or a URL and a token."""

from __future__ import annotations

import contextlib
import getpass
import http.client
import json
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import click

from exproxy.admin.socket_path import SOCKET, address_of

# Seconds: to connect, and for one answer. A stream brings something every two seconds.
CONNECT = 5.0
ANSWER = 70.0
PREFIX = "/api/v1"


class Failed(click.ClickException):
    """Ends the command with exit code 1; the text says what to do."""


class Unreachable(Failed):
    """No process answers: exit code 3."""

    exit_code = 3


class Refused(Failed):
    """The process does not do it. ``kind``: the problem's type; ``services``: of last-usable."""

    def __init__(self, problem: dict[str, Any], status: int) -> None:
        text = str(problem.get("detail") or f"refused with {status}")
        if status == HTTPStatus.UNAUTHORIZED:
            text += "; give yours with --token-file FILE or in EXPROXY_TOKEN"
        for each in problem.get("errors", ()):
            place = f"{each['file']}:{each['line']}:{each['column']}: " if each.get("file") else ""
            path = f"{each['path']}: " if each.get("path") else ""
            text += f"\n{place}{path}{each.get('message', '')}"
        super().__init__(text)
        self.kind = str(problem.get("type", ""))
        self.services: list[str] = list(problem.get("services", ()))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the process is: ``sockets`` are tried in turn, unless there is a ``url``. ``token`` is in no repr
    and on no command line."""

    sockets: tuple[Path, ...] = ()
    url: str | None = None
    token_file: Path | None = None
    ca: Path | None = None


def usual_sockets() -> tuple[Path, ...]:
    """Where exproxy keeps its state when the file does not say, as it looks for that itself."""
    found = []
    given = os.environ.get("STATE_DIRECTORY")
    if given:
        found.append(Path(given.partition(":")[0]))
    found.append(Path("/var/lib/exproxy"))
    state = os.environ.get("XDG_STATE_HOME")
    found.append((Path(state) if state else Path.home() / ".local" / "state") / "exproxy")
    return tuple(folder / SOCKET for folder in found)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CONNECT)
        self._path = path

    def connect(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(CONNECT)
            self.sock.connect(address_of(self._path, folder))
        finally:
            os.close(folder)


class Client:
    """One command's conversation with the process. Raises Failed and Refused."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._token = _token(place)

    def get(self, path: str, **query: Any) -> Any:
        """The answer's JSON."""
        return self.ask("GET", path, query=query)

    def ask(self, method: str, path: str, body: Any = None, query: dict[str, Any] | None = None) -> Any:
        """Any request; ``path`` is below /api/v1, its parts quoted."""
        connection = self._connect()
        with contextlib.closing(connection):
            try:
                response = self._send(connection, method, path, body, query)
                data = response.read()
            except (OSError, http.client.HTTPException) as error:
                reason = str(error) or type(error).__name__
                raise Unreachable(f"the process did not answer: {reason}") from None
            if response.status >= 400:
                raise _refused(response.status, data)
            return json.loads(data)

    def stream(self, since: int | None = None) -> Iterator[tuple[str, Any]]:
        """The kind and the value of each server-sent event, until the process ends the stream."""
        connection = self._connect()
        with contextlib.closing(connection):
            try:
                headers = {"Accept": "text/event-stream"}
                query = {"since": since} if since is not None else None
                response = self._send(connection, "GET", "/events", None, query, headers)
                if response.status >= 400:
                    raise _refused(response.status, response.read())
                yield from _events(response)
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable(f"the stream broke off: {error or type(error).__name__}") from None

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Any,
        query: dict[str, Any] | None,
        more: dict[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        headers = {"Accept": "application/json", "User-Agent": "exproxyctl", **(more or {})}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        else:
            headers["X-Exproxy-User"] = os.environ.get("SUDO_USER") or _user()
        raw = None
        if body is not None:
            raw = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        words = {key: value for key, value in (query or {}).items() if value is not None}
        target = PREFIX + path + (f"?{urlencode(words)}" if words else "")
        connection.request(method, target, raw, headers)
        return connection.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        connection = self._by_url() if self._place.url is not None else self._by_socket()
        if connection.sock is not None:
            connection.sock.settimeout(ANSWER)
        return connection

    def _by_url(self) -> http.client.HTTPConnection:
        url = self._place.url or ""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise click.UsageError(f"{url!r} is no URL; write it like https://lb.example.org:8404")
        if parts.scheme == "http" and self._token is not None and not _loopback(parts.hostname):
            raise click.UsageError("a token is not sent in the clear: use https://")
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=self._place.ca)
            connection = http.client.HTTPSConnection(
                parts.hostname, parts.port or 8404, timeout=CONNECT, context=context
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port or 8404, timeout=CONNECT)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            advice = "name its authority with --ca FILE, or use a name that is in it"
            text = f"the certificate of {url} cannot be trusted: {error.verify_message}; {advice}"
            raise Unreachable(text) from None
        except OSError as error:
            raise Unreachable(f"no exproxy answers at {url}: {error.strerror or error}; {_START}") from None
        return connection

    def _by_socket(self) -> http.client.HTTPConnection:
        looked = []
        for path in self._place.sockets:
            connection = _UnixConnection(path)
            try:
                connection.connect()
            except OSError as error:
                looked.append(f"  {path}: {error.strerror or error}")
                if isinstance(error, PermissionError):
                    looked[-1] += " (it is its owner's: use sudo)"
            else:
                return connection
        there = "\n".join(looked)
        raise Unreachable(f"no exproxy answers. Looked for its socket at\n{there}\n{_START}")


_START = (
    "is it running (systemctl status exproxy, or twistd -n exproxy -c FILE)? With `state-dir:` in its file, "
    "say -c FILE or --socket PATH; for another machine --url and --token-file"
)


def _events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    kind, data = "", ""
    for raw in response:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if line.startswith("event: "):
            kind = line[7:]
        elif line.startswith("data: "):
            data = line[6:]
        elif not line and data:
            yield kind, json.loads(data)
            kind, data = "", ""


def _refused(status: int, data: bytes) -> Failed:
    try:
        problem = json.loads(data)
    except ValueError:
        return Failed(f"refused with {status}; is this the administration of an exproxy?")
    return Refused(problem if isinstance(problem, dict) else {}, status)


def _token(place: Place) -> str | None:
    if place.token_file is not None:
        try:
            return place.token_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"the token in {place.token_file} cannot be read: {error}") from None
    return os.environ.get("EXPROXY_TOKEN") or None if place.url is not None else None


def _loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.geteuid()}"


def part(text: str) -> str:
    """A name as a part of a path."""
    return quote(text, safe="")
