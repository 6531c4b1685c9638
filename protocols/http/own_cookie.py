"""A cookie of ours that names a client's server: shared by ``super-http`` and ``cookie``.

Its value is a keyed token that names no server. Outlook, ActiveSync, EWS and their kin must not be
given cookies that they did not ask for; they are told apart by path and User-Agent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from exproxy.interfaces import IKeys
from exproxy.model import Facts, Named, Served
from exproxy.plugins import Options
from protocols.http.head import RequestHead
from protocols.http.peer import Scheme

# One for both strategies, so that a change from one to the other loses no client.
PURPOSE = "super-http"
NO_COOKIE_PATHS = ("/Microsoft-Server-ActiveSync", "/EWS", "/rpc", "/Autodiscover", "/mapi", "/OAB")
NO_COOKIE_AGENTS = (
    "Outlook",
    "Microsoft Office",
    "MSRPC",
    "MAPI",
    "ActiveSync",
    "Apple-i",
    "Android-Mail",
    "ExchangeServicesClient",
)
COOKIE_NAME = r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$"
_UNFIT = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
# Bytes of a User-Agent that are looked at; the same few come again and again.
_AGENT = 512
_PREFIXES = ("__Host-", "__Secure-")
Text: TypeAlias = Annotated[str, Field(min_length=1)]
Recheck: TypeAlias = Annotated[
    Literal["always", "first"],
    Field(
        description="always: every request is looked at; first: the later requests of a client's connection "
        "go where its first one went."
    ),
]


class HttpOptions(Options):
    """What the options of all persistences over HTTP have in common."""

    recheck: Recheck = "always"


class CookieFields(HttpOptions):
    """The options of a cookie of ours."""

    cookie: str | None = Field(
        default=None,
        pattern=COOKIE_NAME,
        max_length=128,
        description="The cookie's name; default __Host-exproxy-GROUP, or exproxy-GROUP where not secure.",
    )
    secure: bool = Field(
        default=True,
        description="Give the cookie over https only; false: over http too, without Secure and __Host-.",
    )
    same_site: Literal["Lax", "Strict", "None"] = Field(
        default="Lax", description="The cookie's SameSite attribute; None needs secure."
    )
    no_cookie_paths: tuple[Text, ...] = Field(
        default=NO_COOKIE_PATHS,
        description="Paths, with all below them, whose clients are given no cookie; case does not matter.",
    )
    no_cookie_agents: tuple[Text, ...] = Field(
        default=NO_COOKIE_AGENTS,
        description="Parts of a User-Agent whose clients are given no cookie; case does not matter.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> CookieFields:
        if not self.secure and self.same_site == "None":
            raise ValueError("same-site: None needs secure: true, browsers refuse such a cookie otherwise")
        if not self.secure and (self.cookie or "").startswith(_PREFIXES):
            raise ValueError("a cookie named __Host- or __Secure- needs secure: true")
        return self

    def cookie_name(self, group: str) -> bytes:
        """The name of the cookie for that group; one per group."""
        prefix = "__Host-" if self.secure else ""
        return (self.cookie or f"{prefix}exproxy-{_UNFIT.sub('-', group)}").encode("ascii")


class OwnCookie:
    """The cookie of one group or service. ``name``: the cookie's."""

    def __init__(self, options: CookieFields, keys: IKeys) -> None:
        self._secure = options.secure
        self._once = options.recheck == "first"
        self._servers = dict(keys.tokens(PURPOSE))
        self._named = {token: (Named(server),) for token, server in self._servers.items()}
        self._tokens = {server: keys.token(PURPOSE, server) for server in keys.servers}
        self.name = options.cookie_name(keys.group)
        self._ours = re.compile(rb"(?:^|;)[\t ]*" + re.escape(self.name) + rb"[\t ]*=[\t ]*\"?([^;\"\t ]*)")
        self._no_path = _any_of(options.no_cookie_paths, r"(?:{})(?:[/;]|$)", strip="/")
        no_agent = _any_of(options.no_cookie_agents, "{}")
        self._no_cookie_agent: Callable[[bytes], bool] = lru_cache(maxsize=1024)(
            lambda agent: no_agent is not None and no_agent.search(agent) is not None
        )
        secure = b"; Secure" if options.secure else b""
        same_site = options.same_site.encode("ascii")
        self._attributes = b"; Path=/; HttpOnly; SameSite=" + same_site + secure

    def __repr__(self) -> str:
        return f"<cookie {self.name.decode()}>"

    def shown(self, head: RequestHead) -> tuple[bytes, ...]:
        """The tokens of ours that it brings; anything else in our cookie is as good as nothing."""
        known = head.fields.known
        shown: tuple[bytes, ...] | None = known.get(self)
        if shown is None:
            cookies = head.values(b"cookie")
            tokens = [token for value in cookies for token in self._ours.findall(value)]
            shown = known[self] = tuple([token for token in tokens if token in self._servers])
        return shown

    def named(self, shown: tuple[bytes, ...]) -> tuple[Named, ...]:
        """The servers that those tokens are for."""
        if len(shown) == 1:
            return self._named[shown[0]]
        return tuple([each for token in shown for each in self._named[token]])

    def may_be_given(self, facts: Facts, head: RequestHead) -> bool:
        """Whether this client is a browser, over a scheme that the cookie may be given on."""
        if self._secure:
            scheme = facts.get(Scheme)
            if scheme is None or scheme.name != "https":
                return False
        agent = head.get(b"user-agent")
        if not agent or self._no_cookie_agent(agent[:_AGENT]):
            return False
        return self._no_path is None or self._no_path.match(head.path) is None

    def mark(self, facts: Facts, server: str) -> bytes | None:
        """See IMarker: a session cookie, new where the client has none, a forged one or another server's."""
        head = facts.get(RequestHead)
        token = self._tokens.get(server)
        if head is None or token is None:
            return None
        shown = self.shown(head)
        if token in shown or not self.may_be_given(facts, head):
            return None
        if shown and self._once and facts.get(Served) == Served(server):
            # Connections of one browser that began with two servers would take the cookie from each other.
            return None
        return self.name + b"=" + token + self._attributes


def _any_of(words: tuple[str, ...], form: str, strip: str = "") -> re.Pattern[bytes] | None:
    fit = [re.escape(word.rstrip(strip) if strip else word) for word in words]
    if not fit:
        return None
    return re.compile(form.format("|".join(fit)).encode(), re.IGNORECASE)
