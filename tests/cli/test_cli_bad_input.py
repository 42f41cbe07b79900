"""Bad input, each through the real CLI: one clear message, no traceback, nothing half-written."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.certs import NOW, apple_like
from tests.support.cli import FULL_DISK, HEED_MODES, Done, held, renewctl, validate
from tests.support.inventories import RECIPIENT, right, spoilt, with_files_node, write


def refused(done: Done, code: int, *words: str) -> None:
    """One clear message: nothing on stdout, an error and a hint on stderr, no traceback."""
    assert done.code == code, done
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert "\n  hint: " in done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err


def _missing(folder: Path) -> Path:
    return folder / "no.yaml"


def _with(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "file"
        path.write_bytes(content)
        return path

    return make


def _large(folder: Path) -> Path:
    path = folder / "large"
    with path.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    "missing": _missing,
    "empty": _with(b""),
    "binary": _with(bytes(range(256)) * 8),
    "not-utf8": _with(b"version: 1\nname: caf\xe9\n"),
    "large": _large,
    "device": lambda _: Path("/dev/null"),
}


@pytest.mark.parametrize("file", FILES)
def test_a_bad_file_where_an_inventory_is_expected(tmp_path: Path, file: str) -> None:
    """Missing, empty, binary, non-UTF-8, 50 MB, a device: named, explained, exit 2."""
    path = FILES[file](tmp_path)
    before = held(tmp_path)
    refused(renewctl("--inventory", path, "status", cwd=tmp_path), 2, str(path))
    assert held(tmp_path) == before


@pytest.mark.parametrize("file", FILES)
def test_a_bad_file_where_a_certificate_is_expected(tmp_path: Path, file: str) -> None:
    """The same files given to `inspect`."""
    path = FILES[file](tmp_path)
    before = held(tmp_path)
    refused(renewctl("inspect", path, cwd=tmp_path), 2, str(path))
    assert held(tmp_path) == before


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("nodes.0.colour", "red", "nodes[0].colour is not a key"),
        ("topics.0.name", 2024, "topics[0].name is number, expected text"),
        ("nodes.1.name", "n1", "nodes[1].name: n1 is there already"),
        ("nodes", [], "no node serves topic tokyo"),
        ("nodes.0.password", "hunter2", "nodes[0].password holds a secret in clear"),
    ],
)
def test_a_bad_inventory(tmp_path: Path, path: str, value: object, told: str) -> None:
    """Path and line named, exit 2; the secret is not repeated."""
    file = write(tmp_path, spoilt(path, value))
    before = held(tmp_path)
    done = renewctl("status", cwd=tmp_path)
    refused(done, 2, told, "renewctl.yaml:")
    assert "hunter2" not in done.err
    assert held(tmp_path) == before
    assert file.exists()


def test_every_fault_is_told_in_japanese_too(tmp_path: Path) -> None:
    """`--lang ja` before or after the command's name, LANG otherwise; all faults, each with what to do."""
    write(tmp_path, spoilt("nodes.0.colour", "red") | {"version": 2})
    before = renewctl("--lang", "ja", "status", cwd=tmp_path)
    assert before.err.count("エラー: ") == 2
    assert before.err == renewctl("status", "--lang", "ja", cwd=tmp_path).err
    assert before.err == renewctl("status", cwd=tmp_path, env={"LANG": "ja_JP.UTF-8"}).err


def test_faults_as_json(tmp_path: Path) -> None:
    """Programs get an object on stdout, with the reason, the values, and the same exit code."""
    write(tmp_path, spoilt("nodes.0.colour", "red") | {"version": 2})
    done = renewctl("status", "--json", cwd=tmp_path)
    assert (done.code, done.err) == (2, "")
    validate("error", done.document)
    assert done.document["error"]["reason"] == "inventory_version"
    assert [other["values"]["path"] for other in done.document["error"]["others"]] == ["nodes[0].colour"]


def test_unknown_topic_and_node(tmp_path: Path) -> None:
    """What there is, is told."""
    write(tmp_path, right())
    refused(renewctl("status", "--topic", "osaka", cwd=tmp_path), 2, "osaka", "tokyo")
    refused(renewctl("node", "observe", "n9", cwd=tmp_path), 2, "n9", "n1, f1")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["statsu"], "renewctl has no command statsu"),
        (["status", "--colour"], "--colour"),
        (["inspect"], "FILE"),
        (["--lang", "de", "status"], "de"),
        (["apns", "check", "--certificate", "x.pem"], "--key is needed"),
    ],
)
def test_a_command_line_that_cannot_be_used(tmp_path: Path, words: list[str], told: str) -> None:
    """Exit 2, in the same shape as everything else."""
    write(tmp_path, right())
    refused(renewctl(*words, cwd=tmp_path), 2, told)


