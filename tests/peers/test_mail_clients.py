"""Mail programs as people have them, through etc/mail.yaml: mbsync, fetchmail, curl and openssl."""

from __future__ import annotations

import imaplib
import re
import time
from pathlib import Path

from tests.peers.kit.netns import Done
from tests.peers.kit.server import PASSWORD, PUBLIC
from tests.peers.kit.site import PROXY
from tests.peers.test_mail import MailCase

SUBJECTS = {f"number {number}" for number in range(7)}


class ClientTests(MailCase):
    needs = (*MailCase.needs, "mbsync", "fetchmail")

    def box(self) -> None:
        """Seven mails for user1."""

        def append() -> None:
            with imaplib.IMAP4_SSL(PROXY, 993, ssl_context=self.tls(), timeout=10) as imap:
                imap.login("user1", PASSWORD)
                for subject in sorted(SUBJECTS):
                    imap.append("INBOX", "", "", f"Subject: {subject}\r\n\r\nhello\r\n".encode())

        self.inside(append)

    def subjects(self, text: str) -> list[str]:
        return sorted(re.findall(r"(?m)^Subject: (.*?)\r?$", text))

    def test_mbsync(self) -> None:
        """mbsync pulls a mailbox, with STARTTLS and by the implicit port."""
        self.box()
        for tls, port in (("STARTTLS", 143), ("IMAPS", 993)):
            box = self.site.new_folder("mbsync")
            certificate = self.site.places["ex1"].pem
            done = self.site.clients.mbsync(PROXY, port, "user1", certificate, box, tls=tls)
            self.assertEqual((done.code, done.err), (0, ""), tls)
            texts = [path.read_text() for path in (box / "INBOX").glob("new/*")]
            self.assertEqual(self.subjects("\n".join(texts)), sorted(SUBJECTS))

    def test_fetchmail(self) -> None:
        """fetchmail fetches a mailbox by POP3, with STLS and by the implicit port."""
        self.box()
        for arguments, port, said in (
            (("--sslproto", "auto"), 110, "STLS"),
            (("--ssl",), 995, ""),
        ):
            box = self.site.new_folder("fetchmail") / "mbox"
            done = self.site.clients.fetchmail(PROXY, port, "user1", box, *arguments)
            self.assertEqual(done.code, 0, done)
            self.assertIn(said, done.out)
            self.assertEqual(self.subjects(box.read_text()), sorted(SUBJECTS))

    def curl(self, url: str, *arguments: str) -> Done:
        port = int(url.rpartition(":")[2].partition("/")[0])
        return self.site.clients.curl(
            "--ssl-reqd", "--resolve", f"{PUBLIC}:{port}:{PROXY}", "-u", f"user1:{PASSWORD}", url, *arguments
        )

    def test_curl(self) -> None:
        """curl sends a mail by submission, with STARTTLS and without, and reads it by IMAP and POP3."""
        mail = self.site.new_folder("curl") / "mail"
        mail.write_bytes(b"Subject: by curl\r\n\r\nhello\r\n")
        for number, url in enumerate((f"smtp://{PUBLIC}:587/me.test", f"smtps://{PUBLIC}:465/me.test"), 1):
            done = self.curl(url, "--mail-from", "a@x.test", "--mail-rcpt", "user1@ex.test", "-T", str(mail))
            self.assertEqual(done.code, 0, done)
            self.arrived(number)
        for url in (f"imap://{PUBLIC}:143/INBOX;MAILINDEX=1", f"pop3://{PUBLIC}:110/1"):
            done = self.curl(url)
            self.assertEqual(done.code, 0, done)
            self.assertIn("Subject: by curl", done.out)

    def arrived(self, mails: int) -> None:
        """Wait for so many mails."""
        box: Path = self.site.mail / "user1"
        deadline = time.monotonic() + 10
        while len(list(box.glob("new/*"))) < mails and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual(len(list(box.glob("new/*"))), mails)

    def test_openssl(self) -> None:
        """s_client speaks each STARTTLS, and each implicit port, and the dialogue goes on under TLS."""
        for port, begin, text, answer in (
            (25, "smtp", "EHLO me\r\nQUIT\r\n", "221 2.0.0"),
            (587, "smtp", "EHLO me\r\nQUIT\r\n", "221 2.0.0"),
            (143, "imap", "a LOGOUT\r\n", "a OK"),
            (110, "pop3", "QUIT\r\n", "+OK"),
            (465, "", "QUIT\r\n", "221 2.0.0"),
            (993, "", "a LOGOUT\r\n", "a OK"),
            (995, "", "QUIT\r\n", "+OK"),
        ):
            arguments = ("-starttls", begin) if begin else ()
            done = self.site.clients.s_client(
                PROXY, port, *arguments, "-crlf", "-ign_eof", "-verify_ip", PROXY, text=text.replace("\r", "")
            )
            self.assertEqual(done.code, 0, (port, done))
            self.assertIn(answer, done.out, port)
