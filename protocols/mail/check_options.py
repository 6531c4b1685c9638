"""What the checks of SMTP, IMAP and POP have in common: STARTTLS, and a login by a test account."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field, model_validator

from exproxy.checks.dialogue import Dialogue
from exproxy.checks.record import Check
from exproxy.interfaces import ICheck


class MailCheckOptions(BaseModel):
    """Options of each of the three."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    starttls: bool = Field(
        default=False,
        description="Ask for STARTTLS. It is asked for anyway where the backend's TLS has mode starttls.",
    )
    user: str | None = Field(
        default=None,
        pattern=r"^[^\x00-\x1f\x7f]{1,255}$",
        description="Log in as this test account, and log out.",
    )
    password: str | None = Field(
        default=None,
        pattern=r"^[^\x00-\x1f\x7f]{0,255}$",
        repr=False,
        description="Its password, best by !file.",
    )

    @model_validator(mode="after")
    def _both(self) -> MailCheckOptions:
        if (self.user is None) != (self.password is None):
            raise ValueError("a login needs both user and password")
        return self

    @property
    def login(self) -> tuple[bytes, bytes] | None:
        """User and password, or None."""
        if self.user is None or self.password is None:
            return None
        return self.user.encode(), self.password.encode()


def checking(options: MailCheckOptions, make: Callable[[bool], Dialogue]) -> ICheck:
    """The check of one pool; ``make(starttls)`` gives a dialogue with or without STARTTLS."""
    check = Check(lambda: make(False), upgrading=lambda: make(True))
    return check.upgraded() if options.starttls else check
