"""The corpus played through a proxy: a client, a server that writes down what comes, and the verdict.

Blocking sockets and threads, so that the same serves the tests (beside a reactor) and bench/corpus.py.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import h11

from tests.http.corpus import Case, unescape
from tests.http.corpus.reading import Request, readings

PROBE = b"GET /probe HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"
_PATIENCE = 10.0
_MALFORMED = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nmalformed"

# What a server says instead of its usual answer, and whether it closes then.
Script = Callable[[Request], "tuple[bytes, bool] | None"]


class Link:
    """One connection to the server: its bytes, and the requests that h11 finds in them."""

    def __init__(self) -> None:
        self.raw = bytearray()
        self.requests: list[Request] = []
        self.begun: tuple[str, str] | None = None
        self.fault: str | None = None
        self.gone = False

    def is_of(self, client: str) -> bool:
        """Whether it carries that client's requests, or some that are marked as nobody's.

        A link that came late, for a client before, is none of them.
        """
        marks = re.findall(rb"(?im)^x-forwarded-for:[ \t]*([0-9.]+)\r$", bytes(self.raw))
        return bool(self.raw) and (not marks or client.encode() in marks)


class Server:
    """Answers each request with "METHOD TARGET LENGTH".

    ``links`` are the connections since ``forget``; ``history`` is every whole request there ever was.
    """

    def __init__(self, script: Script | None = None, port: int = 0) -> None:
        self.links: list[Link] = []
        self.history: list[Request] = []
        self.changed = threading.Condition()
        self.script = script
        self._clients = 0
        self._socket = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port: int = self._socket.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, call: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=call, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """End it; every thread of it has ended then."""
        for one in [self._socket, *self._open]:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(_PATIENCE)
        self._socket.close()

    def forget(self) -> str:
        """Begin a new list of links; gives the address of the next client."""
        with self.changed:
            self.links = []
            self._clients += 1
            return f"127.0.{5 + self._clients // 250}.{1 + self._clients % 250}"

    def until(self, condition: Callable[[], bool], patience: float = _PATIENCE) -> bool:
        """Wait until it holds; whether it does."""
        with self.changed:
            return self.changed.wait_for(condition, patience)

    def _accept(self) -> None:
        while True:
            try:
                wire, _ = self._socket.accept()
            except OSError:
                return
            self._open.add(wire)
            self._start(self._serve, wire)

    def _serve(self, wire: socket.socket) -> None:
        link = Link()
        with self.changed:
            self.links.append(link)
        try:
            with wire:
                self._hear(wire, link)
        except OSError:
            pass
        finally:
            self._open.discard(wire)
            with self.changed:
                link.gone = True
                self.changed.notify_all()

    def _hear(self, wire: socket.socket, link: Link) -> None:
        reading = _Reading()
        while data := wire.recv(65536):
            with self.changed:
                link.raw += data
                try:
                    asked = reading.feed(data)
                    link.begun = reading.begun
                    while asked is not None:
                        link.requests.append(asked)
                        self.history.append(asked)
                        said, ends = self._answer(asked, reading)
                        wire.sendall(said)
                        if ends:
                            return
                        asked = reading.again()
                        link.begun = reading.begun
                except h11.ProtocolError as error:
                    link.fault = str(error)
                    wire.sendall(_MALFORMED)
                    return
                finally:
                    self.changed.notify_all()

    def _answer(self, request: Request, reading: _Reading) -> tuple[bytes, bool]:
        scripted = self.script(request) if self.script is not None else None
        if scripted is not None:
            return scripted
        page = f"{request.method} {request.target} {len(request.body)}".encode("latin-1")
        end = b"" if reading.keeps else b"Connection: close\r\n"
        head = b"HTTP/1.1 200 OK\r\nX-Server: corpus\r\n%bContent-Length: %d\r\n\r\n" % (end, len(page))
        return head + (b"" if request.method == "HEAD" else page), not reading.keeps


class _Reading:
    """h11 as a server's ear."""

    def __init__(self) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        self._head: Any = None
        self._body = b""
        self.keeps = True

    @property
    def begun(self) -> tuple[str, str] | None:
        """Method and target of a request that is not complete."""
        if self._head is None:
            return None
        return self._head.method.decode("latin-1"), self._head.target.decode("latin-1")

    def feed(self, data: bytes) -> Request | None:
        """The request that has become complete; the one behind it comes from ``again``."""
        self._h11.receive_data(data)
        return self._next()

    def again(self) -> Request | None:
        """An answer was given: the request behind it, where there may be one and it is there already."""
        if not self.keeps:
            return None
        self._h11.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        self._h11.send(h11.EndOfMessage())
        self._h11.start_next_cycle()
        return self._next()

    def _next(self) -> Request | None:
        while True:
            event = self._h11.next_event()
            if isinstance(event, h11.Request):
                self._head, self._body = event, b""
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                head, self._head = self._head, None
                self.keeps = self._h11.their_state is not h11.MUST_CLOSE
                fields = tuple((bytes(n).lower(), bytes(v)) for n, v in head.headers)
                method, target = head.method.decode("latin-1"), head.target.decode("latin-1")
                return Request(method, target, self._body, fields)
            else:
                return None


