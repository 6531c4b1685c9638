import imaplib
import poplib
import smtplib
import ssl

from exproxy.lab import smtp, store
from tests.lab.support import PASSWORD, LabCase, certificates


def trust() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates().ca))


class ImapTests(LabCase):
    """imaplib is the client."""

    services = ("imap", "imaps", "smtp")

    def imap(self, user: str = "anna") -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.server.port("imap"), timeout=10)
        client.login(user, PASSWORD)
        return client

    async def test_reading(self) -> None:
        """LIST, SELECT, FETCH and SEARCH show the welcome mails; reading marks them as seen."""

        def read() -> None:
            client = self.imap()
            self.assertIn(b"l12ex1", client.welcome)
            self.assertIn(b'(\\HasNoChildren) "/" "Sent Items"', client.list()[1])
            self.assertEqual(client.select("inbox"), ("OK", [b"3"]))
            self.assertEqual(client.search(None, "SUBJECT", "welcome")[1], [b"1"])
            self.assertEqual(client.search(None, "UNSEEN", "NOT", "FROM", "nobody")[1], [b"1 2 3"])
            kind, found = client.fetch("1", "(UID FLAGS ENVELOPE BODYSTRUCTURE BODY[])")
            self.assertEqual(kind, "OK")
            self.assertIn(b"\r\nSubject: Welcome to the lab\r\n", found[0][1])
            self.assertEqual(client.search(None, "SEEN")[1], [b"1"])
            kind, found = client.fetch("2:*", "(RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            self.assertIn(b"Subject: Who served you?", found[0][1])
            self.assertEqual(client.uid("search", None, "UNSEEN")[1], [b"2 3"])
            client.logout()

        await self.in_thread(read)

    async def test_changing(self) -> None:
        """CREATE, APPEND, COPY, STORE, EXPUNGE and STATUS work, also for a second session's eyes."""

        def change() -> None:
            client, other = self.imap(), self.imap("LITWARE\\Anna")
            other.select("INBOX")
            self.assertEqual(client.create("Projects")[0], "OK")
            self.assertEqual(
                client.append("Projects", "(\\Flagged)", None, b"Subject: x\r\n\r\ny\r\n")[0], "OK"
            )
            client.select("INBOX")
            self.assertEqual(client.copy("1:2", "Projects")[0], "OK")
            self.assertEqual(client.store("1", "+FLAGS", "(\\Deleted)")[0], "OK")
            self.assertEqual(client.expunge(), ("OK", [b"1"]))
            self.assertEqual(other.noop()[0], "OK")
            self.assertEqual(other.response("EXPUNGE")[1], [b"1"])
            self.assertIn(b"MESSAGES 3", client.status("Projects", "(MESSAGES UNSEEN)")[1][0])
            self.assertEqual(client.rename("Projects", "Done")[0], "OK")
            self.assertEqual(client.delete("Done")[0], "OK")
            self.assertEqual(client.select("Done")[0], "NO")
            client.logout()
            other.logout()

        await self.in_thread(change)

    async def test_parts(self) -> None:
        """The parts of a multipart message can be fetched one by one, and dates are kept."""
        whole = (
            b'Subject: parts\nContent-Type: multipart/mixed; boundary="b"\n\n'
            b"--b\nContent-Type: text/plain\n\none\n--b\nContent-Type: text/html\n\n<b>two</b>\n--b--\n"
        )

        def read() -> None:
            client = self.imap()
            client.append("INBOX", None, '"05-Mar-2020 10:00:00 +0100"', whole)
            client.select("INBOX", readonly=True)
            self.assertEqual(client.fetch("4", "(BODY[2])")[1][0][1], b"<b>two</b>")
            self.assertIn(b'"mixed"', client.fetch("4", "(BODYSTRUCTURE)")[1][0])
            self.assertIn(b"05-Mar-2020 09:00:00", client.fetch("4", "(INTERNALDATE)")[1][0])
            self.assertEqual(client.search(None, "SEEN")[1], [b""])
            self.assertRaises(imaplib.IMAP4.error, client.store, "1", "+FLAGS", "(\\Deleted)")
            client.logout()

        await self.in_thread(read)

    async def test_folders(self) -> None:
        """Subscriptions, CLOSE, NAMESPACE, and a folder deleted while it is open."""

        def use() -> None:
            client = self.imap()
            self.assertEqual(client.subscribe("INBOX")[0], "OK")
            self.assertEqual(client.subscribe("Nothing")[0], "NO")
            self.assertEqual(client.unsubscribe("Drafts")[0], "OK")
            self.assertNotIn(b"Drafts", b"".join(client.lsub()[1]))
            self.assertEqual(client.namespace()[0], "OK")
            self.assertEqual(client.rename("Nothing", "Something")[0], "NO")
            self.assertEqual(client.delete("Nothing")[0], "NO")
            self.assertEqual(client.append("Nothing", None, None, b"x")[0], "NO")
            self.assertEqual(client.create("Drafts")[0], "NO")
            client.select("Drafts")
            self.assertEqual(client.close()[0], "OK")
            client.logout()

        await self.in_thread(use)

    async def test_idle(self) -> None:
        """A session in IDLE is told of new mail."""
        raw = await self.connect("imap")
        raw.transport.write(b"a LOGIN anna secret\r\nb SELECT INBOX\r\nc IDLE\r\n")
        await raw.has(b"\r\n+")
        self.store.mailbox("anna").inbox.add(b"Subject: new\r\n\r\n")
        await raw.has(b"* 4 EXISTS\r\n")
        raw.transport.write(b"DONE\r\nd LOGOUT\r\n")
        await raw.has(b"c OK")
        await raw.lost
        self.assertEqual(self.store.mailbox("anna").inbox.watchers, [])

    async def test_refused(self) -> None:
        """A wrong password and a bad search are the client's errors, without a word in our log."""

        def wrong() -> None:
            client = imaplib.IMAP4("127.0.0.1", self.server.port("imap"), timeout=10)
            self.assertRaises(imaplib.IMAP4.error, client.login, "anna", "wrong")
            client.login("anna", PASSWORD)
            client.select("INBOX")
            self.assertRaises(imaplib.IMAP4.error, client.search, None, "NONSENSE")
            client.logout()

        await self.in_thread(wrong)

    async def test_tls(self) -> None:
        """IMAP over TLS, and STARTTLS, with the certificate verified by the lab's authority."""

        def secure() -> None:
            port = self.server.port("imaps")
            with imaplib.IMAP4_SSL("localhost", port, ssl_context=trust(), timeout=10) as client:
                client.login("anna", PASSWORD)
                self.assertEqual(client.select("INBOX")[1], [b"3"])
                self.assertEqual(client.fetch("1:*", "RFC822")[0], "OK")
            with imaplib.IMAP4("localhost", self.server.port("imap"), timeout=10) as client:
                client.starttls(trust())
                client.login("anna", PASSWORD)

        await self.in_thread(secure)


class PopTests(LabCase):
    """poplib is the client."""

    services = ("pop", "pops")

    async def test_reading(self) -> None:
        """STAT, LIST, UIDL, TOP, RETR and DELE; sizes are those of the message on the wire."""

        def read() -> None:
            client = poplib.POP3("127.0.0.1", self.server.port("pop"), timeout=10)
            self.assertTrue(client.getwelcome().startswith(b"+OK l12ex1 "))
            client.user("anna@litware.test")
            client.pass_(PASSWORD)
            count, size = client.stat()
            self.assertEqual(count, 3)
            self.assertEqual(sum(client.retr(n)[2] for n in (1, 2, 3)), size)
            self.assertEqual(len({line.split()[1] for line in client.uidl()[1]}), 3)
            self.assertIn(b"Subject: Who served you?", client.top(2, 0)[1])
            client.dele(1)
            self.assertRaises(poplib.error_proto, client.retr, 1)
            self.assertRaises(poplib.error_proto, client.retr, 9)
            self.assertRaises(poplib.error_proto, client._shortcmd, "XYZZY")
            client.quit()

        await self.in_thread(read)
        self.assertEqual(len(self.store.mailbox("anna").inbox.messages), 2)

    async def test_tls(self) -> None:
        """POP3 over TLS, verified; a wrong password is refused."""

        def secure() -> None:
            client = poplib.POP3_SSL("localhost", self.server.port("pops"), context=trust(), timeout=10)
            client.user("anna")
            self.assertRaises(poplib.error_proto, client.pass_, "wrong")
            client.user("anna")
            client.pass_(PASSWORD)
            self.assertIn(b"lab", b"".join(client.retr(1)[1]))
            client.quit()

        await self.in_thread(secure)


class SmtpTests(LabCase):
    """smtplib is the client."""

    services = ("smtp", "submission")

    async def test_sending(self) -> None:
        """A message for two arrives at both, dots and long lines unharmed."""

        def send() -> str:
            with smtplib.SMTP("127.0.0.1", self.server.port("smtp"), "client.test", timeout=10) as client:
                text = "Subject: hi\r\n\r\n.dot\r\n" + "x" * 900 + "\r\n"
                client.sendmail("bob@litware.test", ["anna@litware.test", "carl@elsewhere.test"], text)
                client.noop()
                client.rset()
                return client.ehlo()[1].decode()

        said = await self.in_thread(send)
        self.assertIn("8BITMIME", said)
        for user in ("anna", "carl"):
            raw = self.store.mailbox(user).inbox.messages[-1].raw
            self.assertTrue(raw.endswith(b"\r\n\r\n.dot\r\n" + b"x" * 900 + b"\r\n"), raw)
            self.assertIn(b" by l12ex1; ", raw)

    async def test_greeting(self) -> None:
        """The greeting names the server; what is no SMTP at all gets a 500."""
        raw = await self.connect("smtp")
        await raw.has(b"220 l12ex1 ESMTP")
        raw.transport.write(b"\x16\x03\x01\xff\r\n")
        await raw.has(b"500 ")

    async def test_limits(self) -> None:
        """Too large a message is a 552, a store without room a 452, an unfinished message nothing at all."""
        self.patch(smtp, "MESSAGE_LIMIT", 200)
        self.patch(store, "PEOPLE_LIMIT", 1)
        raw = await self.connect("smtp")
        raw.transport.write(b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<anna@b>\r\nRCPT TO:<bob@b>\r\nDATA\r\n")
        await raw.has(b"\r\n354")
        self.assertIn(b"\r\n452 ", raw.data)
        raw.transport.write(b"x" * 300 + b"\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<anna@b>\r\nDATA\r\nhalf\r\n")
        await raw.has(b"\r\n552 ")
        self.assertEqual(len(self.store.mailbox("anna").inbox.messages), 3)

    async def test_login(self) -> None:
        """STARTTLS, then AUTH with the lab's password, or 535."""

        def submit() -> None:
            with smtplib.SMTP(
                "localhost", self.server.port("submission"), "client.test", timeout=10
            ) as client:
                client.starttls(context=trust())
                self.assertRaises(smtplib.SMTPAuthenticationError, client.login, "anna", "wrong")
                client.login("anna", PASSWORD)
                client.sendmail("anna@litware.test", "bob@litware.test", "Subject: in\r\n\r\nx\r\n")

        await self.in_thread(submit)
        self.assertEqual(len(self.store.mailbox("bob").inbox.messages), 4)


class SharedTests(LabCase):
    """Two servers, one store."""

    services = ("smtp", "pop")

    async def test_both(self) -> None:
        """What is sent through one server is read from the other, under the same identity."""
        second = self.make("l12ex2")
        self.addCleanup(second.stop)
        await second.start()

        def exchange() -> tuple[bytes, list[bytes]]:
            with smtplib.SMTP("127.0.0.1", self.server.port("smtp"), "client.test", timeout=10) as sender:
                sender.sendmail("bob@litware.test", "anna@litware.test", "Subject: across\r\n\r\nx\r\n")
            identities = []
            for server in (self.server, second):
                client = poplib.POP3("127.0.0.1", server.port("pop"), timeout=10)
                welcome = client.getwelcome()
                client.user("anna")
                client.pass_(PASSWORD)
                identities.append(client.uidl(4))
                client.quit()
            return welcome, identities

        welcome, identities = await self.in_thread(exchange)
        self.assertIn(b"l12ex2", welcome)
        self.assertEqual(identities[0], identities[1])
