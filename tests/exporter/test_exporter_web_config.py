"""The exporter behind a web config file: every endpoint, what reloads tell, what is imported."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import bcrypt
import pytest

from exporter.main import main
from tests.support.certs import apple_like
from tests.support.exporter_process import TOPIC, exporter, files_node, inventory
from tests.support.https import ask, basic, client
from tests.support.web_pki import Authority, write_pair
from tests.support.web_server import write_config

ROOT = Path(__file__).parents[2]
SUCCESSFUL = b"mdm_exporter_config_last_reload_successful "
ALICE = basic("alice", "swordfish")
USERS = {"alice": bcrypt.hashpw(b"swordfish", bcrypt.gensalt(4)).decode()}
TLS = {"cert_file": "server.pem", "key_file": "server.key"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An inventory, a server's pair, and a web config with TLS and a user."""
    (tmp_path / "push.pem").write_bytes(apple_like().push(TOPIC).pem)
    inventory(tmp_path, [files_node("a", tmp_path / "push.pem")])
    authority = Authority()
    write_pair(tmp_path, authority.server())
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    write_config(tmp_path, {"tls_server_config": TLS, "basic_auth_users": USERS})
    return tmp_path


@pytest.mark.slow
def test_every_endpoint_asks_for_the_password_but_health_on_its_own_address(place: Path) -> None:
    """Also those that are not there: nobody learns what there is."""
    tls = client(place / "ca.pem")
    flags = [f"--web.config.file={place / 'web.yml'}", "--web.probe-listen-address=127.0.0.1:0"]
    with exporter(place, *flags) as running:
        paths = ["/", "/metrics", "/-/healthy", "/-/ready", "/-/reload", "/probe", "/none"]
        assert {ask(running.port, path, tls=tls).status for path in paths} == {401}
        assert ask(running.port, "/metrics", tls=tls, headers=ALICE).status == 200
        probe = int(running.log.read_text().partition(" for health")[0].rpartition(":")[2])
        assert ask(probe, "/-/healthy").status == 200
        assert ask(probe, "/metrics").status == 404
        assert running.stop() == 0
        assert "Traceback" not in running.log.read_text()


@pytest.mark.slow
def test_a_broken_web_config_is_told_and_the_one_before_holds(place: Path) -> None:
    """By itself, without a reload; a reload says what is wrong; mended, all is well again."""
    tls = client(place / "ca.pem")
    with exporter(place, f"--web.config.file={place / 'web.yml'}") as running:

        def get(path: str, method: str = "GET") -> tuple[int, bytes]:
            answer = ask(running.port, path, tls=tls, headers=ALICE, method=method)
            return answer.status, answer.body

        assert SUCCESSFUL + b"1.0" in get("/metrics")[1]
        write_config(place, {"tls_server_config": TLS, "basic_auth_users": {"alice": "swordfish"}})
        assert SUCCESSFUL + b"0.0" in get("/metrics")[1]
        status, told = get("/-/reload", "POST")
        assert status == 500
        assert b"bcrypt" in told
        assert b"swordfish" not in told
        write_config(place, {"tls_server_config": TLS, "basic_auth_users": USERS})
        assert SUCCESSFUL + b"1.0" in get("/metrics")[1]
        assert get("/-/reload", "POST")[0] == 200
        write_config(place, {"tls_server_config": TLS, "basic_auth_users": {"bob": USERS["alice"]}})
        assert get("/metrics")[0] == 401  # from the next request on, remembered or not


def test_the_check_looks_at_the_web_config_too(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And at the files it names: exit 2 before anything is restarted."""
    flags = [f"--config.file={place / 'inventory.yaml'}", f"--web.config.file={place / 'web.yml'}"]
    assert main([*flags, "--config.check"]) == 0
    (place / "server.key").write_text("no key\n")
    for more in (["--config.check"], ["--web.listen-address=127.0.0.1:0"]):
        assert main([*flags, *more]) == 2
    assert "server.key cannot be used for TLS" in capsys.readouterr().err


def test_what_a_set_up_does_not_use_is_not_imported() -> None:
    """Without a web config neither what checks passwords nor what makes TLS is loaded."""
    code = "import exporter.running, exporter.app, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    unused = {
        "renewctl.web.users",
        "renewctl.web.tls",
        "renewctl.web.handshake",
        "renewctl.web.guard",
        "renewctl.web.config",
    }
    assert not set(done.stdout.split()) & unused


@pytest.mark.slow
def test_guessing_passwords_and_holding_connections_stops_no_scrape(place: Path) -> None:
    """A hundred guessers and as many silent connections: whoever is known is answered as ever."""
    users = {"alice": bcrypt.hashpw(b"swordfish", bcrypt.gensalt(10)).decode()}
    write_config(place, {"tls_server_config": TLS, "basic_auth_users": users})
    tls = client(place / "ca.pem")
    with exporter(place, f"--web.config.file={place / 'web.yml'}") as running, ExitStack() as held:
        port = running.port
        assert ask(port, "/metrics", tls=tls, headers=ALICE).status == 200
        for _ in range(100):
            held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        with ThreadPoolExecutor(40) as pool:
            guesses = [
                pool.submit(ask, port, "/metrics", tls=tls, headers=basic("alice", f"guess {number}"))
                for number in range(100)
            ]
            began = time.monotonic()
            assert ask(port, "/metrics", tls=tls, headers=ALICE).status == 200
            assert time.monotonic() - began < 10
            statuses = {guess.result().status for guess in guesses}
        assert statuses <= {401, 503}
        assert 401 in statuses
        assert "Traceback" not in running.log.read_text()
        assert running.stop() == 0


@pytest.mark.slow
def test_a_flood_of_guesses_keeps_no_scraper_from_its_first_answer(place: Path) -> None:
    """Begun before anybody is known: from the scraper's own address and from another, without a pause, at a dear hash."""
    users = {"alice": bcrypt.hashpw(b"swordfish", bcrypt.gensalt(12)).decode()}
    write_config(place, {"basic_auth_users": users})
    over = threading.Event()

    def flood(port: int, guesser: int) -> None:
        for number in itertools.count():
            if over.is_set():
                return
            source = f"127.0.0.{1 + guesser % 2}"
            guess = ask(port, headers=basic("alice", f"{guesser} {number}"), source=source)
            assert guess.status in {401, 503}

    with (
        exporter(place, f"--web.config.file={place / 'web.yml'}") as running,
        ThreadPoolExecutor(12) as pool,
    ):
        floods = [pool.submit(flood, running.port, guesser) for guesser in range(12)]
        time.sleep(2)
        try:
            assert ask(running.port, "/metrics", headers=ALICE).status == 200
        finally:
            over.set()
        assert [one.result() for one in floods] == [None] * 12
