"""nginx: HTTPS at 443, pages at Exchange's paths; behind the PROXY protocol at 1443."""

from __future__ import annotations

from .server import Place, Server

PATHS = ("owa", "ecp", "ews", "Microsoft-Server-ActiveSync", "oab", "rpc", "mapi", "autodiscover")
LARGE = 1 << 20
_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 8192; }}
worker_rlimit_nofile 20000;
http {{
  log_format who '$remote_addr:$remote_port $connection/$connection_requests "$request" $status '
                 '"$http_x_forwarded_for" "$http_x_request_id" "$http_user_agent"';
  access_log {folder}/access.log who;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  types {{ text/html htm; text/plain txt; }}
  keepalive_requests 100000;
  client_max_body_size 16m;
  add_header X-Server {server} always;
  add_header X-Connection $connection/$connection_requests always;
  add_header X-Seen-Host $http_host always;
  add_header X-Seen-Cookie $http_cookie always;
  add_header X-Seen-Forwarded-For $http_x_forwarded_for always;
  add_header X-Seen-Request-Length $request_length always;
  add_header X-Seen-Proxy $proxy_protocol_addr always;
  server {{
    listen {address}:443 ssl backlog=4096;
    listen {address}:1443 ssl proxy_protocol;
    ssl_certificate {pem};
    ssl_certificate_key {pem};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:1m;
    root {folder}/www;
    location = / {{ return 302 /owa/; }}
    location = /healthcheck.htm {{ default_type text/html; return 200 "200 OK<br/>{host}"; }}
    location = /denied {{ add_header WWW-Authenticate NTLM always; add_header X-Server {server} always;
                          return 401 "{server} asks who you are\\n"; }}
    location = /broken {{ return 503 "{server} is broken\\n"; }}
    location /chunked/ {{ alias {folder}/www/length/; ssi on; ssi_types *; }}
    location /upload/ {{ dav_methods PUT DELETE; create_full_put_path on; }}
  }}
}}
"""


class Nginx(Server):
    """Its body and its field X-Server name it: `ex1 owa`.

    /owa/ and the other PATHS answer 200 with a length, /chunked/page.txt and /chunked/large.txt are
    chunked (/length/ has the same with a length; LARGE bytes), /denied is 401 with NTLM, /broken 503,
    /healthcheck.htm as Exchange's; PUT /upload/x is kept and read back with GET. X-Connection
    ("7/2": its connection's number / the request's number on it), X-Seen-Host, X-Seen-Cookie,
    X-Seen-Forwarded-For and X-Seen-Request-Length tell what came, X-Seen-Proxy of whom a PROXY header told.
    """

    kind = "nginx"
    ports = (443, 1443)

    def __init__(self, place: Place) -> None:
        """Write its configuration and its pages."""
        configuration = place.folder / f"{self.kind}-{place.server}" / "nginx.conf"
        super().__init__(
            place, ["nginx", "-c", str(configuration), "-e", str(configuration.parent / "error.log")]
        )
        configuration.write_text(
            _CONFIGURATION.format(
                folder=self.folder,
                server=self.server,
                host=self.host,
                address=self.address,
                pem=place.pem,
            )
        )
        www = self.folder / "www"
        for path in PATHS:
            (www / path).mkdir(parents=True)
            (www / path / "index.html").write_text(f"{self.server} {path}\n")
        (www / "upload").mkdir()
        (www / "upload").chmod(0o777)  # its worker is nobody
        (www / "length").mkdir()
        (www / "length" / "page.txt").write_text(f"{self.server} page\n")
        line = f"{self.server} ".encode()
        (www / "length" / "large.txt").write_bytes((line * (LARGE // len(line) + 1))[:LARGE])
