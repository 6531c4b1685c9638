"""What to try with a running demonstration, as text: a pure function of its addresses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

Address = tuple[str, int]


def what_to_try(
    addresses: Mapping[str, Address],
    name: str,
    password: str,
    control: str | None = None,
    server: str = "l12ex1",
    ca: str | None = None,
) -> str:
    """Commands to type, for those of the proxy's services that `addresses` has.

    `name` is the one under which clients meet the services, `control` the lab's control (``host:port``),
    `server` one of its servers, `ca` a PEM file to verify with.
    """
    blocks = [
        _block("Who serves me?", _web(addresses, name, password, ca)),
        _block("Mail", _mail(addresses, name, password)),
        _block(f"Break {server}, watch the table, mend it", _control(control, server)),
    ]
    return "\n".join(block for block in blocks if block)


def _block(title: str, lines: list[str]) -> str:
    return "\n".join([title + ":", *(f"  {line}" for line in lines), ""]) if lines else ""


def _web(addresses: Mapping[str, Address], name: str, password: str, ca: str | None) -> list[str]:
    if "https" not in addresses:
        return []
    host, port = addresses["https"]
    trust = f"--cacert {ca}" if ca else "-k"
    curl = f"curl -s {trust} --resolve {name}:{port}:{host}"
    url = f"https://{name}:{port}"
    # With the lab's own files, so that trying leaves nothing among the project's.
    jar = PurePath(ca).with_name("jar") if ca else "jar"
    return [
        f"{curl} {url}/owa/healthcheck.htm",
        f"{curl} -u anna:{password} -D- -o /dev/null {url}/Microsoft-Server-ActiveSync",
        f"{curl} -c {jar} -b {jar} -D- -o /dev/null {url}/owa/      # twice: the cookie keeps the server",
        f"browser: https://{host}:{port}/owa/",
    ]


def _mail(addresses: Mapping[str, Address], name: str, password: str) -> list[str]:
    lines = []
    for service, flags in (
        ("imaps", ""),
        ("pops", ""),
        ("imap", " -starttls imap"),
        ("smtp", " -starttls smtp"),
    ):
        if service in addresses:
            host, port = addresses[service]
            lines.append(f"openssl s_client -crlf -quiet -servername {name}{flags} -connect {host}:{port}")
    if "smtp" in addresses:
        host, port = addresses["smtp"]
        sending = "--mail-from bob@litware.test --mail-rcpt anna@litware.test -T README.md"
        lines.append(f"curl -s smtp://{host}:{port} {sending}")
    if "pop" in addresses:
        host, port = addresses["pop"]
        lines.append(f"curl -s -u anna:{password} pop3://{host}:{port}/1")
    if "imap" in addresses:
        host, port = addresses["imap"]
        lines.append(f"a mail client: IMAP {host} port {port}, any user, password {password}")
    return lines


def _control(control: str | None, server: str) -> list[str]:
    if control is None:
        return []
    return [
        f"curl -s -X POST http://{control}/{server}/imap/hang      # ok, stop, hang, refuse, reset",
        f"curl -s -X POST http://{control}/{server}/all/stop",
        f"curl -s -X POST http://{control}/{server}/all/ok",
        f"curl -s http://{control}/",
    ]
