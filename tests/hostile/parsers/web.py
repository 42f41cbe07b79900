"""Who may connect: the web config file, the PEM files it names, passwords in requests, targets of /probe."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp

from exporter import probe, probe_config
from renewctl.errors import Unusable
from renewctl.web import config, tls, users
from renewctl.web.config import ClientAuth, Tls
from tests.hostile.parser import Made, Parser
from tests.support.web_pki import Authority

_CONFIG = b"""
tls_server_config:
  {cert_file: a.pem, key_file: a.key, client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert,
   client_allowed_sans: [prometheus.example], min_version: TLS12, cipher_suites: [TLS_AES_128_GCM_SHA256]}
http_server_config: {http2: true, headers: {X-Frame-Options: deny, Content-Security-Policy: default-src 'none'}}
basic_auth_users: {prometheus: $2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG}
rate_limit: {interval: 1m30s, burst: 20}
"""

_MODULES = b"""
modules:
  branch: {product: nanomdm, targets: ["https://*.branch.example.com:9000"], topics: [tokyo], ca_file: ca.pem}
  head: {product: nanomdm, targets: ["https://mdm.example.com"], user: nanomdm, password: {file: /etc/key}}
"""


def _config() -> Made:
    path = Path(mkdtemp(), "web.yml")

    def take(data: bytes) -> None:
        path.write_bytes(data)
        config.load(path)

    return Made(take, [_CONFIG, b"", b"rate_limit: {interval: 0}\n"])


def _pem() -> Made:
    """Certificate, key and CA in one file, as `cat` makes it."""
    path, authority = Path(mkdtemp(), "all.pem"), Authority()
    certificate, key = authority.server()

    def take(data: bytes) -> None:
        path.write_bytes(data)
        tls.greeting(Tls(path, path, path, ClientAuth.REQUIRE))

    return Made(take, [certificate + authority.pem + key])


def _authorization() -> Made:
    def take(data: bytes) -> None:
        users.credentials(data.decode("latin-1"))  # as the server hands headers out

    return Made(take, [b"Basic cHJvbWV0aGV1czpwYXNzOndvcmQ=", b"basic Og=="])


def _peer() -> Made:
    """What OpenSSL says a verified client is called."""

    def take(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        tls.may_stay({"subjectAltName": (("IP Address", text), ("DNS", text))}, ["2001:db8::1"])

    return Made(take, [b"2001:DB8:0:0:0:0:0:1\n", b"prometheus.example"])


def _modules() -> Made:
    path = Path(mkdtemp(), "probe.yml")

    def take(data: bytes) -> None:
        path.write_bytes(data)
        probe_config.check(probe_config.load(path), {"tokyo"}, path)

    return Made(take, [_MODULES])


def _asked() -> Made:
    """The query and the header of a request to /probe."""

    def take(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        target = probe_config.read_target(text)
        assert target is None or probe_config.read_target(f"https://{target.address}") is not None
        assert 0 < probe.seconds_for(text) <= probe.LONGEST_SECONDS

    return Made(take, [b"mdm1.branch.example.com:9000", b"http://[2001:db8::1]:8080/", b"10.5"])


PARSERS = [
    Parser("web.config", _config, ["renewctl.web.config"], (Unusable,)),
    Parser("web.pem", _pem, ["renewctl.web.tls"], (Unusable,)),
    Parser("web.peer", _peer, ["renewctl.web.tls"]),
    Parser("web.authorization", _authorization, ["renewctl.web.users"]),
    Parser("web.modules", _modules, ["exporter.probe_config"], (Unusable,)),
    Parser("web.asked", _asked, ["exporter.probe", "exporter.probe_config"]),
]
