"""The real programs of the field read what we write: promtool and Prometheus (2.42 of Debian; 3.x: `make prometheus3`)."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from cryptography import x509

from exporter.metrics import METRICS
from tests.support import exporter_history as history
from tests.support.certs import apple_like
from tests.support.exporter_process import TOPIC, Exporter, exporter, files_node, inventory
from tests.support.ports import free_port
from tests.support.postgres import Database
from tests.support.web_pki import Authority, write_pair
from tests.support.web_server import write_config

ENDS = datetime(2027, 1, 4, tzinfo=UTC)
CLIENT = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}


def program(name: str) -> str:
    """Where a program of the apt package `prometheus` is; the tests fail without it, they never skip."""
    found = shutil.which(name)
    assert found, f"{name} not found: apt-get install prometheus"
    return found


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A node that serves, one that does not, and a renewal half-way in a store."""
    (tmp_path / "push.pem").write_bytes(apple_like().push(TOPIC, not_after=ENDS).pem)
    nodes = [files_node("a", tmp_path / "push.pem"), files_node("b", tmp_path / "none.pem")]
    inventory(
        tmp_path, nodes, f"sqlite:///{tmp_path}/store.db", labels={"team": "it"}, name='"Tōkyō"\\\n本社'
    )
    history.write(
        f"sqlite:///{tmp_path}/store.db", "tokyo-1", history.accepted(), history.rolled_out("a", "b")
    )
    return tmp_path


def scraped(server: Prometheus, samples: int) -> bool:
    """Whether the last scrape, if there was one, stored so many samples."""
    try:
        return bool(server.query(f"scrape_samples_scraped == {samples}"))
    except OSError:
        return False


def everything(running: Exporter) -> None:
    """Wait until store and nodes have been looked at once, though perhaps not yet all of what was found is shown."""
    running.wait(lambda series: any("mdm_renewal_phase" in name for name in series))
    running.wait_for('mdm_node_failures{node="b",reason="node_certificate_unreadable"}', 1)


def test_promtool_finds_nothing_to_say(world: Path) -> None:
    """`promtool check metrics`, which reads the text format, is clean."""
    with exporter(world) as running:
        everything(running)
        body = running.get("/metrics").body
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=body, capture_output=True, check=False, timeout=240
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


