"""The lab's mail: people, folders and messages in memory, shared by all the simulated servers.

Names and counts are bounded, because the demonstration sends mail for as long as it runs: a full folder loses
its oldest message, a full store knows no new people.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Protocol

PEOPLE_LIMIT = 1000
FOLDER_LIMIT = 200
FOLDERS = ("INBOX", "Sent Items", "Deleted Items", "Drafts")
SEEN, DELETED = "\\Seen", "\\Deleted"


class Full(Exception):
    """There is no room for another person or folder."""


class Watcher(Protocol):
    """Somebody who has a folder open; sequence numbers count from 1."""

    def arrived(self, count: int) -> None:
        """The folder now has `count` messages."""

    def gone(self, sequence: int) -> None:
        """The message at `sequence` is no more; later ones move down."""


@dataclass(slots=True)
class Message:
    """One message: `raw` has CRLF line ends, `received` is in seconds since the epoch."""

    uid: int
    raw: bytes
    received: float
    flags: set[str] = field(default_factory=set)


class Folder:
    """Messages in the order of their arrival; a UID is never used twice."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.validity = int(now())
        self.next_uid = 1
        self.messages: list[Message] = []
        self.watchers: list[Watcher] = []
        self._now = now

    def add(self, raw: bytes, flags: tuple[str, ...] = (), received: float | None = None) -> Message:
        """Put a message at the end, dropping the oldest of a full folder."""
        message = Message(self.next_uid, raw, self._now() if received is None else received, set(flags))
        self.next_uid += 1
        if len(self.messages) >= FOLDER_LIMIT:
            self.remove({self.messages[0].uid})
        self.messages.append(message)
        for watcher in tuple(self.watchers):
            watcher.arrived(len(self.messages))
        return message

    def remove(self, uids: set[int], by: Watcher | None = None) -> list[int]:
        """Remove messages; the sequence numbers to announce, one after the other. All but `by` are told."""
        gone: list[int] = []
        kept: list[Message] = []
        for message in self.messages:
            if message.uid in uids:
                gone.append(len(kept) + 1)
            else:
                kept.append(message)
        self.messages = kept
        for watcher in self.watchers:
            for sequence in gone if watcher is not by else ():
                watcher.gone(sequence)
        return gone


class Mailbox:
    """One person's folders; INBOX is the same in any spelling (RFC 3501, 5.1)."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.folders = {name: Folder(now) for name in FOLDERS}
        self.subscribed = set(FOLDERS)

    @property
    def inbox(self) -> Folder:
        """Where mail arrives."""
        return self.folders["INBOX"]

    def folder(self, name: str) -> Folder | None:
        """The folder of that name."""
        return self.folders.get("INBOX" if name.upper() == "INBOX" else name)

    def create(self, name: str) -> bool:
        """A new folder; False when there is one; raises Full."""
        if self.folder(name) is not None:
            return False
        if len(self.folders) >= PEOPLE_LIMIT:
            raise Full("no room for another folder")
        self.folders[name] = Folder(self._now)
        return True


class MailStore:
    """Everybody's mail. Whoever knows the lab's password is somebody."""

    def __init__(self, password: str, now: Callable[[], float] = time.time) -> None:
        self.password = password
        self._now = now
        self._people: dict[str, Mailbox] = {}

    def mailbox(self, user: str) -> Mailbox:
        """The mailbox of a user in any spelling (see `person`), new ones with welcome mails; raises Full."""
        name = person(user)
        if name not in self._people:
            if len(self._people) >= PEOPLE_LIMIT:
                raise Full("no room for another person")
            self._people[name] = self._welcome(name)
        return self._people[name]

    def _welcome(self, name: str) -> Mailbox:
        mailbox = Mailbox(self._now)
        for subject, text in _WELCOME:
            people = f"From: Lab <lab@litware.test>\r\nTo: {_printable(name)}@litware.test\r\n"
            date = formatdate(self._now())
            head = f"Subject: {subject}\r\nDate: {date}\r\nContent-Type: text/plain; charset=us-ascii\r\n"
            mailbox.inbox.add(f"{people}{head}\r\n{text}\r\n".encode("ascii"))
        return mailbox


def person(user: str) -> str:
    r"""``LITWARE\Anna``, ``anna@litware.test`` and ``anna`` are one person."""
    return user.rsplit("\\", 1)[-1].split("@", 1)[0].strip().lower()[:64] or "postmaster"


def _printable(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in ".-_+") else "_" for c in name)


_WELCOME = (
    ("Welcome to the lab", "This mailbox lives in memory and is the same on every simulated server."),
    ("Who served you?", "The greeting of each server names it. Read this again after stopping one."),
    ("Any user, one password", "Each user name has a mailbox of its own; all share the lab's password."),
)
