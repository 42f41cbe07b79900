"""Endpoints and signals of a running exporter: health, reload, several addresses, log lines."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.certs import apple_like
from tests.support.exporter_process import PATIENT, TOPIC, Exporter, exporter, files_node, inventory

pytestmark = pytest.mark.slow  # processes: `make test`

UP = 'mdm_node_up{{node="{}",product="files"}}'
SUCCESSFUL = "mdm_exporter_config_last_reload_successful"
READ_AT = "mdm_exporter_config_last_reload_success_timestamp_seconds"
EXPIRY = f'mdm_push_certificate_expiry_timestamp_seconds{{node="a",source="file",topic="{TOPIC}"}}'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An inventory of one node of files, whose certificate is there."""
    (tmp_path / "push.pem").write_bytes(apple_like().push(TOPIC).pem)
    inventory(tmp_path, [files_node("a", tmp_path / "push.pem")])
    return tmp_path


def two_nodes(place: Path) -> None:
    """The inventory, with one node more."""
    inventory(place, [files_node(name, place / "push.pem") for name in ("a", "b")])


def hang_up(running: Exporter) -> None:
    """What `systemctl reload` sends."""
    running.process.send_signal(signal.SIGHUP)


def post(running: Exporter) -> None:
    """What a deployment sends."""
    assert running.get("/-/reload", method="POST").status == 200


@pytest.mark.parametrize("ask", [hang_up, post])
def test_a_node_added_to_the_inventory_is_watched_after_a_reload(ask: object, place: Path) -> None:
    """What is known of the others stays, and so does readiness; when it was read is told."""
    assert callable(ask)
    with exporter(place) as running:
        before = running.wait_for(EXPIRY)
        running.wait(lambda _: running.get("/-/ready").status == 200, "ready")
        assert before[SUCCESSFUL] == 1
        assert 0 <= time.time() - before[READ_AT] < 60
        assert b">b<" not in running.get("/").body
        two_nodes(place)
        ask(running)
        after = running.wait_for(UP.format("b"))
        assert running.get("/-/ready").status == 200  # whether or not b was asked yet
        after = running.wait_for(UP.format("b"), 1)
        assert (after[UP.format("a")], after[EXPIRY]) == (1, before[EXPIRY])
        assert after[READ_AT] > before[READ_AT]
        assert b">b<" in running.get("/").body  # and the status page shows it
        assert running.stop() == 0


def test_a_topic_changed_in_the_inventory_is_shown_changed_after_a_reload(place: Path) -> None:
    """Its name and window, then a slip in its UID mended: no node has to serve another certificate for that."""
    path, window = place / "inventory.yaml", "mdm_topic_renewal_window_seconds"

    def changed(**keys: str) -> None:
        whole = json.loads(path.read_text())
        whole["topics"][0] |= keys
        path.write_text(json.dumps(whole))
        post(running)

    with exporter(place) as running:
        running.wait_for(EXPIRY)
        assert running.series()[f'{window}{{topic="{TOPIC}"}}'] == 60 * 86400
        changed(name="Osaka office", window="90d")
        after = running.series()
        assert after[f'{window}{{topic="{TOPIC}"}}'] == 90 * 86400
        assert ['name="Osaka office"' in one for one in after if one.startswith("mdm_topic_info{")] == [True]
        changed(topic="com.apple.mgmt.External.another")
        assert [one for one in running.series() if one.startswith(window)] == [
            f'{window}{{topic="com.apple.mgmt.External.another"}}'
        ]


@pytest.mark.parametrize("ask", [hang_up, lambda running: running.get("/-/reload", method="POST")])
def test_a_bad_inventory_leaves_the_one_before_and_is_told(ask: object, place: Path) -> None:
    """In metrics, until a good one comes; nodes are watched on."""
    assert callable(ask)
    with exporter(place) as running:
        before = running.wait_for(UP.format("a"), 1)
        (place / "inventory.yaml").write_text("nodes: 3\n")
        ask(running)
        after = running.wait_for(SUCCESSFUL, 0)
        assert (after[UP.format("a")], after[READ_AT]) == (1, before[READ_AT])
        (place / "push.pem").unlink()
        running.wait_for(UP.format("a"), 0)
        two_nodes(place)
        ask(running)
        running.wait(lambda series: series[SUCCESSFUL] == 1 and UP.format("b") in series)


