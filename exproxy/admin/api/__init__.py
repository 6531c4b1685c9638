"""The administration over HTTP: one table of routes gives routing, roles, the audit, the OpenAPI document.

``route`` and ``table`` are that table, ``models`` what is asked and answered, ``handlers`` what is done,
``access`` who may do it (pure), ``resource`` and ``channel`` the HTTP of it, by twisted.web, ``stream`` the
server-sent events, ``openapi`` the document. :mod:`exproxy.admin.service` listens.
"""
