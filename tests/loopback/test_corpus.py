"""Malformed and ambiguous requests, and hostile answers, through a running exproxy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import threads
from twisted.trial.unittest import TestCase

from exproxy.service import ExproxyService
from tests.http import bombs, corpus
from tests.http.corpus.answering import play_answer, wrong_answer
from tests.http.corpus.replay import PROBE, Server, answers_in, ask, play, wrong
from tests.loopback.configured import port_of, running

CONFIGURATION = """
servers: {{a: 127.0.0.1}}
services:
  web:
    protocol: http
    listen: {{address: 127.0.0.1, port: 0}}
    backend: {{port: {port}}}
    persistence: none
    check: connect
    health: {{interval: 1h}}
"""


class CorpusCase(TestCase):
    """exproxy before a server that writes down what comes."""

    async def played(self, play_all: Callable[[Server, int], list[str]]) -> tuple[ExproxyService, Server]:
        """``play_all(server, exproxy's port)``, in a thread, finds nothing wrong."""
        server = Server()
        self.addCleanup(threads.deferToThread, server.close)
        service = await running(self, CONFIGURATION, port=server.port)
        found = await threads.deferToThread(play_all, server, port_of(service, "web"))
        self.assertEqual(found, [], "\n".join(found))
        return service, server

    def understood(self, service: ExproxyService, server: Server) -> None:
        """What exproxy's access log says was answered is what the server saw, and the other way round."""
        service.access_log.flush()
        lines = Path(str(service.config.access_log)).read_text("utf-8").splitlines()
        logged = [record for record in map(json.loads, lines) if record.get("status") == 200]
        seen = [(request.method, request.target.partition("?")[0]) for request in server.history]
        self.assertEqual(sorted((record["method"], record["path"]) for record in logged), sorted(seen))


class RequestTests(CorpusCase):
    """Each is refused as it should be, or seen by the server exactly as exproxy understood it."""

    async def _suite(self, name: str, piece: int) -> None:
        def play_all(server: Server, port: int) -> list[str]:
            return [
                f"{name}, {case.name}: {fault}"
                for case in corpus.suites()[name]
                for fault in wrong(case, play(case, server, port, piece=piece), in_pieces=piece == 1)
            ]

        self.understood(*await self.played(play_all))

    def test_size(self) -> None:
        """The corpus is there, and no name in it is used twice."""
        names = [(case.suite, case.name) for cases in corpus.suites().values() for case in cases]
        self.assertGreaterEqual(len(names), 400)
        self.assertEqual(len(names), len(set(names)))


def _whole(name: str) -> Any:
    async def test(self: RequestTests) -> None:
        await self._suite(name, 1 << 20)

    test.__doc__ = f"The requests of {name}.txt, each in one piece."
    return test


def _in_pieces(name: str) -> Any:
    async def test(self: RequestTests) -> None:
        await self._suite(name, 1)

    test.__doc__ = f"The requests of {name}.txt, byte by byte."
    return test


for _name in corpus.suites():
    setattr(RequestTests, f"test_{_name}", _whole(_name))
    setattr(RequestTests, f"test_{_name}_in_pieces", _in_pieces(_name))


class AnswerTests(CorpusCase):
    """Each is passed on exactly, or is 502, or breaks off visibly; nothing hangs."""

    async def test_answers(self) -> None:
        """Every answer of answers.txt."""

        def play_all(server: Server, port: int) -> list[str]:
            return [
                f"{case.name}: {fault}"
                for case in corpus.answers()
                for fault in wrong_answer(case, play_answer(case, server, port))
            ]

        await self.played(play_all)


class BombTests(CorpusCase):
    """Too much of everything, over real connections; how much is taken is in tests/http/test_bombs.py."""

    async def test_requests(self) -> None:
        """No server sees a whole one, the client is let go, and the next client is served."""

        def play_all(server: Server, port: int) -> list[str]:
            found = []
            for bomb in bombs.REQUESTS:
                server.forget()
                heard, ended = ask(port, b"".join(bomb.pieces()))
                # Who is refused while it still sends may lose the refusal with the connection; which of
                # two faults is seen first hangs on how much came at once.
                if ended == "open" or not (heard.startswith(b"HTTP/1.1 4") or not heard):
                    found.append(f"{bomb.name}: {ended}, {heard[:60]!r}")
                if seen := [request for link in server.links for request in link.requests]:
                    found.append(f"{bomb.name}: the server saw {seen}")
                found += _not_served(port, bomb.name)
            return found

        await self.played(play_all)

    async def test_answers(self) -> None:
        """The client gets 502 or a broken answer, and the next client is served."""

        def play_all(server: Server, port: int) -> list[str]:
            found = []
            for bomb in bombs.ANSWERS:
                said = b"".join(bomb.pieces())
                server.script = lambda request, said=said: (
                    (said, False) if request.target == "/bomb" else None
                )
                heard, ended = ask(port, b"GET /bomb HTTP/1.1\r\nHost: a\r\n\r\n")
                whole = [status for status, _, complete in answers_in(heard, [], ended == "end") if complete]
                if ended == "open" or whole not in ([], [502]):
                    found.append(f"{bomb.name}: {ended}, {whole}")
                found += _not_served(port, bomb.name)
            return found

        await self.played(play_all)


def _not_served(port: int, after: str) -> list[str]:
    heard, ended = ask(port, PROBE)
    good = ended == "end" and answers_in(heard, [], True) == [(200, b"GET /probe 0", True)]
    return [] if good else [f"after {after}: {ended}, {heard[:60]!r}"]
