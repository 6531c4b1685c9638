"""Checks that know no application protocol, and what all checks are made of.

* :mod:`exproxy.checks.dialogue`: a question as a list of steps, "expect a banner, send QUIT",
* :mod:`exproxy.checks.record`: the records that make a check known,
* ``connect`` and ``tls``: the two that only reach the server.
"""
