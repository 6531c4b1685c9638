"""The front door: names and strings only. Nothing is imported until it is used.

A plugin of yours stands in a file of your own, ``twisted/plugins/NAME_plugin.py``, in the same words.
"""

from twisted.application.service import ServiceMaker

from exproxy.interfaces import (
    ICheckPlugin,
    ICommandPlugin,
    IPersistencePlugin,
    IProtocolPlugin,
    ISchedulingPlugin,
)
from exproxy.lazy import Lazy

exproxy = ServiceMaker(  # type: ignore[no-untyped-call]  # Twisted has no types for it
    "exproxy", "exproxy.tap", "A load balancer for Microsoft Exchange and mail.", "exproxy"
)

tcp = Lazy(IProtocolPlugin, "tcp", "protocols.tcp:plugin")
tls = Lazy(IProtocolPlugin, "tls", "protocols.tls:plugin")
rpc = Lazy(IProtocolPlugin, "rpc", "protocols.msrpc.rpc:plugin")
epm = Lazy(IProtocolPlugin, "epm", "protocols.msrpc.epm:plugin")
smtp = Lazy(IProtocolPlugin, "smtp", "protocols.mail.smtp:plugin")
imap = Lazy(IProtocolPlugin, "imap", "protocols.mail.imap:plugin")
pop = Lazy(IProtocolPlugin, "pop", "protocols.mail.pop:plugin")
http = Lazy(IProtocolPlugin, "http", "protocols.http.plugin:http")
https = Lazy(IProtocolPlugin, "https", "protocols.http.plugin:https")

none = Lazy(IPersistencePlugin, "none", "exproxy.persistence.none:plugin")
source_ip = Lazy(IPersistencePlugin, "source-ip", "exproxy.persistence.source_ip:plugin")
super_http = Lazy(IPersistencePlugin, "super-http", "protocols.http.super_http:plugin")
cookie = Lazy(IPersistencePlugin, "cookie", "protocols.http.cookie:plugin")
server_cookie = Lazy(IPersistencePlugin, "server-cookie", "protocols.http.server_cookie:plugin")
header = Lazy(IPersistencePlugin, "header", "protocols.http.header:plugin")
rpc_association = Lazy(IPersistencePlugin, "rpc-association", "protocols.msrpc.association:plugin")
user = Lazy(IPersistencePlugin, "user", "protocols.user:plugin")
tls_session = Lazy(IPersistencePlugin, "tls-session", "protocols.tls_session:plugin")

round_robin = Lazy(ISchedulingPlugin, "round-robin", "exproxy.scheduling:round_robin")
least_connections = Lazy(ISchedulingPlugin, "least-connections", "exproxy.scheduling:least_connections")
source_hash = Lazy(ISchedulingPlugin, "source-hash", "exproxy.scheduling:source_hash")
random_choice = Lazy(ISchedulingPlugin, "random", "exproxy.scheduling:random_choice")

connect_check = Lazy(ICheckPlugin, "connect", "exproxy.checks.connect:plugin")
tls_check = Lazy(ICheckPlugin, "tls", "exproxy.checks.tls:plugin")
http_check = Lazy(ICheckPlugin, "http", "protocols.http.check:plugin")
smtp_check = Lazy(ICheckPlugin, "smtp", "protocols.mail.smtp_check:plugin")
imap_check = Lazy(ICheckPlugin, "imap", "protocols.mail.imap_check:plugin")
pop_check = Lazy(ICheckPlugin, "pop", "protocols.mail.pop_check:plugin")
rpc_check = Lazy(ICheckPlugin, "rpc", "protocols.msrpc.check:rpc")
epm_check = Lazy(ICheckPlugin, "epm", "protocols.msrpc.check:epm")

epm_command = Lazy(ICommandPlugin, "epm", "protocols.msrpc.command:plugin")
