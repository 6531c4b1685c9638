import json
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from exproxy.lab.lab import Lab
from exproxy.lab.options import LabOptions
from exproxy.lab.server import SERVICES
from tests.folders import folder
from tests.lab.support import Raw, certificates


def make(state: Path, **given: Any) -> Lab:
    options = {
        "servers": {"l12ex1": "127.0.0.1", "l12ex2": "127.0.0.2"},
        "ports": dict.fromkeys(SERVICES, 0),
        "control": "127.0.0.1:0",
        "certificates": certificates().ca.parent,
    }
    return Lab(LabOptions.model_validate(options | given), state, reactor)


class LabTests(TestCase):
    timeout = 20

    def started(self) -> Deferred[None]:
        self.lab = make(Path("unused"))
        self.addCleanup(self.lab.stop)
        return self.lab.start()

    async def ask(self, method: str, path: str, host: str = "127.0.0.1", more: str = "") -> tuple[int, Any]:
        factory = Factory.forProtocol(Raw)
        factory.noisy = False
        raw = await TCP4ClientEndpoint(reactor, "127.0.0.1", self.lab.control_port).connect(factory)
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n"
        raw.transport.write(head.encode())
        await raw.lost
        answer, _, body = raw.data.partition(b"\r\n\r\n")
        return int(answer.split()[1]), json.loads(body) if body else None

    async def test_states(self) -> None:
        """GET shows everything, or a server, or a service."""
        await self.started()
        status, everything = await self.ask("GET", "/")
        self.assertEqual((status, set(everything["servers"])), (200, {"l12ex1", "l12ex2"}))
        self.assertEqual(set(everything["servers"]["l12ex1"]["services"]), set(SERVICES))
        self.assertEqual((await self.ask("GET", "/l12ex2"))[1]["address"], "127.0.0.2")
        status, service = await self.ask("GET", "/l12ex2/imap")
        self.assertEqual((service["mode"], service["connections"], service["open"]), ("ok", 0, 0))
        self.assertEqual((await self.ask("HEAD", "/"))[1], None)

    async def test_changes(self) -> None:
        """POST changes one service, or all of a server."""
        await self.started()
        status, changed = await self.ask("POST", "/l12ex1/imap/hang")
        self.assertEqual((status, changed["imap"]["mode"]), (200, "hang"))
        self.assertEqual(self.lab.states()["imap", "l12ex1"], "hang")
        self.assertEqual(self.lab.states()["imap", "l12ex2"], "ok")
        status, changed = await self.ask("POST", "/l12ex2/all/stop")
        self.assertEqual({service["mode"] for service in changed.values()}, {"stop"})
        status, changed = await self.ask("POST", "/l12ex2/all/ok", "localhost:8405")
        self.assertEqual({service["mode"] for service in changed.values()}, {"ok"})

    async def test_directories(self) -> None:
        """POST makes one virtual directory of one server ill, and well again."""
        await self.started()
        status, said = await self.ask("POST", "/l12ex1/https/EWS/refuse")
        self.assertEqual(
            (status, said["directories"]["ews"], said["directories"]["owa"]), (200, "refuse", "ok")
        )
        self.assertEqual(self.lab.servers["l12ex1"].directories("https")["ews"], "refuse")
        self.assertEqual(set(self.lab.servers["l12ex2"].directories("https").values()), {"ok"})
        self.assertEqual(self.lab.servers["l12ex1"].directories("http")["ews"], "ok")
        await self.ask("POST", "/l12ex1/https/ews/ok")
        self.assertEqual(set(self.lab.servers["l12ex1"].directories("https").values()), {"ok"})

    async def test_errors(self) -> None:
        """Errors are JSON that says what there is; GET changes nothing; web pages may do nothing."""
        await self.started()
        for method, path, status, text in (
            ("POST", "/l12ex9/imap/hang", 404, "known: l12ex1, l12ex2"),
            ("POST", "/l12ex1/nntp/hang", 404, "known: https"),
            ("POST", "/l12ex1/imap/explode", 404, "known: ok, stop, hang"),
            ("POST", "/l12ex1", 404, "/<mode>"),
            ("POST", "/l12ex1/https/nothing/ok", 404, "known: owa, ecp"),
            ("POST", "/l12ex1/imap/owa/ok", 404, "imap has no directory"),
            ("POST", "/l12ex1/https/owa/stop", 404, "known: ok, refuse, drain"),
            ("GET", "/l12ex1/imap/hang", 405, "POST"),
            ("DELETE", "/l12ex1", 405, "only GET"),
        ):
            found, answer = await self.ask(method, path)
            self.assertEqual(found, status)
            self.assertIn(text, answer["error"])
        found, answer = await self.ask("POST", "/l12ex1/imap/stop", more="Origin: https://evil.test\r\n")
        self.assertEqual(found, 403)
        self.assertEqual((await self.ask("GET", "/", host="evil.test"))[0], 403)
        self.assertEqual(self.lab.states()["imap", "l12ex1"], "ok")

    async def test_all_or_nothing(self) -> None:
        """When a port is taken nothing listens, and the error says which."""
        await self.started()
        taken = self.lab.servers["l12ex1"].port("imap")
        second = make(Path("unused"), ports=dict.fromkeys(SERVICES, 0) | {"imap": taken})
        failed = await self.assertFailure(second.start(), CannotListenError)
        self.assertIn(str(taken), str(failed))
        self.assertEqual(second.servers, {})

    async def test_without_control(self) -> None:
        """The control can be left out; certificates go into the state folder unless said otherwise."""
        place = folder(self) / "lab"
        lab = make(place, control=None, certificates=None)
        self.assertEqual(lab.certificates.ca, place / "lab" / "ca.pem")
        await lab.start()
        self.assertIsNone(lab.control_port)
        await lab.stop()