def test_without_a_terminal_nothing_asks(tmp_path: Path) -> None:
    """`init` names the option that is missing, and writes nothing."""
    refused(renewctl("init", cwd=tmp_path), 2, "--node is needed")
    assert held(tmp_path) == {}


def test_an_unreachable_node(tmp_path: Path) -> None:
    """A node nobody answers for is told of, and somebody must look (exit 4)."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    node = {"name": "n1", "product": "nanomdm", "url": f"http://127.0.0.1:{port}"}
    write(tmp_path, right(nodes=[node]))
    before = held(tmp_path)
    for words in (["status"], ["node", "observe"]):
        done = renewctl(*words, cwd=tmp_path)
        assert done.code == 4
        assert "Connection refused" in done.out + done.err
        assert "Traceback" not in done.err
    assert held(tmp_path) == before


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held_open: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    held_open.append(server.accept()[0])
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for connection in held_open:
            connection.close()


@pytest.mark.slow
def test_a_node_that_never_answers(tmp_path: Path, silent: int) -> None:
    """A silent node costs ten seconds, not thirty, and after two seconds the waiting is explained."""
    node = {"name": "n1", "product": "nanomdm", "url": f"http://127.0.0.1:{silent}"}
    write(tmp_path, right(nodes=[node]))
    done = renewctl("node", "observe", cwd=tmp_path, seconds=25)
    assert done.code == 4
    assert "asking 1 node …" in done.err


INIT = (
    "init",
    "--topic",
    "com.apple.mgmt.External.1",
    "--account",
    "mdm",
    "--node",
    "n1=http://127.0.0.1:9000",
    "--id",
    "tokyo",
)


def test_a_read_only_folder(tmp_path: Path) -> None:
    """`init` where nothing may be written says where, exit 1, and leaves nothing."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o555)
    done = renewctl(*INIT, "--recipient", RECIPIENT, cwd=folder, under=HEED_MODES)
    refused(done, 1, "renewctl.yaml", "Permission denied")
    assert held(folder) == {}


def test_status_needs_no_right_to_write(tmp_path: Path) -> None:
    """Looking works where nothing may be written."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with_files_node(folder, apple_like().push(not_after=NOW + timedelta(days=364)).pem)
    folder.chmod(0o555)
    before = held(folder)
    done = renewctl("status", cwd=folder, under=HEED_MODES)
    assert "Traceback" not in done.err
    assert done.code in {0, 4}
    assert held(folder) == before


def test_a_full_disk(tmp_path: Path) -> None:
    """`init` on a full disk says so, exit 1, and leaves nothing half-written."""
    done = renewctl(*INIT, "--identity", "identity.txt", cwd=tmp_path, under=FULL_DISK)
    refused(done, 1, "renewctl.yaml")
    assert held(tmp_path) == {}


def test_init_that_fails_midway_leaves_nothing_half_written(tmp_path: Path) -> None:
    """The store cannot be made: neither inventory nor identity stays behind."""
    (tmp_path / "state").write_text("in the way")
    before = held(tmp_path)
    done = renewctl(*INIT, "--identity", "identity.txt", cwd=tmp_path)
    assert done.code in {1, 2}
    assert done.err.startswith("error: ")
    assert held(tmp_path) == before


def test_init_never_overwrites(tmp_path: Path) -> None:
    """An inventory that is there is not touched."""
    write(tmp_path, right())
    before = held(tmp_path)
    refused(renewctl(*INIT, cwd=tmp_path), 1, "is there already")
    assert held(tmp_path) == before


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    """`renewctl … | head -0`: no traceback, no complaint."""
    import subprocess  # noqa: PLC0415 - the one place that needs a shell's pipe
    import sys  # noqa: PLC0415

    with_files_node(tmp_path, apple_like().push(not_after=NOW + timedelta(days=364)).pem)
    command = [sys.executable, "-m", "renewctl", "status"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait() == 1


def test_a_terminal_that_cannot_show_japanese(tmp_path: Path) -> None:
    """Question marks, not a traceback."""
    done = renewctl("--lang", "ja", "status", cwd=tmp_path, env={"PYTHONIOENCODING": "ascii"})
    assert done.code == 2
    assert "??" in done.err


def test_an_empty_inventory_is_not_fetched_again(tmp_path: Path) -> None:
    """It comes back from version control, or from `init`."""
    (tmp_path / "renewctl.yaml").write_text("")
    refused(renewctl("status", cwd=tmp_path), 2, "an inventory was expected", "version control")