def test_whoever_asks_for_a_reload_is_told_what_is_wrong(place: Path) -> None:
    """Status 500, path and line; no traceback anywhere."""
    with exporter(place) as running:
        (place / "inventory.yaml").write_text("version: 1\nnodes: 3\n")
        answer = running.get("/-/reload", method="POST")
        assert answer.status == 500
        assert "inventory.yaml:2" in answer.body.decode()
        assert running.stop() == 0
        assert "Traceback" not in answer.body.decode() + running.log.read_text()


FROM_BROWSERS = [
    ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403),
    ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"}, 403),
    ({"Origin": "http://evil.example"}, 403),  # over plain HTTP browsers say no more
    ({"Origin": "null"}, 403),
    ({"Sec-Fetch-Site": "same-origin", "Origin": "http://behind.a.proxy"}, 200),
    ({"Sec-Fetch-Site": "none"}, 200),
    ({"Origin": "http://x:1", "Host": "x:1"}, 200),
]
FROM_TOOLS = [({"User-Agent": "curl/8.0", "Accept": "*/*"}, 200), ({}, 200)]


def test_no_page_of_another_site_reloads(place: Path) -> None:
    """A form anywhere could send it through the browser of somebody who may; curl and deployments do as ever."""
    with exporter(place) as running:
        reloaded = 0
        for headers, status in FROM_BROWSERS + FROM_TOOLS:
            for method in ("POST", "PUT"):
                answer = running.get("/-/reload", headers, method)
                assert answer.status == status, headers
                assert (b"SIGHUP" in answer.body) is (status == 403)  # what to do instead
                reloaded += status == 200
                assert running.log.read_text().count("inventory read again") == reloaded
        assert running.stop() == 0


HANGING_UP = """
import os, signal, sys
from exporter import main
load = main.load
def hung_up_on(path):
    found = load(path)
    path.write_text(path.read_text().replace('"name": "a"', '"name": "b"'))
    os.kill(os.getpid(), signal.SIGHUP)
    return found
main.load = hung_up_on
sys.exit(main.main(sys.argv[1:]))
"""


def test_a_reload_asked_for_during_the_start_is_done_after_it(place: Path) -> None:
    """`systemctl reload` right after `start` ends nothing, and is not forgotten: the inventory had been read before."""
    with exporter(place, program=("-c", HANGING_UP)) as running:
        running.wait_for(UP.format("b"), 1)
        assert running.log.read_text().count("inventory read again") == 1
        assert running.stop() == 0


def test_a_reload_asked_for_at_the_end_ends_nothing_halfway(place: Path) -> None:
    """What is known is still written down, and the exit code is that of SIGTERM."""
    for _ in range(3):
        with exporter(place) as running:
            running.wait_for(UP.format("a"), 1)
            running.process.send_signal(signal.SIGTERM)
            while running.process.poll() is None:
                hang_up(running)
            assert running.process.returncode == 0
            assert "ended" in running.log.read_text()


def test_however_often_a_reload_is_asked_for_scrapes_are_answered(place: Path) -> None:
    """A script gone wild hangs up without a pause: reloads are merged, and what came last is in use afterwards."""
    with exporter(place) as running:
        running.wait_for(UP.format("a"), 1)
        wild = threading.Event()
        flood = threading.Thread(target=lambda: [hang_up(running) for _ in iter(wild.is_set, True)])
        flood.start()
        try:
            for _ in range(20):
                running.series()
            two_nodes(place)
        finally:
            wild.set()
            flood.join()
        hang_up(running)
        running.wait_for(UP.format("b"), 1)
        assert running.stop() == 0


def test_a_reload_is_no_get(place: Path) -> None:
    """A link or a crawler reloads nothing."""
    with exporter(place) as running:
        answer = running.get("/-/reload")
        assert (answer.status, "POST" in answer.headers["allow"]) == (405, True)
        assert running.get("/").body.startswith(b"<!doctype html>")
        assert running.stop() == 0


