"""RPC interfaces by name: Exchange's own, and those that stand beside them on a server.

Exchange's are in MS-OXCRPC 1.9, MS-NSPI 2.1 and MS-OXABREF 2.1; the others in the documents named MS-….
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Interface:
    """An RPC interface. ``name`` is a word of :data:`KNOWN`, or the UUID in lower case."""

    name: str
    uuid: UUID
    major: int = 1
    minor: int = 0
    title: str = ""


def _known(*rows: tuple[str, str, int, int, str]) -> dict[str, Interface]:
    return {
        name: Interface(name, UUID(uuid), major, minor, title) for name, uuid, major, minor, title in rows
    }


KNOWN = _known(
    ("emsmdb", "a4f1db00-ca47-1067-b31f-00dd010662da", 0, 81, "Exchange RPC Client Access (mailboxes)"),
    ("async-emsmdb", "5261574a-4572-206e-b268-6b199213b4e4", 0, 1, "Exchange RPC Client Access (waiting)"),
    ("nspi", "f5cc5a18-4264-101a-8c59-08002b2f8426", 56, 0, "Exchange Address Book"),
    ("rfri", "1544f5e0-613c-11d1-93df-00c04fd7bd09", 1, 0, "Exchange Address Book (referral)"),
    ("epmapper", "e1af8308-5d1f-11c9-91a4-08002b14a0fa", 3, 0, "endpoint mapper"),
    ("mgmt", "afa8bd80-7d8a-11c9-bef4-08002b102989", 1, 0, "remote management (every RPC server)"),
    ("samr", "12345778-1234-abcd-ef00-0123456789ac", 1, 0, "accounts (MS-SAMR)"),
    ("lsarpc", "12345778-1234-abcd-ef00-0123456789ab", 0, 0, "local security authority (MS-LSAD)"),
    ("netlogon", "12345678-1234-abcd-ef00-01234567cffb", 1, 0, "Netlogon (MS-NRPC)"),
    ("drsuapi", "e3514235-4b06-11d1-ab04-00c04fc2dcd2", 4, 0, "directory replication (MS-DRSR)"),
    ("dssetup", "3919286a-b10c-11d0-9ba8-00c04fd92ef5", 0, 0, "directory set-up (MS-DSSP)"),
    ("wkssvc", "6bffd098-a112-3610-9833-46c3f87e345a", 1, 0, "workstation (MS-WKST)"),
    ("srvsvc", "4b324fc8-1670-01d3-1278-5a47bf6ee188", 3, 0, "file server (MS-SRVS)"),
    ("winreg", "338cd001-2244-31f1-aaaa-900038001003", 1, 0, "remote registry (MS-RRP)"),
    ("svcctl", "367abb81-9844-35f1-ad32-98f038001003", 2, 0, "services (MS-SCMR)"),
)
_BY_UUID = {each.uuid: each for each in KNOWN.values()}

EPM = KNOWN["epmapper"]
# Its calls wait for news for minutes (EcDoAsyncWaitEx, MS-OXCRPC 3.3.4.1): none of them is work under way.
WAITING = KNOWN["async-emsmdb"]


def named(uuid: UUID) -> str:
    """The name of an interface, or its UUID."""
    known = _BY_UUID.get(uuid)
    return known.name if known is not None else str(uuid)


def title(uuid: UUID) -> str:
    """What that interface is, for people; "" where that is not known here."""
    known = _BY_UUID.get(uuid)
    return known.title if known is not None else ""


def interface(text: str) -> Interface:
    """The interface that ``text`` means: a name, or UUID, or UUID@MAJOR or UUID@MAJOR.MINOR (1.0 without it).

    Raises ValueError with a text for an administrator.
    """
    known = KNOWN.get(text.lower())
    if known is not None:
        return known
    written, _, version = text.partition("@")
    try:
        uuid = UUID(written)
    except ValueError:
        near = difflib.get_close_matches(text.lower(), KNOWN, 1)
        advice = (
            f"did you mean {near[0]!r}?" if near else f"there are {', '.join(list(KNOWN)[:4])} and others"
        )
        raise ValueError(
            f"unknown RPC interface {text!r}; {advice} (a UUID, or UUID@MAJOR.MINOR, does too)"
        ) from None
    if not version:
        return _BY_UUID.get(uuid) or Interface(str(uuid), uuid)
    major, _, minor = version.partition(".")
    if not (major.isdecimal() and (minor or "0").isdecimal()) or max(int(major), int(minor or 0)) > 0xFFFF:
        raise ValueError(f"{text!r}: the version behind @ must be MAJOR or MAJOR.MINOR, like 1.0")
    return Interface(named(uuid), uuid, int(major), int(minor or 0))
