"""exproxy: a load balancer and proxy framework for Microsoft Exchange and mail.

The house, from the bottom up (an arrow of imports only ever points down):

0. ``model events actions errors interfaces`` - the words; frozen values, no I/O.
1. ``pool scheduling persistence store health`` - decisions; pure, on an injected clock.
2. ``wire relay tls listener session monitor checks`` - the only code that meets a transport.
3. ``protocols`` (a package beside this one) - what exproxy speaks; never imported from here.
4. ``config plugins service tap ctl lab`` - configuration, wiring, the command line.
5. ``twisted/plugins/exproxy_plugin.py`` - names and strings; found by twistd and ``getPlugins``.

A plugin author reads :mod:`exproxy.interfaces` and docs/write-a-protocol.md.
"""

__version__ = "0.1.0"
