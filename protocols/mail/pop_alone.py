"""POP before anybody is known (``routing: user``): exproxy greets, and a login names the server."""

from __future__ import annotations

from protocols.mail import pop_words, sasl
from protocols.mail.pop_dialogue import PopDialogue
from protocols.mail.sasl import LONGEST, Credentials
from protocols.mail.talk import End, NoServer, ServerGone, Steps

# True of nearly whatever stands behind; PIPELINING is exproxy's own, which answers one after the other.
OFFERED = (b"TOP", b"UIDL", b"RESP-CODES", b"PIPELINING", b"USER")
LATER = b"-ERR [SYS/TEMP] Temporary authentication failure"


class Pop(PopDialogue):
    """One client, with either routing."""

    def alone(self) -> Steps[None]:
        """See Path. There is no stamp in the greeting, so no APOP."""
        name = (self.options.greeting or self.service.host_name).encode("ascii", "replace")
        self.say(b"+OK %b ready" % name)
        while not self.logged_in:
            yield from self._alone()

    def _alone(self) -> Steps[None]:
        """One command; what it says of a password is forgotten with this frame."""
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
            yield from self._log_in(found, "PASS")
        else:
            yield from self._auth(line)

    def _auth(self, line: bytes) -> Steps[None]:
        words = line.split()[1:]
        mechanism = words[0].upper()
        if mechanism.decode("ascii", "replace") not in self.options.mechanisms:
            self.say(b"-ERR Unsupported mechanism")
        elif mechanism in (b"PLAIN", b"LOGIN"):
            found = yield from self._credentials(mechanism, words[1:2])
            yield from self._log_in(found, mechanism.decode())
        else:
            yield from self._beyond(line)

    def _credentials(self, mechanism: bytes, initial: list[bytes]) -> Steps[Credentials | None]:
        first = initial[0] if initial else None
        if mechanism == b"PLAIN":
            return sasl.plain(first if first is not None else (yield from self._prompted(b"")))
        user = first if first is not None else (yield from self._prompted(sasl.USERNAME))
        if user == b"*":
            return None
        return sasl.login(user, (yield from self._prompted(sasl.PASSWORD)))

    def _prompted(self, prompt: bytes) -> Steps[bytes]:
        self.say(b"+ " + prompt)
        return (yield from self.client_line(rest=True, limit=LONGEST))

    def dial(self) -> Steps[bytes]:
        """See Path; with a login to follow, the server's mechanisms are needed."""
        greeting = yield from super().dial()
        if self.options.routing == "user":
            self.phase = "CAPA"
            found = pop_words.keywords((yield from self.listed()))
            self.offered = frozenset(found.get(b"SASL", b"").upper().split())
        return greeting

    def _log_in(self, found: Credentials | None, mechanism: str) -> Steps[None]:
        """Choose by the name, and say the credentials there, once."""
        if found is None:
            self.say(b"-ERR Credentials that cannot be read, or USER is missing")
            return
        try:
            yield from self.reach(self.known(found))
        except NoServer:
            self.say(LATER)
            self.link = None
            return
        try:
            answer = yield from self._replayed(found)
        except ServerGone as gone:
            # Another server must not be told as well: who knows what this one did with it.
            self.note(login=f"lost: {gone}")
            self.say(LATER)
            self.leave()
            return
        self.say(answer)
        if pop_words.good(answer):
            self.welcome(found.name, mechanism)
            return
        self.leave()
        self.unwelcome(found.name, mechanism, b"")

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

    def _beyond(self, line: bytes) -> Steps[None]:
        """A mechanism that names nobody before the server is chosen."""
        try:
            yield from self.reach(self.facts)
        except NoServer:
            self.say(LATER)
            self.link = None
            return
        if not (yield from self.passed_auth(line)):
            self.leave()
