"""Credentials as mail clients send them: SASL PLAIN (RFC 4616), LOGIN, and the names in NTLM.

A password lives in one value for as long as its login takes, and shows itself to nobody.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from protocols.http.ntlm import Authenticate, parse
from protocols.http.spnego import NotDER, inner

# Octets of a line of AUTH (RFC 4954 4), CR LF included.
LONGEST = 12288
# Bytes of a user's name.
NAME = 1024
USERNAME = b"VXNlcm5hbWU6"  # "Username:"
PASSWORD = b"UGFzc3dvcmQ6"  # "Password:"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in. ``acting``: whose mailbox it is to be, b"" for the user's own (authzid of PLAIN)."""

    user: bytes
    password: bytes = field(repr=False)
    acting: bytes = b""

    @property
    def name(self) -> str:
        """Whose mailbox it is, as it may be logged."""
        return shown(self.acting or self.user)

    def plain(self) -> bytes:
        """The message of PLAIN, in base64."""
        return base64.b64encode(b"\0".join((self.acting, self.user, self.password)))


def shown(name: bytes) -> str:
    """A name as text."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        text = name.decode("latin-1")
    return text if text.isprintable() else text.encode("ascii", "backslashreplace").decode()


def decoded(text: bytes) -> bytes | None:
    """Base64 of a response, "=" for an empty one (RFC 4954 4); None where it is none."""
    if text == b"=":
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def encoded(data: bytes) -> bytes:
    """Base64 of a response."""
    return base64.b64encode(data)


def plain(text: bytes) -> Credentials | None:
    """The credentials in a message of PLAIN; None where it is none."""
    parts = (decoded(text) or b"").split(b"\0")
    if len(parts) != 3 or not parts[1] or max(len(parts[0]), len(parts[1])) > NAME:
        return None
    return Credentials(parts[1], parts[2], parts[0])


def login(user: bytes, password: bytes) -> Credentials | None:
    """The credentials in the two answers of LOGIN; None where they are none."""
    name, secret = decoded(user), decoded(password)
    if not name or secret is None or len(name) > NAME or b"\0" in name + secret:
        return None
    return Credentials(name, secret)


class Overheard:
    """Whose login passes by: ``name`` is known once its last message has gone; "" until then."""

    __slots__ = ("_mechanism", "learnt", "name")

    def __init__(self, mechanism: bytes) -> None:
        self._mechanism = mechanism.upper()
        self.name = ""
        # Whether the name came too late for the choice of a server.
        self.learnt = False

    def said(self, text: bytes) -> None:
        """A message of the client, in base64."""
        if self._mechanism == b"PLAIN":
            found = plain(text)
            self.name = found.name if found is not None else ""
        elif self._mechanism == b"LOGIN":
            # The first of the two is the name.
            self.name = self.name or shown((decoded(text) or b"")[:NAME])
        elif self._mechanism in (b"NTLM", b"GSS-SPNEGO"):
            self._windows(decoded(text) or b"")

    def _windows(self, token: bytes) -> None:
        try:
            message = parse(token) or parse(inner(token))
        except NotDER:
            return
        if isinstance(message, Authenticate) and message.name:
            self.name, self.learnt = message.name, True
