"""Servers that are taken out one after the other while real clients work: nothing lost, nothing twice."""

from __future__ import annotations

import hashlib
import imaplib
import re
import shutil
import smtplib
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

from tests.peers.kit.case import PeerCase
from tests.peers.kit.operated import Operated
from tests.peers.kit.server import PASSWORD
from tests.peers.kit.site import PROXY, SERVERS, Site

FETCHED = 2000
SENT = 5000
RETRIED = 600
_TEXT = """
servers: {{ex1: {ex1}, ex2: {ex2}}}
groups: {{people: {{}}}}
defaults:
  certificate: {pem}
  health: {{interval: 1s, timeout: 900ms, rise: 1, fall: 3}}
services:
  imap:
    protocol: {{imap: {{routing: user, client-address: id}}}}
    listen: {{port: 143, address: {proxy}, tls: starttls}}
    backend: {{port: 143, tls: {{mode: starttls, verify: {ca}}}}}
    persistence: {{user: {{group: people}}}}
  smtp:
    protocol: smtp
    listen: {{port: 25, address: {proxy}, tls: starttls}}
    backend: {{port: 25, tls: false}}
"""


def configuration(site: Site) -> str:
    """Two Dovecots behind a user's persistence, two Postfixes behind none."""
    return _TEXT.format(**SERVERS, proxy=PROXY, pem=site.places["ex1"].pem, ca=site.authority.ca)


class DrainedCase(PeerCase):
    """One exproxy and its operator for each test."""

    needs = ("dovecot", "postfix", "smtp-source", "mbsync")

    def setUp(self) -> None:
        super().setUp()
        self.proxy = Operated(
            self.site, configuration(self.site), ready=[(PROXY, port) for port in (25, 143)]
        )
        self.proxy.start()
        self.addCleanup(self.proxy.stop)
        self.threads = ThreadPoolExecutor(20)
        self.addCleanup(self.threads.shutdown)
        self.site.empty_mailboxes()
        self.addCleanup(self.site.empty_mailboxes)

    def tearDown(self) -> None:
        self.assertNotIn("Traceback", self.proxy.log_text())
        self.assertNotIn(PASSWORD, self.proxy.log_text() + repr(self.proxy.records()))

    def reached(self, what: Any, patience: float = 60.0) -> None:
        """Wait until what() is true."""
        deadline = time.monotonic() + patience
        while not what():
            if time.monotonic() > deadline:
                self.fail(f"{what} did not come about:\n{self.proxy.log_tail()}")
            time.sleep(0.05)


