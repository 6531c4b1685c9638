"""The check http."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Action, Drain, Fail, Pass, ToBackend
from exproxy.events import Connected, Data, Eof, Lost
from exproxy.model import BACKEND, Link
from exproxy.testing import Script, check_check_plugin, every_split, link
from protocols.http.check import BODY_LIMIT, HttpCheckOptions, plugin

SERVER = link(port=443)


def asked(answer: bytes, *, end: bool = False, **options: Any) -> list[Action]:
    """All that the dialogue says to an answer, its question apart."""
    script = Script(plugin.check(HttpCheckOptions.model_validate(options)).dialogue())
    script.on(Connected(SERVER))
    said = script.on(Data(BACKEND, answer, SERVER))
    return said + script.on(Eof(BACKEND, SERVER)) if end else said


def question(at: Link = SERVER, **options: Any) -> bytes:
    """What the server is asked."""
    script = Script(plugin.check(HttpCheckOptions.model_validate(options)).dialogue())
    (action,) = script.on(Connected(at))
    assert isinstance(action, ToBackend)
    return action.data


def answer(status: int, body: bytes = b"", *fields: bytes) -> bytes:
    """An answer with its length."""
    lines = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join([*lines, b"", b""]) + body


class QuestionTests(SynchronousTestCase):
    """What is asked."""

    def test_contract(self) -> None:
        """It keeps what the framework counts on."""
        check_check_plugin(plugin)

    def test_request(self) -> None:
        """One GET, and the connection is to be closed after it."""
        self.assertEqual(
            question(path="/owa/healthcheck.htm"),
            b"GET /owa/healthcheck.htm HTTP/1.1\r\nHost: 192.0.2.11\r\nUser-Agent: exproxy-check\r\n"
            b"Accept: */*\r\nConnection: close\r\n\r\n",
        )

    def test_host(self) -> None:
        """Host is the server's address, with an unusual port, unless it is set."""
        for at, options, expected in (
            (link(port=8443), {}, b"192.0.2.11:8443"),
            (link(host="2001:db8::1", port=80), {}, b"[2001:db8::1]"),
            (link(host="2001:db8::1", port=81), {}, b"[2001:db8::1]:81"),
            (SERVER, {"host": "mail.example.org"}, b"mail.example.org"),
        ):
            self.assertIn(b"\r\nHost: " + expected + b"\r\n", question(at, **options))

    def test_method(self) -> None:
        """HEAD can be asked instead."""
        self.assertTrue(question(method="HEAD").startswith(b"HEAD / "))


class StatusTests(SynchronousTestCase):
    """Which statuses are good."""

    def test_defaults(self) -> None:
        """200, 301, 302 and 401 are good, anything else is not."""
        for status in (200, 301, 302, 401):
            self.assertEqual(asked(answer(status)), [Pass()], status)
        for status in (204, 403, 404, 500, 503):
            self.assertEqual(asked(answer(status)), [Fail("L7STS", "status", f"HTTP status {status}")])

    def test_lists_and_ranges(self) -> None:
        """Numbers and ranges, one or many."""
        for written, good, bad in (
            (204, 204, 200),
            ("200-299", 250, 300),
            ([200, "400-404", "503"], 503, 405),
        ):
            self.assertEqual(asked(answer(good), status=written), [Pass()])
            self.assertEqual(len(asked(answer(bad), status=written)), 1)
            self.assertIsInstance(asked(answer(bad), status=written)[0], Fail)

    def test_interim(self) -> None:
        """Interim answers are not the answer."""
        self.assertEqual(asked(b"HTTP/1.1 100 Continue\r\n\r\n" + answer(200)), [Pass()])

    def test_every_split(self) -> None:
        """However the answer is cut, one outcome comes."""
        for pieces in every_split(answer(200, b"all is well")):
            script = Script(plugin.check(HttpCheckOptions(body="well")).dialogue())
            script.on(Connected(SERVER))
            said = [action for piece in pieces for action in script.on(Data(BACKEND, piece))]
            self.assertEqual(said, [Pass()])


