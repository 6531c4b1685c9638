"""The lab's IMAP4rev1 service over the shared store: twisted.mail's server with its gaps closed."""

# mypy: allow-untyped-calls
# (twisted.web and twisted.mail are not typed)
from __future__ import annotations

from typing import Any, BinaryIO, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory
from twisted.mail import imap4
from twisted.mail.interfaces import IAccountIMAP, IMailboxIMAP, INamespacePresenter, ISearchableIMAPMailbox
from twisted.python.failure import Failure
from zope.interface import implementer

from exproxy.lab.login import portal
from exproxy.lab.message import ImapMessage, seconds
from exproxy.lab.pop import at_once
from exproxy.lab.search import Candidate, Test, search_test
from exproxy.lab.store import DELETED, Folder, Full, Mailbox, MailStore, Message
from exproxy.lab.tls import LabTls

_FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"]
_STATUS = {
    "MESSAGES": "getMessageCount",
    "RECENT": "getRecentCount",
    "UIDNEXT": "getUIDNext",
    "UIDVALIDITY": "getUIDValidity",
    "UNSEEN": "getUnseenCount",
}


@implementer(IMailboxIMAP, ISearchableIMAPMailbox)
class Selected:
    """A folder as one session has it open."""

    def __init__(self, folder: Folder, writeable: bool) -> None:
        self._folder = folder
        self._writeable = writeable
        self._listeners: list[Any] = []

    def arrived(self, count: int) -> None:
        """Store's word: more messages."""
        for listener in self._listeners:
            listener.newMessages(count, None)

    def gone(self, sequence: int) -> None:
        """Store's word: one message less."""
        for listener in self._listeners:
            listener.sendUntaggedResponse(b"%d EXPUNGE" % sequence, isAsync=True)

    def addListener(self, listener: Any) -> None:
        """The session wants to know."""
        self._listeners.append(listener)
        self._folder.watchers.append(self)

    def removeListener(self, listener: Any) -> None:
        """The session has left the folder, or has ended."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            self._folder.watchers.remove(self)

    def getFlags(self) -> list[str]:
        """The flags a message may have."""
        return list(_FLAGS)

    def getHierarchicalDelimiter(self) -> str:
        """Between the names of nested folders."""
        return "/"

    def getUIDValidity(self) -> int:
        """The same on every server, as they share the store."""
        return self._folder.validity

    def getUIDNext(self) -> int:
        """The next message's UID."""
        return self._folder.next_uid

    def getUID(self, message: int) -> int:
        """The UID at a sequence number."""
        return self._folder.messages[message - 1].uid

    def getMessageCount(self) -> int:
        """All."""
        return len(self._folder.messages)

    def getRecentCount(self) -> int:
        """None: the lab does not keep who saw a message first."""
        return 0

    def getUnseenCount(self) -> int:
        """Those not read."""
        return sum("\\Seen" not in message.flags for message in self._folder.messages)

    def isWriteable(self) -> int:
        """1 after SELECT, 0 after EXAMINE."""
        return int(self._writeable)

    def destroy(self) -> None:
        """The folder is deleted: so are its messages."""
        self._folder.messages = []

    def requestStatus(self, names: list[str]) -> dict[str, int]:
        """STATUS; raises KeyError for an unknown item."""
        return {name: getattr(self, _STATUS[name.upper()])() for name in names}

    def addMessage(self, message: BinaryIO, flags: Any = (), date: Any = None) -> Deferred[int]:
        """APPEND and COPY; the UID."""
        raw = message.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        return succeed(self._folder.add(raw, tuple(flags), seconds(date)).uid)

    def expunge(self) -> list[int]:
        """Remove what is marked; the sequence numbers to announce."""
        marked = {message.uid for message in self._folder.messages if DELETED in message.flags}
        return self._folder.remove(marked, by=self)

    def _chosen(self, messages: imap4.MessageSet, uid: bool) -> list[tuple[int, Message]]:
        every = list(enumerate(self._folder.messages, 1))
        if not every:
            return []
        last = every[-1][1].uid if uid else len(every)
        if messages._last is messages._empty:
            messages.last = last
        return [(n, message) for n, message in every if (message.uid if uid else n) in messages]

    def fetch(self, messages: imap4.MessageSet, uid: bool) -> list[tuple[int, ImapMessage]]:
        """The messages chosen that exist, with their sequence numbers."""
        return [(n, ImapMessage(message)) for n, message in self._chosen(messages, uid)]

    def store(self, messages: imap4.MessageSet, flags: Any, mode: int, uid: bool) -> dict[int, list[str]]:
        """Set (0), add (1) or take away (-1) flags; raises ReadOnlyMailbox."""
        if not self._writeable:
            raise imap4.ReadOnlyMailbox("read-only")
        changed = {}
        for n, message in self._chosen(messages, uid):
            given = set(flags)
            message.flags = (
                given if mode == 0 else message.flags | given if mode > 0 else message.flags - given
            )
            changed[n] = sorted(message.flags)
        return changed

    def search(self, query: Test, uid: bool) -> list[int]:
        """The sequence numbers of what passes the test made by `search_test`."""
        messages = self._folder.messages
        last = messages[-1].uid if messages else 0
        every = enumerate(messages, 1)
        return [n for n, message in every if query(Candidate(message, n, len(messages), last))]


