"""Injections and smuggled mails through exproxy and nginx's mail proxy, before a real Postfix and Dovecot.

    python -m bench.mail              # from the root of a checkout, as root; see tests/peers/packages.txt

Everything runs in a network namespace, and ends with the tool. The tables are Markdown, as in docs/mail.md.
"""

from __future__ import annotations

import sys

from tests.peers import attacks
from tests.peers.kit.needs import missing
from tests.peers.kit.site import Site


def main() -> int:
    """Print both tables."""
    if reason := missing("namespace") or missing("dovecot") or missing("postfix") or missing("nginx-mail"):
        print(f"bench.mail: {reason}", file=sys.stderr)
        return 0
    site = Site()
    try:
        for kind in (site.dovecot, site.postfix):
            assert kind
        for proxy in (attacks.exproxy(site), attacks.nginx(site)):
            proxy.start()
        with site.namespace.entered():
            ours = attacks.table(attacks.Attacks(site, attacks.PROXY))
            theirs = attacks.table(attacks.Attacks(site, attacks.NGINX))
            ends = attacks.smuggling(site)
    finally:
        site.close()
    print("| what is tried | exproxy | nginx |\n|---|---|---|")
    for text, found in ours.items():
        print(f"| {text} | {found} | {theirs[text]} |")
    print("\n| end | Postfix alone | `bare-newline: pass` | exproxy | nginx |\n|---|---|---|---|---|")
    for end, counts in ends.items():
        print(f"| `{end}` | {' | '.join(counts)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
