"""A small admin API over a plane: enough of it for the page, with tokens, sessions and server-sent events."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable
from dataclasses import fields
from importlib import resources
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from exproxy.admin.explanation import Question
from exproxy.admin.plane import LastUsable, Refused, Unknown
from exproxy.question import Client

from .fake_plane import FakePlane

TOKENS = {"looks": "read", "acts": "operate"}
POLICY = "default-src 'self'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"
CSRF = "not-guessed"


class FakeApi(Resource):
    """Everything below ``/``. ``streams``: server-sent events work; ``pace``: seconds a step."""

    isLeaf = True

    def __init__(self, plane: FakePlane, *, streams: bool = True, pace: float = 0.2) -> None:
        super().__init__()
        self.plane = plane
        self.streams = streams
        self.listeners: set[Request] = set()
        self.seen: list[str] = []
        self._turns = LoopingCall(self._turn)
        self._turns.start(pace, now=False)
        plane.watch_events(lambda event: self._send("event", event))

    def render(self, request: Request) -> Any:
        """Answer."""
        request.setHeader("Content-Security-Policy", POLICY)
        path = request.path.decode()
        self.seen.append(f"{request.method.decode()} {path}")
        if path.startswith("/story/"):
            return self._story(path.split("/")[2:])
        if path == "/login":
            return self._login(request)
        if path == "/logout":
            request.addCookie("fake", "", path="/")
            return self._answer(request, {})
        if not path.startswith("/api/v1/"):
            return _file(request, path.lstrip("/") or "index.html")
        return self._api(request, path.split("/")[3:])

    # -- who asks

    def _login(self, request: Request) -> bytes:
        token = json.load(request.content).get("token")
        if token not in TOKENS:
            return self._problem(request, 401, "That is no token of ours")
        request.addCookie("fake", token, path="/", httpOnly=True, sameSite="strict")
        return self._answer(request, {"name": token, "role": TOKENS[token], "csrf": CSRF})

    def _role(self, request: Request) -> str | None:
        return TOKENS.get((request.getCookie(b"fake") or b"").decode())

    def _api(self, request: Request, path: list[str]) -> Any:
        role = self._role(request)
        if role is None:
            return self._problem(request, 401, "Log in with a token")
        reads = request.method == b"GET" or path == ["explain"]
        if not reads and (role != "operate" or request.getHeader("X-CSRF-Token") != CSRF):
            return self._problem(request, 403, f"The role {role} may not do this")
        if path == ["events"] and "text/event-stream" in (request.getHeader("Accept") or ""):
            return self._stream(request)
        try:
            return self._answer(request, self._do(request, path, role))
        except LastUsable as error:
            return self._problem(request, 409, str(error), "last-usable")
        except Unknown as error:
            return self._problem(request, 404, str(error))
        except Refused as error:
            return self._problem(request, 409, str(error))

    # -- what is asked

    def _do(self, request: Request, path: list[str], role: str) -> Any:
        asked = {key.decode(): values[0].decode() for key, values in request.args.items()}
        said = json.load(request.content) if request.method in (b"PUT", b"POST") else {}
        method = getattr(self, f"_{request.method.decode().lower()}_{path[0]}")
        answer = method(path[1:], asked, said)
        if path == ["status"]:
            answer = {**json.loads(_encoded(answer)), "role": role, "csrf": CSRF}
        return answer

    def _get_status(self, rest: list[str], asked: dict[str, str], said: Any) -> Any:
        return self.plane.status()

    def _get_sessions(self, rest: list[str], asked: dict[str, str], said: Any) -> Any:
        names = ("service", "server", "client")
        return self.plane.sessions(**{n: asked[n] for n in names if n in asked})

    def _delete_sessions(self, rest: list[str], asked: dict[str, str], said: Any) -> Any:
        return {"killed": self.plane.kill(rest[0], asked.get("reason", ""), who="acts")}

    def _get_groups(self, rest: list[str], asked: dict[str, str], said: Any) -> Any:
        return self.plane.entries(rest[0], server=asked.get("server"))

    def _delete_groups(self, rest: list[str], asked: dict[str, str], said: Any) -> Any:
        return {"deleted": self.plane.delete_entries(rest[0], key=asked.get("key"))}

    def _put_groups(self, rest: list[str], asked: dict[str, str], said: Any) -> Any:
        return {"moved": self.plane.move_entries(rest[0], said["server"], key=rest[2])}

    def _get_certificates(self, rest: list[str], asked: dict[str, str], said: Any) -> Any:
        return self.plane.certificates()

    def _get_configuration(self, rest: list[str], asked: dict[str, str], said: Any) -> Any:
        return self.plane.configuration()

    def _get_events(self, rest: list[str], asked: dict[str, str], said: Any) -> Any:
        return self.plane.events(since=int(asked.get("since", 0)))

    def _get_history(self, rest: list[str], asked: dict[str, str], said: Any) -> Any:
        return self.plane.history(seconds=float(asked.get("seconds", 3600)))

    def _put_servers(self, rest: list[str], asked: dict[str, str], said: Any) -> Any:
        if rest[1] == "weight":
            return self.plane.weight(rest[0], said["weight"])
        return self.plane.operate(rest[0], said.pop("state"), who="acts", **said)

    def _put_backends(self, rest: list[str], asked: dict[str, str], said: Any) -> Any:
        service, server, what = rest
        if what == "weight":
            return self.plane.weight(server, said["weight"], service=service)
        return self.plane.operate(server, said.pop("state"), service=service, who="acts", **said)

    def _post_reload(self, rest: list[str], asked: dict[str, str], said: Any) -> Any:
        return self.plane.reload(dry_run=said.get("dry_run", False))

    def _post_explain(self, rest: list[str], asked: dict[str, str], said: Any) -> Any:
        client = Client(**said.pop("client", {}))
        return self.plane.explain(Question(client=client, **said))

    # -- how it is answered

    def _answer(self, request: Request, value: Any, code: int = 200, kind: str = "application/json") -> bytes:
        request.setResponseCode(code)
        request.setHeader("Content-Type", kind)
        request.setHeader("Cache-Control", "no-store")
        return _encoded(value)

    def _problem(self, request: Request, code: int, detail: str, kind: str = "about:blank") -> bytes:
        problem = {"type": kind, "title": "Refused", "status": code, "detail": detail}
        return self._answer(request, problem, code, "application/problem+json")

    def _stream(self, request: Request) -> Any:
        if not self.streams:
            return self._problem(request, 503, "no streams in this story")
        request.setHeader("Content-Type", "text/event-stream")
        request.setHeader("Cache-Control", "no-store")
        self.listeners.add(request)
        request.notifyFinish().addBoth(lambda _: self.listeners.discard(request))
        self._send("status", self.plane.status())
        return NOT_DONE_YET

    def _turn(self) -> None:
        self.plane.world.tick()
        self._send("status", self.plane.status())
        self._send("history", self.plane.history(seconds=2))

    def _send(self, kind: str, value: Any) -> None:
        for listener in [*self.listeners]:
            listener.write(f"event: {kind}\ndata: {_encoded(value).decode()}\n\n".encode())

    # -- what happens

    def _story(self, words: list[str]) -> bytes:
        tell: dict[str, Callable[..., Any]] = {
            "kill": self.plane.world.kill,
            "revive": self.plane.world.revive,
            "break": lambda: setattr(self.plane, "broken", True),
            "cut": lambda: [listener.loseConnection() for listener in [*self.listeners]],
            "streams": lambda word: setattr(self, "streams", word == "on"),
            "listeners": lambda: len(self.listeners),
            "asked": lambda: self.seen,
        }
        return json.dumps(tell[words[0]](*words[1:])).encode()


def _encoded(value: Any) -> bytes:
    return json.dumps(
        value, default=lambda each: {f.name: getattr(each, f.name) for f in fields(each)}
    ).encode()


def _file(request: Request, name: str) -> bytes:
    path = resources.files("exproxy.admin").joinpath("page", *name.split("/"))
    if ".." in name or not path.is_file():
        request.setResponseCode(404)
        return b"not here"
    kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0]
    request.setHeader("Content-Type", kind or "application/octet-stream")
    request.setHeader("Cache-Control", "no-cache")
    return path.read_bytes()
