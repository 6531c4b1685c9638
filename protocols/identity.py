r"""One person, many spellings: ``EX\anna``, ``anna@ex.test``, ``ANNA@mail.litware.com`` and ``anna``."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

# Characters of a name that are looked at; whoever has a longer one is known by its begin.
LONGEST = 1024


def normal(text: str) -> str:
    """One spelling for all cases and widths of the same letters (NFKC, then case folding)."""
    return unicodedata.normalize("NFKC", text[:LONGEST]).strip().casefold()


def parts(name: str) -> tuple[str, str]:
    r"""(user, domain) of ``domain\user``, ``user@domain`` or ``user``, in one spelling; "" for no domain.

    ``domain/user/mailbox`` and ``domain\user\mailbox`` are how Exchange opens a shared mailbox by IMAP
    and POP: it is the mailbox that counts.
    """
    text = normal(name)
    pieces = text.replace("/", "\\").split("\\")
    if len(pieces) > 1:
        return pieces[-1].partition("@")[0], pieces[0]
    user, _, domain = text.rpartition("@")
    return (user, domain) if user else (text.strip("@"), "")


def identity(name: str, domains: Collection[str] | None = None) -> tuple[str, ...]:
    """What two spellings of one person have in common: (user,), or (user, domain) where the domain counts.

    ``domains``: those, in normal spelling, that are one, no domain at all being one of them too; None:
    all are. () for no name.
    """
    user, domain = parts(name)
    if not user:
        return ()
    if domains is None or not domain or domain in domains:
        return (user,)
    return (user, domain)