def test_health_alone_has_an_address_of_its_own(place: Path) -> None:
    """Several addresses for everything, one for probes, where nothing else is to be had."""
    flags = ["--web.listen-address=127.0.0.1:0", "--web.probe-listen-address=127.0.0.1:0"]
    with exporter(place, *flags) as running:
        running.wait(lambda _: running.get("/-/ready").status == 200, "ready")
        ports = re.findall(r"listening on 127.0.0.1:(\d+) for (\w+)", running.log.read_text())
        assert [what for _, what in ports] == ["everything", "everything", "health"]
        statuses = {port: [status(port, path) for path in ("/-/ready", "/metrics", "/")] for port, _ in ports}
        assert list(statuses.values()) == [[200, 200, 200], [200, 200, 200], [200, 404, 404]]


def status(port: str, path: str) -> int:
    """Ask once, on one of several ports."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_log_lines_are_logfmt(place: Path) -> None:
    """Every line has time, level and message; a message of several words is quoted."""
    with exporter(place) as running:
        running.wait_for(UP.format("a"), 1)
        running.stop()
        for line in running.log.read_text().splitlines():
            assert re.fullmatch(r'time=\S+Z level=(info|warn) msg=("([^"\\]|\\.)*"|\S+)', line)


def test_log_lines_are_json_where_asked(place: Path) -> None:
    """One object a line."""
    with exporter(place, "--log.format=json", "--log.level=debug") as running:
        running.wait_for(UP.format("a"), 1)
        running.stop()
        lines = [json.loads(line) for line in running.log.read_text().splitlines()]
    assert {tuple(line) for line in lines} == {("time", "level", "msg")}
    assert any(line["msg"].startswith("node a: up") for line in lines)


def test_it_is_soon_there(place: Path) -> None:
    """From the start to the first complete /metrics: 0.7 s of processor time; of a slow one as much as 60 empty Pythons."""
    before = os.times()
    subprocess.run([sys.executable, "-c", ""], check=True)
    after = os.times()
    bare = after.children_user + after.children_system - before.children_user - before.children_system
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    with exporter(place, environment=environment) as running:
        running.wait_for(EXPIRY)
        fields = Path(f"/proc/{running.process.pid}/stat").read_text().rpartition(")")[2].split()
        assert (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") < max(0.7, 60 * bare)


def test_no_part_of_an_answer_waits_for_the_one_before(place: Path) -> None:
    """Head and body are sent at once, scrape after scrape over one connection: held back they are 40 ms apart."""
    with exporter(place) as running:
        running.wait_for(UP.format("a"), 1)
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
        ends = time.monotonic() + 60  # a busy machine may make some rounds slow; held back, every one is
        while (took := median_of_scrapes(connection)) >= 0.03:
            assert time.monotonic() < ends, took
        connection.close()
        assert running.stop() == 0


def median_of_scrapes(connection: http.client.HTTPConnection) -> float:
    """Seconds; of 41, as the first of a connection are never held back."""
    took = []
    for _ in range(41):
        began = time.monotonic()
        connection.request("GET", "/metrics")
        assert connection.getresponse().read()
        took.append(time.monotonic() - began)
    return sorted(took)[20]


def test_many_reloads_ask_a_hanging_node_once(place: Path) -> None:
    """Whoever may reload cannot make the exporter open one connection a reload; the others are watched on."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        hanging = {"name": "slow", "product": "nanomdm", "url": f"http://127.0.0.1:{server.getsockname()[1]}"}
        inventory(place, [files_node("a", place / "push.pem"), hanging])
        with exporter(place, program=("-c", PATIENT)) as running:
            running.wait_for(UP.format("a"), 1)
            taken, _ = server.accept()
            for _ in range(30):
                post(running)
            threads = len(list(Path(f"/proc/{running.process.pid}/task").iterdir()))
            polls = running.series()['mdm_node_polls_total{node="a"}']
            running.wait(lambda series: series['mdm_node_polls_total{node="a"}'] > polls)
            with taken:
                assert waiting(server) == 0
            assert threads < 12


def waiting(server: socket.socket) -> int:
    """How many more have connected."""
    server.setblocking(False)
    taken = []
    try:
        while True:
            taken.append(server.accept()[0])
    except BlockingIOError:
        for connection in taken:
            connection.close()
        return len(taken)