class FetchTests(DrainedCase):
    def box(self, messages: int) -> Counter[bytes]:
        """A mailbox of user1 with so many messages; their digests."""
        new = self.site.mail / "user1" / "new"
        for folder in (new, new.with_name("cur"), new.with_name("tmp")):
            folder.mkdir(parents=True)
        digests: Counter[bytes] = Counter()
        for number in range(messages):
            text = f"Message-Id: <{number}@box.test>\nSubject: {number}\n\n" + f"{number}\n" * (number % 97)
            (new / f"1700000000.{number}.box").write_text(text)
            digests[hashlib.sha256(text.encode()).digest()] += 1
        for path in (new.parent, *new.parent.rglob("*")):
            shutil.chown(path, 8, 8)
        return digests

    def fetch(self, box: Path, runs: list[str]) -> None:
        """As its timer would: mbsync again and again, until it has said that all is well."""
        certificate = self.site.places["ex1"].pem
        while len(runs) < 40:
            done = self.site.clients.mbsync(PROXY, 143, "user1", certificate, box)
            if done.code == 0:
                return
            runs.append(done.err)
        raise AssertionError(f"mbsync came to no end: {runs[-1]}")

    def got(self, box: Path) -> list[Path]:
        return [path for path in box.rglob("*") if path.parent.name in ("new", "cur") and path.is_file()]

    def test_mbsync(self) -> None:
        """mbsync pulls 2,000 messages while the server that it is on is taken out, four times: it is told so
        each time, is taken to the other server, and has every message once in the end."""
        wanted = self.box(FETCHED)
        box = self.site.new_folder("mbsync")
        stopped: list[str] = []
        fetching = self.threads.submit(self.fetch, box, stopped)
        for taken in range(4):
            self.reached(lambda: len(self.got(box)) >= (taken + 1) * FETCHED // 6 or fetching.done())  # noqa: B023
            self.take_out(fetching)
        fetching.result(120)
        self.assertGreaterEqual(len(stopped), 4)
        self.assertTrue(all("UNAVAILABLE" in each for each in stopped), stopped)
        # mbsync marks what it stores with a field of its own.
        texts = [re.sub(rb"(?m)^X-TUID: .*\n", b"", path.read_bytes()) for path in self.got(box)]
        self.assertEqual(len(texts), FETCHED)
        self.assertEqual(Counter(hashlib.sha256(text).digest() for text in texts), wanted)
        self.assertEqual({record["server"] for record in self.proxy.records()}, set(SERVERS))

    def home(self) -> str:
        """Where a login of user1 leads to."""
        before = len(self.proxy.records())
        with self.site.namespace.entered(), imaplib.IMAP4(PROXY, 143, timeout=10) as imap:
            imap.starttls(ssl.create_default_context(cafile=str(self.site.authority.ca)))
            imap.login("user1", PASSWORD)
        self.reached(lambda: len(self.proxy.records()) > before)
        return str(self.proxy.records()[before]["server"])

    def test_known_users(self) -> None:
        """A user comes back to a server that is drained, and to another one from a server that is out."""
        home = self.home()
        self.proxy.operate("drain", "imap", home)
        self.assertEqual(self.home(), home)
        self.proxy.operate("maint", "imap", home)
        other = self.home()
        self.assertNotEqual(other, home)
        self.proxy.operate("ready", "imap", home)
        self.assertEqual(self.home(), other)

    def take_out(self, fetching: Future[None]) -> None:
        """The server that user1 is on: drained, where a known user stays; then out, and emptied."""
        homes: list[str] = []

        def found() -> bool:
            homes[:] = [server for server in SERVERS if self.proxy.operate("links", "imap", server)]
            if fetching.done():
                fetching.result()
                self.fail("mbsync was done before its server was taken out")
            return bool(homes)

        self.reached(found)
        home = homes[0]
        self.proxy.operate("drain", "imap", home)
        self.proxy.operate("maint", "imap", home)
        self.proxy.emptied("imap", home)
        self.proxy.operate("ready", "imap", home)


class SendTests(DrainedCase):
    def accepted(self) -> Counter[str]:
        """How often either Postfix has queued a mail with each Message-Id."""
        found: Counter[str] = Counter()
        for server in self.site.postfix.values():
            text = server.log_text()
            queued = set(re.findall(r"qmgr\[\d+\]: (\w+): from=", text))
            named = re.findall(r"cleanup\[\d+\]: (\w+): message-id=<([^>]+)>", text)
            found.update(name for mail, name in named if mail in queued)
        return found

    def taking_turns(self, sending: Future[Any]) -> Iterator[str]:
        """The servers in turn, as long as something is sent."""
        for server in cycle(SERVERS):
            if sending.done():
                return
            yield server

    def test_smtp_source(self) -> None:
        """smtp-source sends 5,000 mails, a connection each, while each server in turn is drained until it has
        nobody left: not one is refused, and the servers together have each mail once."""
        before = self.accepted()
        arguments = ("-s", "10", "-m", str(SENT), "-l", "500", "-f", "a@x.test", "-t", "b@elsewhere.test")
        sending = self.threads.submit(self.site.clients.smtp_source, PROXY, 25, *arguments, limit=120)
        turns = 0
        for server in self.taking_turns(sending):
            self.proxy.operate("drain", "smtp", server)
            self.reached(lambda: not self.proxy.operate("links", "smtp", server))  # noqa: B023
            # Nobody new comes meanwhile.
            self.assertEqual(self.proxy.operate("links", "smtp", server), 0)
            self.proxy.operate("ready", "smtp", server)
            turns += 1
        done = sending.result()
        self.assertEqual((done.code, done.out, done.err), (0, "", ""))
        self.assertGreaterEqual(turns, 4)
        self.reached(lambda: (self.accepted() - before).total() >= SENT)
        found = self.accepted() - before
        self.assertEqual((len(found), set(found.values())), (SENT, {1}))
        self.assertEqual({record["server"] for record in self.proxy.records()}, set(SERVERS))

    def send(self, numbers: range, told: list[int]) -> None:
        """Mails over one connection as long as that lasts; what is answered 421 is sent again."""
        with self.site.namespace.entered():
            smtp: smtplib.SMTP | None = None
            for number in numbers:
                while True:
                    try:
                        smtp = smtp or smtplib.SMTP(PROXY, 25, timeout=20)
                        text = f"Message-Id: <{number}@again.test>\r\n\r\nhello\r\n"
                        smtp.sendmail("a@x.test", ["user1@ex.test"], text)
                        break
                    except smtplib.SMTPResponseException as error:
                        self.assertEqual(error.smtp_code, 421, error)
                        told.append(number)
                    except smtplib.SMTPServerDisconnected:
                        told.append(number)
                    smtp = None
            if smtp is not None:
                smtp.quit()

    def test_retries(self) -> None:
        """Clients that keep their connections are told 421 between two mails when their server is emptied;
        they send the next mail over another one, and every mail is delivered once."""
        parts = 6
        told: list[int] = []
        step = RETRIED // parts
        sending = [
            self.threads.submit(self.send, range(part * step, (part + 1) * step), told)
            for part in range(parts)
        ]
        turns = 0
        for server in cycle(SERVERS):
            if all(each.done() for each in sending):
                break
            self.proxy.operate("drain", "smtp", server)
            self.proxy.emptied("smtp", server)
            self.proxy.operate("ready", "smtp", server)
            turns += 1
        for each in sending:
            each.result()
        self.assertGreaterEqual(turns, 2)
        self.assertGreater(len(told), 0)
        new = self.site.mail / "user1" / "new"
        self.reached(lambda: new.exists() and len(list(new.iterdir())) >= RETRIED)
        ids = Counter(re.findall(r"<(\d+)@again\.test>", "".join(path.read_text() for path in new.iterdir())))
        self.assertEqual(ids, Counter(str(number) for number in range(RETRIED)))