class Prometheus:
    """A real one, its HTTP API."""

    def __init__(self, port: int) -> None:
        self.port = port

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query's result."""
        address = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(address, timeout=60) as answer:
            content = json.load(answer)
        assert content["status"] == "success", content
        return list(content["data"]["result"])

    def wait(self, expression: str) -> list[dict[str, Any]]:
        """Until a query gives something."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if found := self.query(expression):
                    return found
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"no result in 60 s: {expression}")


@contextmanager
def prometheus(folder: Path, target: int, **more: object) -> Iterator[Prometheus]:
    """Prometheus, scraping one target every other second; `more` keys of its job."""
    port = free_port()
    job = {"job_name": "renewctl", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}], **more}
    configuration = folder / "prometheus.yml"
    configuration.write_text(
        json.dumps({"global": {"scrape_interval": "2s", "scrape_timeout": "2s"}, "scrape_configs": [job]})
    )
    words = [
        program("prometheus"), f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        yield Prometheus(port)
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_prometheus_reads_it_and_the_worked_examples_run(world: Path) -> None:
    """Up, the date is there, odd label values arrive as they are, and every example of the page is a valid query."""
    with exporter(world) as running, prometheus(world, running.port) as server:
        everything(running)
        [up] = server.wait("up == 1")
        assert up["metric"]["job"] == "renewctl"
        [expiry] = server.wait('mdm_push_certificate_expiry_timestamp_seconds{source="file"}')
        assert float(expiry["value"][1]) == ENDS.timestamp()
        assert expiry["metric"]["topic"] == TOPIC
        [info] = server.wait("mdm_topic_info")
        assert info["metric"]["name"] == '"Tōkyō"\\\n本社'
        assert info["metric"]["label_team"] == "it"
        # Of the second gzip member, and thus of the whole body.
        assert server.wait('process_resident_memory_bytes{job="renewctl"}')
        for metric in METRICS:
            server.query(metric.example[0])
        assert [found["metric"]["node"] for found in server.wait("mdm_node_up == 0")] == ["b"]
        assert server.wait("mdm_renewal_phase")[0]["metric"]["phase"] == "rolling_out"


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/metrics", "/probe"])
def test_prometheus_scrapes_with_a_client_certificate_and_a_password(world: Path, path: str) -> None:
    """TLS as the web config file says; /probe for a node of the inventory."""
    authority = Authority()
    write_pair(world, authority.server())
    write_pair(world, authority.issue("prometheus", [x509.DNSName("prometheus.example")]), "client")
    (world / "ca.pem").write_bytes(authority.pem)
    demand = {"client_ca_file": "ca.pem", "client_auth_type": "RequireAndVerifyClientCert"}
    tls = {
        "cert_file": "server.pem",
        "key_file": "server.key",
        "client_allowed_sans": ["prometheus.example"],
        **demand,
    }
    users = {"prometheus": bcrypt.hashpw(b"swordfish", bcrypt.gensalt(4)).decode()}
    web = write_config(world, {"tls_server_config": tls, "basic_auth_users": users})
    job = {
        "scheme": "https",
        "metrics_path": path,
        "params": {"target": ["a"]},
        "basic_auth": {"username": "prometheus", "password": "swordfish"},
        "tls_config": {name: str(world / file) for name, file in CLIENT.items()},
    }
    with (
        exporter(world, f"--web.config.file={web}") as running,
        prometheus(world, running.port, **job) as server,
    ):
        assert server.wait("up == 1")
        [expiry] = server.wait('mdm_push_certificate_expiry_timestamp_seconds{source="file"}')
        assert float(expiry["value"][1]) == ENDS.timestamp()


@pytest.mark.slow
def test_prometheus_takes_an_answer_of_several_gzip_members_whole(world: Path) -> None:
    """What seldom changes, what changes at each look, the configuration, the process: four, every sample stored."""
    with exporter(world) as running:
        everything(running)
        body = running.get("/metrics", {"Accept-Encoding": "gzip"}).body
        members = 0
        while body:
            member = zlib.decompressobj(wbits=31)
            assert member.decompress(body)
            members, body = members + 1, member.unused_data
        assert members == 4
        with prometheus(world, running.port) as server:
            # Counted anew each time: looks come in one by one, and on a busy machine some come later than this.
            running.wait(lambda series: scraped(server, len(series)), "every sample stored")
            for of_each in ("mdm_topic_info", "mdm_node_up", "process_cpu_seconds_total"):
                assert server.wait(of_each)


@contextmanager
def nanomdm() -> Iterator[str]:
    """As much of NanoMDM's API as one may ask without a credential."""

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/version"
            body = b'{"version": "unknown"}' if known else b"Unauthorized"
            self.send_response(200 if known else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            asked.append((self.path, self.headers.get("Authorization")))

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    asked: list[tuple[str, str | None]] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
    assert asked
    assert {authorization for _, authorization in asked} == {None}


def _fill(database: Database, days_since: Mapping[str, float]) -> str:
    certificate = apple_like().push(TOPIC, not_after=ENDS)
    with database.connect() as connection:
        connection.execute(
            "CREATE TABLE push_certs (topic text, cert_pem text, key_pem text, stale_token int)"
        )
        connection.execute(
            "CREATE TABLE enrollments (id text, user_id text, topic text, enabled bool, last_seen_at timestamp)"
        )
        connection.execute(
            "INSERT INTO push_certs VALUES (%s, %s, 'SECRET', 0)", (TOPIC, certificate.pem.decode())
        )
        for name, days in days_since.items():
            connection.execute(
                "INSERT INTO enrollments VALUES (%s, NULL, %s, true, localtimestamp - %s)",
                (name, TOPIC, timedelta(days=days)),
            )
    return database.select_only("push_certs(topic, cert_pem)", "enrollments")


@pytest.mark.slow
def test_devices_and_dates_come_from_nanomdms_database_without_any_api_credential(
    tmp_path: Path, database: Database
) -> None:
    """A role that may read the columns it needs; counts in cumulative windows; no request carries a password."""
    (tmp_path / "database").write_text(_fill(database, {"x": 0.1, "y": 3, "z": 100}))
    (tmp_path / "password").write_text("api-key")
    with nanomdm() as url:
        node = {
            "name": "mdm-1", "product": "nanomdm", "url": url, "storage": "pg", "user": "nanomdm",
            "password": {"file": str(tmp_path / "password")}, "devices": {"sql": {"file": str(tmp_path / "database")}},
        }  # fmt: skip
        inventory(tmp_path, [node])
        with exporter(tmp_path) as running:
            labels = f'node="mdm-1",storage="pg",topic="{TOPIC}"'
            series = running.wait_for(f"mdm_devices_enrolled{{{labels}}}", 3)
            assert series[f'mdm_devices_seen{{{labels},within="86400"}}'] == 1
            assert series[f'mdm_devices_seen{{{labels},within="604800"}}'] == 2
            assert series[f'mdm_devices_seen{{{labels},within="7776000"}}'] == 2
            date = f'mdm_push_certificate_expiry_timestamp_seconds{{node="mdm-1",source="database",topic="{TOPIC}"}}'
            assert series[date] == ENDS.timestamp()
            assert series['mdm_node_up{node="mdm-1",product="nanomdm"}'] == 1
            assert sum(value for name, value in series.items() if name.startswith("mdm_node_failures")) == 0
            database.cluster.stop()
            try:
                after = running.wait_for('mdm_node_failures{node="mdm-1",reason="database_unreachable"}', 1)
            finally:
                database.cluster.start()
            assert after[date] == ENDS.timestamp()
            assert after[f"mdm_devices_enrolled{{{labels}}}"] == 3