class BodyTests(SynchronousTestCase):
    """The text of the page."""

    def test_text(self) -> None:
        """The text, or the pattern, must be there."""
        page = answer(200, b"<p>200 OK exch1.example.org</p>")
        self.assertEqual(asked(page, body="200 OK"), [Pass()])
        self.assertEqual(asked(page, pattern=r"exch\d\."), [Pass()])
        for options in ({"body": "503"}, {"pattern": "^x"}, {"body": "200 OK", "pattern": "y$"}):
            (failure,) = asked(page, **options)
            assert isinstance(failure, Fail)
            self.assertEqual((failure.code, failure.phase), ("L7RSP", "body"))

    def test_chunked_and_until_close(self) -> None:
        """The page may come in chunks, or end with its connection."""
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nwe\r\n2\r\nll\r\n0\r\n\r\n"
        self.assertIsInstance(asked(chunked, body="we")[0], Pass)
        self.assertEqual(asked(b"HTTP/1.1 200 OK\r\n\r\nwell", end=True, body="well"), [Pass()])

    def test_limit(self) -> None:
        """No more of a page is read than its first 64 KiB."""
        self.assertEqual(asked(answer(200, b"a" * BODY_LIMIT + b"b"), body="aa"), [Pass()])
        self.assertIsInstance(asked(answer(200, b"a" * BODY_LIMIT + b"b"), body="b")[0], Fail)
        endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * BODY_LIMIT
        self.assertIsInstance(asked(endless, body="b")[0], Fail)


class FailureTests(SynchronousTestCase):
    """Servers that do not answer properly."""

    def test_rubbish(self) -> None:
        """What is no answer is L7RSP, with a reason for the log."""
        (failure,) = asked(b"SSH-2.0-OpenSSH\r\n\r\n")
        self.assertEqual(failure, Fail("L7RSP", "answer", "malformed status line"))

    def test_endings(self) -> None:
        """A connection that ends too early names what was missing."""
        for said, phase in ((b"", "answer"), (b"HTTP/1.1 20", "answer"), (answer(200, b"abc")[:-1], "body")):
            for end in (Eof(BACKEND, SERVER), Lost(BACKEND, "reset", SERVER)):
                script = Script(plugin.check(HttpCheckOptions(body="abc")).dialogue())
                script.on(Connected(SERVER))
                if said:
                    script.on(Data(BACKEND, said, SERVER))
                (failure,) = script.on(end)
                assert isinstance(failure, Fail)
                self.assertEqual((failure.code, failure.phase), ("L7RSP", phase))

    def test_bad_options(self) -> None:
        """What cannot be asked or expected is an error."""
        for bad in (
            {"path": "owa"},
            {"path": "/a b"},
            {"path": "/a\r\nX: y"},
            {"host": "a b"},
            {"method": "get"},
            {"status": []},
            {"status": [99]},
            {"status": [600]},
            {"status": "299-200"},
            {"status": ["2xx"]},
            {"pattern": "("},
            {"body": ""},
            {"stauts": 200},
        ):
            with self.assertRaises(ValidationError, msg=repr(bad)):
                HttpCheckOptions.model_validate(bad)


class DrainTests(SynchronousTestCase):
    """An answer that means maintenance."""

    def test_status(self) -> None:
        """The status alone can mean it, without waiting for the page; others are judged as always."""
        drain = {"drain": {"status": [404, "500-503"]}, "status": 200}
        for status in (404, 500, 503):
            [said] = asked(b"HTTP/1.1 %d X\r\nContent-Length: 9\r\n\r\n" % status, **drain)
            self.assertEqual(said, Drain(f"HTTP status {status} means maintenance"))
        self.assertEqual(asked(answer(200), **drain), [Pass()])
        self.assertEqual(asked(answer(504), **drain), [Fail("L7STS", "status", "HTTP status 504")])

    def test_status_and_body(self) -> None:
        """With both, both must fit; without the words it is an ill server."""
        drain = {"drain": {"status": 503, "body": "maintenance"}}
        self.assertEqual(
            asked(answer(503, b"in maintenance"), **drain), [Drain("HTTP status 503 means maintenance")]
        )
        self.assertEqual(asked(answer(503, b"oops"), **drain), [Fail("L7STS", "status", "HTTP status 503")])
        self.assertEqual(asked(answer(200, b"maintenance"), **drain), [Pass()])

    def test_body(self) -> None:
        """The words alone mean it whatever the status, also where the page would have been good."""
        drain = {"drain": {"body": "OutOfService"}, "body": "OK"}
        self.assertEqual(
            asked(answer(200, b"OK OutOfService"), **drain), [Drain("HTTP status 200 means maintenance")]
        )
        self.assertEqual(asked(answer(200, b"OK"), **drain), [Pass()])
        self.assertEqual(
            asked(answer(200, b"no"), **drain), [Fail("L7RSP", "body", "text not found in the page")]
        )
        cut = asked(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nOutOfService", end=True, **drain)
        self.assertEqual(cut[0].code, "L7RSP")

    def test_options(self) -> None:
        """It must say something, in sensible statuses."""
        for wrong in ({}, {"status": "5xx"}, {"status": []}, {"text": "x"}):
            self.assertRaises(ValidationError, HttpCheckOptions.model_validate, {"drain": wrong})