@implementer(IAccountIMAP, INamespacePresenter)
class Account:
    """One person's folders for one session."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def addMailbox(self, name: str, mbox: object = None) -> bool:
        """The same as `create`."""
        return self.create(name)

    def create(self, pathspec: str) -> bool:
        """CREATE; False when there is such a folder; raises MailboxException when there is no room."""
        try:
            return self._mailbox.create(pathspec.rstrip("/"))
        except Full as full:
            raise imap4.MailboxException(str(full)) from full

    def select(self, name: str, rw: bool = True) -> Selected | None:
        """The folder, None when there is none."""
        folder = self._mailbox.folder(name)
        return Selected(folder, bool(rw)) if folder is not None else None

    def delete(self, name: str) -> None:
        """DELETE; raises MailboxException."""
        if self._mailbox.folders.pop(name, None) is None:
            raise imap4.MailboxException("No such mailbox")

    def rename(self, oldname: str, newname: str) -> None:
        """RENAME; raises MailboxException."""
        folders = self._mailbox.folders
        if oldname not in folders or newname in folders:
            raise imap4.MailboxException("No such mailbox, or one of that name exists")
        folders[newname] = folders.pop(oldname)

    def isSubscribed(self, name: str) -> bool:
        """For LSUB."""
        return name in self._mailbox.subscribed

    def subscribe(self, name: str) -> None:
        """SUBSCRIBE; raises MailboxException."""
        if self._mailbox.folder(name) is None:
            raise imap4.MailboxException("No such mailbox")
        self._mailbox.subscribed.add(name)

    def unsubscribe(self, name: str) -> None:
        """UNSUBSCRIBE."""
        self._mailbox.subscribed.discard(name)

    def listMailboxes(self, ref: str, wildcard: str) -> list[tuple[str, Selected]]:
        """LIST and LSUB."""
        pattern = imap4.wildcardToRegexp(ref + wildcard, "/")
        folders = self._mailbox.folders.items()
        return [(name, Selected(folder, True)) for name, folder in folders if pattern.match(name)]

    def getPersonalNamespaces(self) -> list[list[bytes]]:
        """RFC 2342."""
        return [[b"", b"/"]]

    def getSharedNamespaces(self) -> None:
        """None."""

    def getUserNamespaces(self) -> None:
        """None."""


class LabImap(imap4.IMAP4Server):
    """An IMAP session whose greeting starts with the server's name; LOGIN without TLS is allowed."""

    def capabilities(self) -> dict[bytes, Any]:
        """As twisted.mail's, but password logins are welcome in the clear: this is loopback."""
        found: dict[bytes, Any] = super().capabilities()
        found.pop(b"LOGINDISABLED", None)
        return found

    def arg_searchkeys(self, line: bytes) -> tuple[Test, bytes]:
        """Judge the query while it is parsed, so that a bad one is a BAD and not an error of ours."""
        return search_test(imap4.parseNestedParens(line)), b""

    select_SEARCH: Any = (imap4.IMAP4Server.do_SEARCH, imap4.IMAP4Server.opt_charset, arg_searchkeys)

    def spew_body(self, part: Any, id: int, msg: Any, _w: Any = None, _f: Any = None) -> Any:
        """FETCH BODY[...] marks the message as read, BODY.PEEK[...] does not (RFC 3501, 6.4.5)."""
        if not part.peek and cast(Any, self.mbox).isWriteable():
            msg.mark_seen()
        return super().spew_body(part, id, msg, _w, _f)

    def _cbListWork(self, mailboxes: list[tuple[str, Any]], tag: bytes, sub: bool, cmdName: bytes) -> None:
        for name, _ in mailboxes:
            if not sub or cast(Any, self.account).isSubscribed(name):
                encoded = name.encode("imap4-utf-7").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
                self.sendUntaggedResponse(cmdName + b' (\\HasNoChildren) "/" "' + encoded + b'"')
        self.sendPositiveResponse(tag, cmdName + b" completed")

    def _cbAppendGotMailbox(self, mbox: Any, tag: bytes, flags: Any, date: Any, message: Any) -> None:
        """APPEND may come without flags, and to a folder that is not there."""
        if mbox is None:
            self.sendNegativeResponse(tag, b"[TRYCREATE] No such mailbox")
        else:
            super()._cbAppendGotMailbox(mbox, tag, flags or [], date, message)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Leave the folder too, which twisted.mail forgets."""
        if self.mbox is not None:
            self.mbox.removeListener(self)
        super().connectionLost(reason)


class ImapFactory(ServerFactory):
    """IMAP for one server; `tls` enables STARTTLS."""

    noisy = False

    def __init__(self, server: str, store: MailStore, tls: LabTls | None) -> None:
        self._greeting = server.encode() + b" IMAP4rev1 service of a simulated Exchange ready"
        self._tls = tls
        self._portal = portal(store.password, imap4.IAccount, lambda user: Account(store.mailbox(user)))

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A session."""
        chal = {b"PLAIN": imap4.PLAINCredentials, b"LOGIN": imap4.LOGINCredentials}
        session: Any = LabImap(chal, self._tls, cast(Any, at_once))
        session.IDENT = self._greeting
        session.portal = self._portal
        return session
