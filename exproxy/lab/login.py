"""Who may log in to the lab's mail services: any user who knows its password (twisted.cred)."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

from twisted.cred.checkers import AllowAnonymousAccess, ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from zope.interface import Interface, implementer

from exproxy.lab.store import Full


def same(given: bytes | str | None, wanted: str) -> bool:
    """Whether a password is the lab's."""
    given = given.encode() if isinstance(given, str) else given or b""
    return hmac.compare_digest(given, wanted.encode())


@implementer(ICredentialsChecker)
class AnyUser:
    """One password for everybody."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, password: str) -> None:
        self._password = password

    def requestAvatarId(self, credentials: Any) -> Any:
        """The user's name as given; raises UnauthorizedLogin."""
        if not credentials.username or not same(credentials.password, self._password):
            raise UnauthorizedLogin("wrong user or password")
        return credentials.username


@implementer(IRealm)
class Realm:
    """Gives each user what `avatar` makes of the name; `interface` is what the service asks for."""

    def __init__(self, interface: type[Interface], avatar: Callable[[str], Any]) -> None:
        self._interface = interface
        self._avatar = avatar

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: type[Interface]) -> Any:
        """(interface, avatar, logout), anonymous users without a name; raises UnauthorizedLogin when full."""
        name = avatarId.decode("utf-8", "replace") if isinstance(avatarId, bytes) else ""
        try:
            return self._interface, self._avatar(name), lambda: None
        except Full as full:
            raise UnauthorizedLogin(str(full)) from full


def portal(password: str, interface: Any, avatar: Callable[[str], Any], anonymous: bool = False) -> Portal:
    """A portal to one service: `avatar` makes what `interface` describes from a user's name."""
    checkers: list[Any] = [AnyUser(password)]
    if anonymous:
        checkers.append(AllowAnonymousAccess())
    return Portal(Realm(interface, avatar), checkers)