@dataclass
class Outcome:
    """What the client got, how it ended (end, reset, open), and what the server saw."""

    answers: list[tuple[int, bytes, bool]] = field(default_factory=list)
    ended: str = "open"
    heard: bytes = b""
    client: str = ""
    links: list[Link] = field(default_factory=list)

    @property
    def seen(self) -> list[Request]:
        """The requests that were seen whole, by link."""
        return [request for link in self.links for request in link.requests]


def ask(
    port: int,
    raw: bytes,
    then: Callable[[], None] | None = None,
    *,
    source: str = "127.0.0.1",
    quiet: float | None = None,
    piece: int = 1 << 20,
) -> tuple[bytes, str]:
    """Send ``raw`` and read to the end: (bytes, end | reset | open).

    ``source``: the client's address. ``then`` is called, and the client's side ended, after sending.
    ``quiet``: seconds of silence after which nothing more is waited for; without it, silence of ten
    seconds is ``open`` too.
    ``piece``: bytes of a segment.
    """
    heard = bytearray()
    with socket.create_connection(("127.0.0.1", port), _PATIENCE, (source, 0)) as wire:
        wire.settimeout(_PATIENCE if quiet is None else quiet)
        try:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(raw), piece):
                wire.sendall(raw[at : at + piece])
            if then is not None:
                then()
                wire.shutdown(socket.SHUT_WR)
            while data := wire.recv(65536):
                heard += data
        except TimeoutError:
            return bytes(heard), "open"
        except OSError:
            return bytes(heard), "reset"
    return bytes(heard), "end"


def answers_in(heard: bytes, methods: list[str], ended: bool) -> list[tuple[int, bytes, bool]]:
    """Status, body, and whether it was complete, of each answer as h11 sees them, in order.

    ``methods``: what they answer; GET where it says nothing. Rubbish is status 0.
    """
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    reader.receive_data(heard)
    if ended and heard:
        reader.receive_data(b"")
    found: list[tuple[int, bytes, bool]] = []
    for method in [*methods, *["GET"] * 3]:
        try:
            reader.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
            reader.send(h11.EndOfMessage())
            answer = _one_answer(reader)
        except h11.LocalProtocolError:
            break
        if answer is None:
            break
        found.append(answer)
        if not answer[2] or reader.their_state is not h11.DONE:
            break
        reader.start_next_cycle()
    return found


def _one_answer(reader: h11.Connection) -> tuple[int, bytes, bool] | None:
    status, body = 0, b""
    while True:
        try:
            event = reader.next_event()
        except h11.RemoteProtocolError:
            return None if not status and not reader.trailing_data[0] else (status, body, False)
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return status, body, True
        elif not isinstance(event, h11.InformationalResponse):
            return (status, body, False) if status else None


