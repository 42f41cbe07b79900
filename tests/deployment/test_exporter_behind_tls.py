"""The deployed exporter behind a web configuration: TLS, a password, and what Prometheus needs for both."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path

import bcrypt
import pytest
from cryptography import x509

from tests.support import prometheus
from tests.support.deployment import HOME, Site, free_address
from tests.support.https import ask, basic, client
from tests.support.prometheus_server import configured, wait_for
from tests.support.sandbox_parts import eventually
from tests.support.web_pki import Authority, write_pair

pytestmark = pytest.mark.slow

USERS = {"prometheus": bcrypt.hashpw(b"swordfish", bcrypt.gensalt(4)).decode()}
KNOWN = basic("prometheus", "swordfish")
CERTIFICATE, KEY = "/srv/tls/server.pem", "/srv/tls/server.key"
WEB: Mapping[str, object] = {
    "tls_server_config": {
        "cert_file": CERTIFICATE,
        "key_file": "/run/credentials/renewctl-exporter.service/tls.key",
    },
    "basic_auth_users": USERS,
}


class Behind:
    """A site whose exporter answers over TLS to who knows the password."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.authority = Authority()
        self.probe = free_address()
        self.port = int(site.address.rpartition(":")[2])
        self.tls = site.host.path("/srv/tls")
        self.tls.mkdir()
        self.renew("first")
        self.ca = site.folder / "exporter-ca.pem"
        self.ca.write_bytes(self.authority.pem)
        self.configure(WEB)

    def renew(self, common_name: str) -> None:
        """A new pair, each file by rename; the key is root's alone."""
        write_pair(self.tls, self.authority.server(common_name))
        (self.tls / "server.key").chmod(0o600)

    def configure(self, web: Mapping[str, object]) -> None:
        """The controller's file (JSON is YAML)."""
        (self.site.folder / "web.yml").write_text(json.dumps(web))

    def play(self, code: int = 0, **more: object) -> str:
        """Deploy it, as DEPLOY.md says."""
        asked = {
            "exporter_web_config": "web.yml",
            "exporter_probe_listen": self.probe,
            "exporter_certificates": [CERTIFICATE],
            "exporter_credentials": {"tls.key": KEY},
        }
        return self.site.play(code=code, **asked, **more).text

    def status(self, headers: Mapping[str, str], path: str = "/metrics") -> int:
        """What it answers over TLS."""
        return ask(self.port, path, tls=client(self.ca), headers=headers).status

    def served_to(self) -> str:
        """The name in the certificate that it shows; "" while it is starting."""
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection,
                client(self.ca).wrap_socket(connection, server_hostname="localhost") as greeted,
            ):
                shown = x509.load_der_x509_certificate(greeted.getpeercert(binary_form=True) or b"")
        except OSError:  # nobody listens yet, or whoever did ended during the handshake
            return ""
        return shown.subject.rfc4514_string().removeprefix("CN=")


@pytest.fixture
def behind(site: Site) -> Behind:
    """Not yet deployed so."""
    return Behind(site)


def test_it_answers_over_tls_to_who_knows_the_password(behind: Behind) -> None:
    """Right password 200, wrong or none 401, plain HTTP refused; health alone stands open, at its own address.

    The file with the hashes is closed to others, and no other account can read the key.
    """
    behind.play()
    assert behind.status(KNOWN) == 200
    for headers in (basic("prometheus", "sword"), basic("alice", "swordfish"), {}):
        assert behind.status(headers) == 401
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        ask(behind.port, "/metrics", headers=KNOWN)
    probe = int(behind.probe.rpartition(":")[2])
    assert [ask(probe, path).status for path in ("/-/ready", "/-/healthy", "/metrics")] == [200, 200, 404]
    web = behind.site.host.path(f"{HOME}/releases/{behind.site.release()}/web.yml")
    assert web.stat().st_mode & 0o7777 == 0o640
    assert "No such file" in behind.site.as_exporter("cat", KEY)
    assert "Permission denied" in behind.site.as_exporter("cat", KEY, shown_only=False)


def test_prometheus_scrapes_with_what_it_is_given(behind: Behind, tmp_path: Path) -> None:
    """The file is taken by promtool as it is; a real Prometheus, given the password and the CA beside it, scrapes."""
    behind.play(exporter_scrape_file="prometheus.yml", exporter_scrape_tls={"ca_file": behind.ca.name})
    config = tmp_path / "prometheus.yml"
    assert prometheus.run("promtool", "check", "config", config)[0] == 0
    (tmp_path / "renewctl-exporter.password").write_text("swordfish")
    config.write_text(config.read_text().replace("scrape_interval: 1m", "scrape_interval: 1s"))
    with configured(tmp_path, config) as server:
        wait_for("it scrapes", lambda: server.query('up{job="renewctl"} == 1'))
        wait_for("its series", lambda: server.query('mdm_exporter_build_info{job="renewctl"}'))
        (tmp_path / "renewctl-exporter.password").write_text("sword")
        wait_for("it is refused", lambda: server.query('up{job="renewctl"} == 0'))


def test_a_renewed_tls_certificate_is_served(behind: Behind) -> None:
    """Both files replaced by rename: the timer's service starts the exporter again, and it shows the new one."""
    behind.play()
    assert behind.served_to() == "first"
    behind.renew("second")
    behind.site.host.run("systemctl", "start", "renewctl-exporter-shown.service")
    eventually(lambda: behind.served_to() == "second")
    assert behind.status(KNOWN) == 200


def test_a_web_configuration_it_does_not_take_is_put_back(behind: Behind) -> None:
    """A password where a hash belongs: the release before answers, and the failure says why without the password."""
    old = behind.site.release()
    behind.configure({**WEB, "basic_auth_users": {"prometheus": "swordfish"}})
    text = behind.play(code=2, exporter_ready_seconds=8)
    assert "bcrypt" in text
    assert "swordfish" not in text
    assert behind.site.release() == old
    assert behind.site.page("/-/ready") == "ready\n"
