"""Simulated Exchange servers on loopback, to try exproxy without an Exchange.

A lab is a few :class:`~exproxy.lab.server.LabServer`, each with the services of a client access server:
HTTPS virtual directories, the endpoint mapper, RPC Client Access, the Address Book, SMTP, IMAP and POP.
Every service names its server in the protocol's own way (a header, a greeting, a stub), so that whoever
looks from outside can see which server a balancer chose, and can be stopped, made to hang, to refuse or to
reset. Mail is real: both servers share one store in memory, as the servers of one organisation do.

What is simulated and what is not is said in each module; nothing here is meant to face a network.
"""
