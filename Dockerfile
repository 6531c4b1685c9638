# docker build -t exproxy . && docker run -v ./etc:/etc/exproxy:ro -v exproxy:/var/lib/exproxy -p 443:443 exproxy
# See docs/installation.md.
ARG BASE=python:3.13-slim
FROM ${BASE} AS build
COPY . /src
RUN python3 -m venv /opt/exproxy \
 && /opt/exproxy/bin/pip install --no-cache-dir /src \
# Twisted keeps a list of plugins beside them, which the user exproxy may not write.
 && /opt/exproxy/bin/python -c "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))"

FROM ${BASE}
RUN useradd --system --uid 8404 --home-dir /var/lib/exproxy --shell /usr/sbin/nologin exproxy \
 && install -d -o exproxy -g exproxy /var/lib/exproxy \
 && install -d /etc/exproxy
COPY --from=build /opt/exproxy /opt/exproxy
ENV PATH=/opt/exproxy/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER exproxy
VOLUME /var/lib/exproxy
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["exproxyctl", "ping"]
ENTRYPOINT ["twistd", "-n", "--pidfile=", "exproxy"]
CMD ["-c", "/etc/exproxy/exproxy.yaml"]
