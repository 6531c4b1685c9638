"""Real servers and clients, two of each server, in a network namespace of their own.

A test class names what it needs and finds it running; see `case.PeerCase`. The pieces:

cable.py     an Ethernet cable between two namespaces
netns.py     a namespace without a name: it goes with its last user, even when the tests are killed
guardian.py  what clears away where the tests were killed
process.py   a program in a session of its own: start, stop, kill -9, freeze, thaw, always reaped
dovecot.py postfix.py nginx.py samba.py mapper.py windows.py kerberos.py
             a server on 127.0.0.11 (ex1) or 127.0.0.12 (ex2), at the standard ports, that says who it is
ndr64.py     scapy as an endpoint mapper and its client
haproxy.py   HAProxy before or behind exproxy; pages.py chromium.py: a browser and the pages for it
site.py      the namespace, its folder, its authority, its servers, its clients; nothing of it stays behind
rpc.py stub.py pdus.py interfaces.py
             an RPC client on a bare socket, and a server that says who it is
conformance.py
             Samba's suite raw_protocol
clients.py   curl, openssl s_client, swaks, rpcclient, smbtorture, impacket, each with a time limit
proxy.py     exproxy itself under twistd, in the same namespace, on 127.0.0.1
needs.py     a missing peer is a skip that names it, or a failure where EXPROXY_NO_SKIP=1
"""
