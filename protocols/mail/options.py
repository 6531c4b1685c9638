"""What a configuration may say of SMTP, IMAP and POP: ``protocol: {imap: {routing: user}}``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator
from zope.interface import implementer

from exproxy.interfaces import IProtocolPlugin, IService
from exproxy.model import Destination, Facts, User
from exproxy.plugins import Options
from exproxy.protocol import Protocol
from exproxy.question import Asked, Client

_KEYWORD = r"^[A-Za-z0-9][A-Za-z0-9=_.+-]*( [!-~]+)*$"


def _upper(word: str) -> str:
    return word.upper()


Keyword: TypeAlias = Annotated[str, Field(pattern=_KEYWORD, max_length=255)]
Mechanism: TypeAlias = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]{1,20}$"), AfterValidator(_upper)
]  # RFC 4422 3.1


class MailOptions(Options):
    """What the three have in common."""

    routing: Literal["backend", "user"] = Field(
        default="backend",
        description="backend: a server is chosen at once, and its own greeting is passed on; user: exproxy "
        "greets, and chooses by who logs in.",
    )
    relay: Literal["full", "watched"] | None = Field(
        default=None,
        description="watched: exproxy follows the commands to the end, so that it can speak when it drains; "
        "full: bytes pass unread as soon as nothing else needs reading. Default: watched where exproxy ends "
        "the client's TLS, else full.",
    )
    require_tls: bool | None = Field(
        default=None,
        description="No credentials before TLS. Default: true where exproxy offers STARTTLS, else false.",
    )
    bare_newline: Literal["refuse", "pass"] | None = Field(
        default=None,
        description="A CR or LF alone, in commands and in messages of SMTP; refuse closes the connection. "
        "Default: refuse wherever exproxy reads at all.",
    )
    greeting: Annotated[str, Field(pattern=r"^[!-~]([ -~]{0,200}[!-~])?$")] | None = Field(
        default=None,
        description="The name that exproxy greets with in `routing: user`. Default: the service's host-name.",
    )
    offer: tuple[Keyword, ...] = Field(
        default=(), description="Capabilities that are told to clients beside those of the protocol."
    )
    hide: tuple[Keyword, ...] = Field(default=(), description="Capabilities that clients are not told.")
    mechanisms: tuple[Mechanism, ...] = Field(
        default=("PLAIN", "LOGIN"),
        description="The SASL mechanisms that `routing: user` offers; all but PLAIN and LOGIN name no user "
        "before the server is chosen.",
    )
    commands: int = Field(
        default=100,
        ge=1,
        strict=True,
        description="Commands that a client may send before it has logged in (or, in SMTP, begun a mail).",
    )
    bad_commands: int = Field(
        default=3, ge=1, strict=True, description="At so many commands that do not exist it is closed."
    )
    failed_logins: int = Field(
        default=3, ge=1, strict=True, description="At so many failed logins it is closed."
    )

    @property
    def tells_address(self) -> bool:
        """Whether the server is told the client's address in words."""
        return getattr(self, "client_address", "none") != "none"

    @property
    def said(self) -> tuple[str, ...]:
        """The options, as in the file, that can be kept only where the dialogue is read."""
        found = ["routing"] if self.routing == "user" else []
        found += [name for name in ("offer", "hide") if getattr(self, name)]
        found += ["require-tls"] if self.require_tls else []
        found += ["bare-newline"] if self.bare_newline is not None else []
        return (*found, *(["client-address"] if self.tells_address else []))


class SmtpOptions(MailOptions):
    """Options of ``smtp``."""

    client_address: Literal["none", "xclient"] = Field(
        default="none",
        description="xclient: the server is told the client's address by XCLIENT, which it must offer.",
    )

    @model_validator(mode="after")
    def _fits(self) -> SmtpOptions:
        if self.relay == "full" and self.said:
            raise ValueError(
                f"relay: full leaves all after the greeting unread, so {self.said[0]} could not be kept; "
                "remove one of the two"
            )
        return self


class ImapOptions(MailOptions):
    """Options of ``imap``."""

    client_address: Literal["none", "id"] = Field(
        default="none",
        description="id: the server is told the client's address by ID, as Dovecot takes it from "
        "login_trusted_networks.",
    )


class PopOptions(MailOptions):
    """Options of ``pop``."""

    client_address: Literal["none", "xclient"] = Field(
        default="none",
        description="xclient: the server is told the client's address by XCLIENT, as Dovecot takes it from "
        "login_trusted_networks.",
    )


@implementer(IProtocolPlugin)
@dataclass(frozen=True)
class MailProtocol(Protocol):
    """The record of one of the three. ``alpn``: what a TLS handshake with the client may agree upon; a
    browser, which offers others, is turned away there already."""

    alpn: tuple[bytes, ...] = ()

    def given(self, options: Any) -> tuple[type, ...]:
        """The facts of a Pick with these options: the user is known only where exproxy greets."""
        return (User,) if options.routing == "user" else ()

    def asked(self, service: IService, facts: Facts, client: Client) -> Asked:
        """See IAsking: the name counts where it is known before the server is chosen."""
        reads_it = service.port_tls(facts[Destination].listening) != "passthrough"
        known = client.user and reads_it and User in self.given(service.options)
        return Asked(facts.plus(User(client.user)) if known else facts)

    # What an administrator is told whose persistence lacks the user.
    advice = "write protocol: {%s: {routing: user}}, so that the user is known before the server is chosen"


def reads(service: IService, port: int) -> bool:
    """Whether the dialogue on that listening port is read past the greeting."""
    options, mode = service.options, service.port_tls(port)
    if mode == "passthrough" or not isinstance(options, MailOptions):
        return False
    if mode == "starttls" or service.backend_starttls(port) is not None or options.said:
        return True
    return options.relay == "watched" or (options.relay is None and mode == "implicit")
