"""`renewctl sandbox …`: what it refuses, and what it says of a world that is not there."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from renewctl.cli import main as shell
from renewctl.sandbox.children import WorldBroken
from renewctl.sandbox.readings import Woken
from renewctl.sandbox.worlds import WORLDS
from tests.support.cli import validate


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the test's own, in English."""
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command that refuses; its error."""

    def run(*words: str, code: int) -> dict[str, Any]:
        assert shell.main(["sandbox", *words, "--json"]) == code
        document = json.loads(capsys.readouterr().out)
        validate("error", document)
        error: dict[str, Any] = document["error"]
        return error

    return run


def test_an_unknown_world(refusal: Any) -> None:
    """Exit 2; the worlds there are, are named; no folder is made."""
    error = refusal("up", "--world", "atlantis", "--folder", "w", code=2)
    assert (error["reason"], error["values"]["got"]) == ("option_invalid", "atlantis")
    assert error["values"]["expected"] == ", ".join(spec.name for spec in WORLDS)
    assert not Path("w").exists()


def test_a_folder_that_is_not_empty(refusal: Any) -> None:
    """Exit 2: a world is never laid over something else."""
    Path("w").mkdir()
    Path("w/mine").write_text("mine")
    error = refusal("up", "--folder", "w", code=2)
    assert (error["reason"], error["values"]["path"]) == ("folder_not_empty", "w")
    assert [path.name for path in Path("w").iterdir()] == ["mine"]
    error = refusal("up", "--folder", "w/mine", code=2)  # nor in the place of a file
    assert (error["reason"], error["values"]["path"]) == ("folder_not_empty", "w/mine")


def test_options_that_are_missing(refusal: Any) -> None:
    """Exit 2 names them."""
    for words, option in ((("up",), "--folder"), (("wake",), "--folder"), (("metrics", "x"), "--url")):
        error = refusal(*words, code=2)
        assert error["reason"] == "option_missing"
        assert option in error["values"]["option"]
    error = refusal("metrics", "--url", "http://127.0.0.1:1", code=2)
    assert (error["reason"], error["values"]["argument"]) == ("argument_missing", "NAMES")


def test_waking_without_a_world(refusal: Any) -> None:
    """No `world.json`: the world is not up; exit 1."""
    Path("w").mkdir()
    for folder in ("w", "nowhere"):
        error = refusal("wake", "--folder", folder, code=1)
        assert (error["reason"], error["values"]["got"]) == ("world_broken", "FileNotFoundError")


def test_an_exporter_that_does_not_answer(refusal: Any) -> None:
    """Exit 1."""
    assert refusal("metrics", "--url", "http://127.0.0.1:1", "x", code=1)["reason"] == "world_broken"


class FakeWorld:
    """A world that comes up and breaks, or is interrupted."""

    def __init__(self, ends_with: BaseException) -> None:
        self.ends_with = ends_with

    def start(self, _spec: object, folder: Path, *, exporter: bool) -> FakeWorld:
        """Come up."""
        folder.mkdir(exist_ok=True)
        urls = {"portal": "http://127.0.0.1:2", "exporter": "http://127.0.0.1:3" if exporter else None}
        urls |= {"push_service": "https://127.0.0.1:4", "courier": "http://127.0.0.1:5"}
        paths = {"inventory": "i.yaml", "old_certificate": "old.pem", "old_key": None, "logs": "logs"}
        facts = {"world": "happy-year", "claim": "all is well", "topic": "t", "urls": urls, "paths": paths}
        facts |= {"nodes": {}, "pids": {"portal": 2}, "parent": 1}
        (folder / "world.json").write_text(json.dumps(facts))
        return self

    def __enter__(self) -> Self:
        """Be up."""
        return self

    def __exit__(self, *_: object) -> None:
        """Be down."""

    def check_alive(self) -> None:
        """End."""
        raise self.ends_with


@pytest.mark.parametrize(
    ("ends_with", "code"), [(KeyboardInterrupt(), 0), (WorldBroken("node-2", "died"), 1)]
)
def test_a_world_is_up_until_it_is_interrupted_or_breaks(
    ends_with: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends it well; a part that died is named, exit 1; parts that are not there have no line."""
    monkeypatch.setattr("renewctl.sandbox.up.World", FakeWorld(ends_with))
    assert shell.main(["sandbox", "up", "--folder", "w"]) == code
    shown = capsys.readouterr()
    urls = ["http://127.0.0.1:2", "https://127.0.0.1:4", "http://127.0.0.1:5"]
    assert [line.split()[1] for line in shown.out.splitlines()] == urls
    assert "the inventory is i.yaml" in shown.err
    assert "       renewctl --inventory i.yaml init --existing\n" in shown.err
    assert ("node-2: died" in shown.err) == (code == 1)


def test_up_tells_programs_what_is_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--json`: the document of the schema, which is the world's own `world.json`."""
    monkeypatch.setattr("renewctl.sandbox.up.World", FakeWorld(KeyboardInterrupt()))
    assert shell.main(["sandbox", "up", "--folder", "w", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    validate("sandbox", document)
    assert document == json.loads(Path("w/world.json").read_text())


@pytest.mark.parametrize(("checked_in", "code"), [(2, 0), (1, 1)])
def test_waking_says_what_was_seen(
    checked_in: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pushes a node, pushes a serial, check-ins; exit 1 unless every device checked in."""
    woken = Woken(2, {"node-1": 2}, {"0a": 2}, checked_in)
    monkeypatch.setattr("renewctl.sandbox.readings.wake_all", lambda _folder: woken)
    assert shell.main(["sandbox", "wake", "--folder", "w"]) == code
    told = capsys.readouterr().out
    assert "node-1: 2 pushes accepted" in told
    assert "2 pushes arrived with the certificate of serial 0a" in told
    assert f"devices that checked in: {checked_in} of 2" in told
    shell.main(["sandbox", "wake", "--folder", "w", "--json"])
    document = json.loads(capsys.readouterr().out)
    validate("sandbox", document)
    assert document["checked_in"] == checked_in


class _Metrics(http.server.BaseHTTPRequestHandler):
    """Two samples, whatever is asked."""

    def do_GET(self) -> None:
        body = b'# TYPE a gauge\na{x="1"} 2\nb 3\nab 4\n'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def exporter() -> Iterator[str]:
    """Something that answers like one."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Metrics) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_metrics_shows_whole_names_alone(exporter: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Samples as a scrape gets them; exit 1 where there is none."""
    assert shell.main(["sandbox", "metrics", "--url", exporter, "a", "b"]) == 0
    assert capsys.readouterr().out == 'a{x="1"} 2\nb 3\n'
    assert shell.main(["sandbox", "metrics", "--url", exporter, "c", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"samples": []}
    assert shell.main(["sandbox", "metrics", "--url", exporter, "a", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    validate("sandbox", document)
    assert document["samples"] == ['a{x="1"} 2']


@pytest.mark.slow
def test_sigterm_ends_a_world_as_ctrl_c_does(tmp_path: Path) -> None:
    """A real world: whoever stops the service gets the same clean end, exit 0."""
    words = [sys.executable, "-m", "renewctl", "sandbox", "up", "--folder", str(tmp_path / "w")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as up:
        assert up.stderr is not None
        try:
            assert any("init --existing" in line for line in up.stderr), "it ended before it was up"
            up.terminate()
            assert up.wait(60) == 0
        finally:
            up.kill()
