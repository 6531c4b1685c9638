"""POP before anybody is known (``routing: user``): exproxy greets, and a login names the server."""

from __future__ import annotations

from protocols.mail import pop_words, sasl
from protocols.mail.login import Login
from protocols.mail.pop_dialogue import PopDialogue
from protocols.mail.sasl import Credentials
from protocols.mail.talk import End, Steps

# True of nearly whatever stands behind; PIPELINING is exproxy's own, which answers one after the other.
OFFERED = (b"TOP", b"UIDL", b"RESP-CODES", b"PIPELINING", b"USER")


class Pop(Login, PopDialogue):
    """One client, with either routing."""

    unsupported = b"-ERR Unsupported mechanism"
    unreadable = b"-ERR Credentials that cannot be read, or USER is missing"
    later = b"-ERR [SYS/TEMP] Temporary authentication failure"

    @property
    def greeting(self) -> bytes:
        """See Login. There is no stamp in it, so no APOP."""
        return b"+OK %b ready" % self.greets_as

    def command_alone(self) -> Steps[None]:
        """See Login."""
        line = yield from self.client_line()
        self.counted()
        word = self.checked(line)
        if word == b"STLS":
            yield from self.starttls(line)
        elif word == b"AUTH" and not line[5:].strip():
            self._mechanisms()
        elif word in (b"USER", b"PASS", b"AUTH"):
            if not self.refuses_login():
                yield from self._named(word, line)
        else:
            self._answered(word)

    def _mechanisms(self) -> None:
        """AUTH alone asks what there is."""
        for line in (b"+OK", *(each.encode() for each in self.options.mechanisms), b"."):
            self.say(line)

    def _answered(self, word: bytes) -> None:
        """What can be said without a server."""
        if word == b"CAPA":
            logins = b"SASL " + b" ".join(each.encode() for each in self.options.mechanisms)
            for line in (b"+OK", *self.edits().list((*OFFERED, logins)), b"."):
                self.say(line)
        elif word == b"QUIT":
            raise End("client quit", b"+OK Bye\r\n")
        elif word == b"NOOP":
            self.say(b"+OK")
        else:
            self.say(b"-ERR Unknown command, or not before a login")
            self.bad()

    # -- logging in --------------------------------------------------------------------

    def _named(self, word: bytes, line: bytes) -> Steps[None]:
        said = line.partition(b" ")[2]
        if word == b"USER":
            self.user = said.strip()
            self.say(b"+OK" if self.user else b"-ERR Syntax: USER name")
        elif word == b"PASS":
            user, self.user = self.user, b""
            found = Credentials(user, said) if 0 < len(user) <= sasl.NAME else None
            yield from self.log_in(found, "PASS")
        else:
            yield from self.authenticate(line.split()[1:], self.passed_auth(line))

    def dial(self) -> Steps[bytes]:
        """See Path; with a login to follow, the server's mechanisms are needed."""
        greeting = yield from super().dial()
        if self.options.routing == "user":
            self.phase = "CAPA"
            found = pop_words.keywords((yield from self.listed()))
            self.offered = frozenset(found.get(b"SASL", b"").upper().split())
        return greeting

    def replayed(self, found: Credentials, tag: bytes) -> Steps[bool]:
        """See Login."""
        answer = yield from self._replayed(found)
        self.say(answer)
        return pop_words.good(answer)

    def _replayed(self, found: Credentials) -> Steps[bytes]:
        if b"PLAIN" in self.offered:
            steps = (b"AUTH PLAIN", found.plain())
        elif found.acting or any(byte < 0x20 for byte in found.user + found.password):
            # A line could not carry it; a password with a line end would be a command.
            return b"-ERR The server does not take such credentials"
        else:
            steps = (b"USER " + found.user, b"PASS " + found.password)
        self.send(steps[0])
        answer = yield from self.server_line()
        if answer[:1] != b"+":
            return answer
        self.send(steps[1])
        return (yield from self.server_line())
