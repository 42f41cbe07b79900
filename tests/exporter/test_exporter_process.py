"""The exporter as a child process, asked over HTTP."""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from renewctl.renewal.events import Kind
from tests.support import exporter_history as history
from tests.support.certs import apple_like
from tests.support.exporter_process import PATIENT, TOPIC, exporter, files_node, inventory

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`

EXPIRY = f'mdm_push_certificate_expiry_timestamp_seconds{{node="a",source="file",topic="{TOPIC}"}}'
STORE_READ = "mdm_store_last_success_timestamp_seconds"
UP = 'mdm_node_up{node="a",product="files"}'
OLD = apple_like().push(TOPIC, not_after=datetime(2026, 12, 24, tzinfo=UTC))
NEW = apple_like().push(TOPIC, not_after=datetime(2027, 12, 24, tzinfo=UTC))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """The certificate file of node `a`, in an inventory with that node alone."""
    path = tmp_path / "push.pem"
    path.write_bytes(OLD.pem)
    inventory(tmp_path, [files_node("a", path)])
    return path


def test_a_renewed_certificate_is_seen(tmp_path: Path, certificate: Path) -> None:
    """The date moves while the exporter runs, and the info series tells the new serial."""
    with exporter(tmp_path) as running:
        running.wait_for(EXPIRY, OLD.certificate.not_valid_after_utc.timestamp())
        certificate.write_bytes(NEW.pem)
        series = running.wait_for(EXPIRY, NEW.certificate.not_valid_after_utc.timestamp())
        assert [name for name in series if "_info" in name and NEW.serial in name]
        assert not [name for name in series if OLD.serial in name]


def test_a_silent_node_keeps_its_date_over_a_restart_and_shows_its_silence(
    tmp_path: Path, certificate: Path
) -> None:
    """The file is gone, the exporter is killed and started again: the date is still there, with its old time."""
    with exporter(tmp_path) as running:
        before = running.wait_for(EXPIRY)
        assert before[UP] == 1
        certificate.unlink()
        running.wait_for(UP, 0)
        running.process.kill()
    with exporter(tmp_path) as running:
        at_once = running.series()
        assert at_once[EXPIRY] == OLD.certificate.not_valid_after_utc.timestamp()
        after = running.wait_for('mdm_node_failures{node="a",reason="node_certificate_unreadable"}', 1)
        assert (after[EXPIRY], after[UP]) == (at_once[EXPIRY], 0)
        assert after['mdm_node_snapshot_timestamp_seconds{node="a"}'] < time.time() - 0.5
        assert running.stop() == 0
    kept = tmp_path / "snapshot.json"
    assert stat.S_IMODE(kept.stat().st_mode) & 0o007 == 0
    assert "mdm@example.invalid" not in kept.read_text()


def test_what_the_store_told_is_there_after_a_restart_without_it(tmp_path: Path) -> None:
    """Recorded and adopted dates, who is owed, and how old that is: at once, and once the store was found to be gone."""
    url, database = f"sqlite:///{tmp_path / 'store.db'}", tmp_path / "store.db"
    inventory(tmp_path, [files_node(name, tmp_path / "none.pem") for name in ("a", "b")], store=url)
    adopted = {"pair": history.OLD, "topic_id": "tokyo", "topic": TOPIC}
    history.write(url, "tokyo-0", [(Kind.ADOPTED, adopted)])
    history.write(url, "tokyo-1", history.accepted(), history.rolled_out("a"))
    with exporter(tmp_path) as running:
        read = running.wait_for("mdm_store_up", 1)
        before = _of_the_store(read)
        assert running.stop() == 0
    assert before[EXPIRY.replace('"file"', '"recorded"')] == history.NEW_ENDS.timestamp()
    assert before[EXPIRY.replace('"file"', '"adopted"').replace('"a"', '"b"')] == history.OLD_ENDS.timestamp()
    assert before[f'mdm_renewal_nodes_owed{{topic="{TOPIC}"}}'] == 1
    database.rename(tmp_path / "unmounted.db")
    _age_what_the_store_told(tmp_path / "snapshot.json", days=3)
    with exporter(tmp_path) as running:
        at_once = running.series()
        assert (_of_the_store(at_once), at_once["mdm_store_up"]) == (before, 0)
        later = running.wait(
            lambda _: "store: store_missing" in running.log.read_text(), "the store is looked for"
        )
        assert (_of_the_store(later), later["mdm_store_up"]) == (before, 0)
        assert later[STORE_READ] == pytest.approx(read[STORE_READ] - 3 * 86_400, abs=60)
        page = running.get("/").body.decode()
        assert re.search(r"The store cannot be read: what is said of renewals is of [^<]*\(3 d ago\)", page)


def _of_the_store(series: Mapping[str, float]) -> dict[str, float]:
    """What the exporter has of no one else."""
    names = 'source="recorded"', 'source="adopted"', "mdm_renewal_", "mdm_store_head_info"
    return {one: value for one, value in series.items() if any(name in one for name in names)}


def _age_what_the_store_told(kept: Path, days: int) -> None:
    """As if the exporter had stood still for so long."""
    stored = json.loads(kept.read_text())
    read = datetime.fromisoformat(stored["store_read"]) - timedelta(days=days)
    kept.write_text(json.dumps(stored | {"store_read": read.isoformat()}))


def test_a_damaged_snapshot_file_is_said_once_and_replaced(tmp_path: Path, certificate: Path) -> None:
    """It starts, answers, and writes a good one."""
    (tmp_path / "snapshot.json").write_text('{"version": 3, "nodes": {"a": 3}}')
    with exporter(tmp_path) as running:
        running.wait_for(EXPIRY)
        assert running.stop() == 0
        assert running.log.read_text().count("is not used") == 1
    assert json.loads((tmp_path / "snapshot.json").read_text())["nodes"]["a"]["up"] is True
    assert certificate.exists()


def test_a_snapshot_that_cannot_be_written_stops_nothing(tmp_path: Path, certificate: Path) -> None:
    """Said once, not at every change."""
    with exporter(tmp_path, f"--snapshot.file={tmp_path}/none/snapshot.json") as running:
        running.wait_for(EXPIRY)
        certificate.write_bytes(NEW.pem)
        running.wait_for(EXPIRY, NEW.certificate.not_valid_after_utc.timestamp())
        assert running.stop() == 0
        assert running.log.read_text().count("cannot be written") == 1


@contextmanager
def hanging_server() -> Iterator[str]:
    """Accepts, reads, and says nothing."""

    class Silent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            leave.wait(600)

    leave = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        leave.set()
        server.shutdown()


def test_a_hanging_node_delays_nobody_and_no_scrape(tmp_path: Path, certificate: Path) -> None:
    """`/metrics` answers at once, the other node stays fresh, `/-/ready` waits, SIGTERM does not."""
    with hanging_server() as url:
        hanging = {"name": "slow", "product": "nanomdm", "url": url}
        inventory(tmp_path, [files_node("a", certificate), hanging])
        with exporter(tmp_path, program=("-c", PATIENT)) as running:
            first = running.wait_for(UP, 1)['mdm_node_snapshot_timestamp_seconds{node="a"}']
            fresh = 'mdm_node_snapshot_timestamp_seconds{node="a"}'
            series = running.wait(lambda series: series[fresh] > first)
            assert series['mdm_node_up{node="slow",product="nanomdm"}'] == 0
            assert series["mdm_exporter_last_round_timestamp_seconds"] == 0
            assert running.get("/-/ready").status == 503
            began = time.monotonic()
            assert running.stop() == 0
            assert time.monotonic() - began < 60


def test_the_endpoints(tmp_path: Path, certificate: Path) -> None:
    """Health at once, readiness after the first answers, a landing page with links, 404 and 405 for the rest."""
    with exporter(tmp_path) as running:
        assert running.get("/-/healthy").status == 200
        running.wait_for(UP, 1)
        end = time.monotonic() + 60
        while running.get("/-/ready").status != 200:
            assert time.monotonic() < end
        landing = running.get("/")
        assert landing.headers["content-type"] == "text/html; charset=utf-8"
        for link in ("/metrics", "/-/healthy", "/-/ready"):
            assert f'href="{link}"' in landing.body.decode()
        assert running.get("/none").status == 404
        assert running.get("/metrics", method="POST").status == 405
        head = running.get("/metrics", method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert running.stop() == 0
    assert certificate.exists()


def test_answers_carry_their_type_and_encoding(tmp_path: Path, certificate: Path) -> None:
    """Always a Content-Type, gzip where accepted, OpenMetrics where wanted, the same series in each."""
    text_type = "text/plain; version=0.0.4; charset=utf-8"
    openmetrics = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    with exporter(tmp_path) as running:
        running.wait_for(EXPIRY)
        plain = running.get("/metrics")
        assert plain.headers["content-type"] == text_type
        assert "content-encoding" not in plain.headers
        packed = running.get(
            "/metrics", {"Accept-Encoding": "gzip", "Accept": "application/vnd.google.protobuf"}
        )
        assert (packed.headers["content-type"], packed.headers["content-encoding"]) == (text_type, "gzip")
        assert EXPIRY in gzip.decompress(packed.body).decode()
        modern = running.get("/metrics", openmetrics)
        assert modern.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert modern.body.endswith(b"# EOF\n")
        assert EXPIRY in modern.body.decode()
        assert {modern.headers["vary"], packed.headers["vary"]} == {"Accept, Accept-Encoding"}
        assert "date" in modern.headers
        assert running.stop() == 0
    assert certificate.exists()


def test_many_scrapes_at_once_are_all_answered(tmp_path: Path, certificate: Path) -> None:
    """Bytes are handed out: 200 scrapes by 20 scrapers while the node is polled ten times a second."""
    with exporter(tmp_path, interval="100ms") as running:
        running.wait_for(EXPIRY)
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: running.get("/metrics"), range(200)))
        assert {answer.status for answer in answers} == {200}
        assert all(EXPIRY in answer.body.decode() for answer in answers)
    assert certificate.exists()


def test_where_files_and_secrets_do_not_matter_nothing_is_asked(tmp_path: Path) -> None:
    """An unreachable node with an unreadable password: the credential is never wanted, the node is just silent."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        node = {
            "name": "a",
            "product": "nanomdm",
            "url": url,
            "user": "nanomdm",
            "password": {"file": "/none"},
        }
        inventory(tmp_path, [node])
        with exporter(tmp_path) as running:
            series = running.wait_for('mdm_node_failures{node="a",reason="node_unreachable"}', 1)
            assert series['mdm_node_failures{node="a",reason="secret_unreadable"}'] == 0
            assert series[f'mdm_topic_expiry_known{{topic="{TOPIC}"}}'] == 0


def test_the_state_directory_of_systemd_is_where_the_snapshot_lives(
    tmp_path: Path, certificate: Path
) -> None:
    """Without a flag; the first folder where there are several."""
    state = tmp_path / "state"
    state.mkdir()
    environment = {**os.environ, "STATE_DIRECTORY": f"{state}:/elsewhere"}
    with exporter(tmp_path, "--snapshot.file", str(state / "other.json"), environment=environment) as running:
        running.wait_for(EXPIRY)
        running.stop()
    assert (state / "other.json").exists()
    from exporter.main import _parser  # noqa: PLC0415

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATE_DIRECTORY", environment["STATE_DIRECTORY"])
        assert _parser().parse_args(["--config.file=x"]).snapshot_file == state / "snapshot.json"
        patch.delenv("STATE_DIRECTORY")
        assert _parser().parse_args(["--config.file=x"]).snapshot_file is None
    assert certificate.exists()


def test_days_left_can_be_computed_from_the_date(tmp_path: Path, certificate: Path) -> None:
    """42 days before its end, as a query would see it."""
    ends = datetime.now(UTC) + timedelta(days=42, hours=1)
    certificate.write_bytes(apple_like().push(TOPIC, not_after=ends).pem)
    with exporter(tmp_path) as running:
        assert (running.wait_for(EXPIRY)[EXPIRY] - time.time()) // 86400 == 42
