"""nginx's mail proxy before Postfix and Dovecot: STARTTLS with clients, plain text to its servers."""

from __future__ import annotations

from .process import Process
from .server import PUBLIC
from .site import SERVERS, Site

ADDRESS = "127.0.0.2"
_PORTS = (25, 110, 143)
# The last server answers the proxy's question who may log in, and where: everybody, at ex1.
_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
error_log {folder}/error.log info;
events {{ worker_connections 1024; }}
mail {{
  server_name {public};
  auth_http {address}:8025/;
  proxy_pass_error_message on;
  ssl_certificate {pem};
  ssl_certificate_key {pem};
  server {{ listen {address}:25; protocol smtp; smtp_auth none; starttls on; }}
  server {{ listen {address}:143; protocol imap; starttls only; }}
  server {{ listen {address}:110; protocol pop3; starttls only; }}
}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $http_auth_protocol $where {{ smtp 25; imap 143; pop3 110; }}
  server {{
    listen {address}:8025;
    add_header Auth-Status OK;
    add_header Auth-Server {server};
    add_header Auth-Port $where;
    return 200;
  }}
}}
"""


class NginxMail(Process):
    """Listens at ADDRESS, ports 25, 110 and 143; its servers are ex1's. Ended with the site."""

    def __init__(self, site: Site) -> None:
        """Start it with start()."""
        folder = site.new_folder("nginx-mail")
        path = folder / "nginx.conf"
        argv = ["nginx", "-c", str(path), "-e", str(folder / "error.log")]
        super().__init__(site.namespace, "nginx-mail", argv, folder, [(ADDRESS, port) for port in _PORTS])
        path.write_text(
            _CONFIGURATION.format(
                folder=folder,
                address=ADDRESS,
                public=PUBLIC,
                pem=site.places["ex1"].pem,
                server=SERVERS["ex1"],
            )
        )
        site.adopt(self)