@dataclass
class Expected:
    """The lines of ``Case.right`` for a request, read."""

    served: list[tuple[str, str, bytes]] = field(default_factory=list)
    checks: list[tuple[int, bytes, bytes | None]] = field(default_factory=list)
    refused: int | None = None
    closes: bool = False
    unfinished: bool = False
    begun: tuple[str, str] | None = None

    @classmethod
    def of(cls, case: Case) -> Expected:
        """What is right for ``case``."""
        expected = cls()
        for line in case.right:
            word, _, rest = line.partition(" ")
            if word == "served":
                method, target, *body = rest.split(" ", 2)
                plain = unescape(target).decode("latin-1")
                expected.served.append((method, plain, unescape(body[0]) if body else b""))
            elif word in ("field", "without"):
                name, colon, value = rest.partition(":")
                wanted = unescape(value.removeprefix(" ")) if colon else None
                expected.checks.append((len(expected.served) - 1, name.lower().encode(), wanted))
            elif word == "refused":
                expected.refused = int(rest)
            elif word == "closes":
                expected.closes = True
            elif word == "unfinished":
                expected.unfinished = True
                expected.begun = (rest.split(" ")[0], rest.split(" ")[1]) if rest else None
            else:
                raise ValueError(f"{case.suite}, {case.name}: {line!r}")
        return expected

    @property
    def goes_on(self) -> bool:
        """Whether the connection is in order afterwards, so that a further request is answered."""
        return not (self.closes or self.unfinished or self.refused)


def play(
    case: Case, server: Server, port: int, *, quiet: float | None = None, piece: int = 1 << 20
) -> Outcome:
    """Send one request case to the proxy at ``port``, a probe behind it, and gather what happened."""
    expected = Expected.of(case)
    client = server.forget()
    outcome = Outcome(client=client)

    def links() -> list[Link]:
        return [link for link in server.links if link.is_of(client)]

    if expected.unfinished:

        def all_there() -> bool:
            whole = sum(len(link.requests) for link in links())
            begun = any(link.begun for link in links())
            return whole >= len(expected.served) and (begun or expected.begun is None)

        def begun() -> None:
            server.until(all_there, quiet or _PATIENCE)

        sent, then = case.raw, begun
    else:
        sent, then = case.raw + PROBE, None
    outcome.heard, outcome.ended = ask(port, sent, then, source=client, quiet=quiet, piece=piece)
    server.until(lambda: all(link.gone for link in server.links), quiet or _PATIENCE)
    outcome.links = links()
    methods = [method for method, _, _ in expected.served]
    outcome.answers = answers_in(outcome.heard, methods, outcome.ended == "end")
    return outcome


def wrong(case: Case, outcome: Outcome, *, in_pieces: bool = False) -> list[str]:
    """In what ``outcome`` is not what is right for a request; empty where it is.

    ``in_pieces``: who is refused while it still sends may lose the refusal with the connection, and
    the head may be at the server before its body turns out to be none.
    """
    expected = Expected.of(case)
    wanted = [*expected.served]
    if expected.goes_on:
        wanted.append(("GET", "/probe", b""))
    found = []
    seen = [(request.method, request.target, request.body) for request in outcome.seen]
    if seen != wanted:
        found.append(f"the server saw {seen}")
    statuses = [200] * len(wanted) + ([expected.refused] if expected.refused else [])
    if not (in_pieces and (expected.refused or expected.closes)):
        if [status for status, _, _ in outcome.answers] != statuses or not all(a[2] for a in outcome.answers):
            found.append(f"the client got {outcome.answers}, {outcome.heard[-300:]!r}")
        if outcome.ended != "end":
            found.append(f"the client's connection: {outcome.ended}")
    begun = [link.begun for link in outcome.links if link.begun]
    if not (in_pieces and expected.refused) and begun != ([expected.begun] if expected.begun else []):
        found.append(f"unfinished at the server: {begun}")
    found += misread(outcome)
    if not found:
        found += _fields_wrong(expected, outcome.seen)
    return found


def misread(outcome: Outcome) -> list[str]:
    """What one reader of the server's bytes sees otherwise than another, or refuses, or nobody marked."""
    found = []
    for link in outcome.links:
        if link.fault:
            found.append(f"h11: {link.fault}")
        mine = [(request.method, request.target, request.body) for request in link.requests]
        for reader, (requests, complaint) in readings(bytes(link.raw)).items():
            if complaint:
                found.append(f"{reader}: {complaint}")
            elif not link.fault and requests != mine:
                found.append(f"{reader} reads {requests}")
        for request in link.requests:
            if request.values(b"x-forwarded-for") != [outcome.client.encode()]:
                found.append(f"a request that nobody forwarded: {request.method} {request.target}")
    return found


def _fields_wrong(expected: Expected, seen: list[Request]) -> list[str]:
    found = []
    for number, name, value in expected.checks:
        there = seen[number].values(name)
        if there != ([] if value is None else [value]):
            found.append(f"{name!r}: {there}")
    return found
