"""All kinds of clients, and how often each of them comes."""

from __future__ import annotations

from bench.soak.clients import mail, rude, streams, web
from bench.soak.clients.attempt import Kind

KINDS: dict[str, tuple[Kind, int]] = {
    "short TCP": (streams.short, 12),
    "chat": (streams.chat, 8),
    "TCP down": (streams.download, 4),
    "TCP up": (streams.upload, 4),
    "TCP both ways": (streams.both, 3),
    "TCP half-close": (streams.half_closing, 4),
    "slow reader": (streams.slow_reader, 3),
    "RPC": (streams.rpc, 8),
    "browser": (web.browser, 12),
    "Basic user": (web.user, 8),
    "HTTP down": (web.download, 4),
    "HTTP up": (web.upload, 4),
    "pipelined": (web.ahead, 3),
    "HTTP half-close": (web.half_closing, 3),
    "long poll": (web.waiting, 5),
    "upgrade": (web.upgraded, 4),
    "PROXY header": (web.proxied, 4),
    "IMAP": (mail.imap, 5),
    "POP": (mail.pop, 4),
    "SMTP": (mail.smtp, 4),
    "SMTP relayed": (mail.relayed_smtp, 3),
    "rubbish": (rude.rubbish, 2),
    "too much": (rude.too_much, 2),
    "too slow": (rude.too_slow, 2),
    "slow body": (rude.slow_body, 1),
    "nothing": (rude.nothing, 2),
    "half a hello": (rude.half_a_hello, 2),
    "gone, TCP down": (rude.gone_down, 2),
    "gone, TCP up": (rude.gone_up, 2),
    "gone, HTTP": (rude.gone_web, 4),
    "gone, mail": (rude.gone_mail, 3),
    "deaf": (rude.deaf, 1),
    "too many": (rude.too_many, 1),
}
"""By name: what it does, and its weight."""
