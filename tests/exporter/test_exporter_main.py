"""The command line: flags, exit codes, words for people, what is imported when."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from exporter.main import _seconds, main
from tests.support.cli import HEED_MODES
from tests.support.exporter_process import files_node, inventory

ROOT = Path(__file__).parents[2]


def run(*flags: str, language: str = "C", under: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """The exporter as a child process that ends by itself."""
    words = [*under, sys.executable, "-m", "exporter.main", *flags]
    kept = {name: value for name, value in os.environ.items() if not (under and name.startswith("COVERAGE_"))}
    environment = {**kept, "LANG": language, "LC_ALL": language}
    return subprocess.run(
        words, capture_output=True, text=True, env=environment, timeout=240, check=False, cwd=ROOT
    )


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A usable inventory."""
    inventory(tmp_path, [files_node("a", tmp_path / "push.pem")])
    return tmp_path / "inventory.yaml"


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    """Without TLS and password nobody else is let in by default."""
    assert "default 127.0.0.1:10092)" in " ".join(run("--help").stdout.split())


def test_a_good_inventory_passes_the_check(good: Path) -> None:
    """Exit 0, nothing said, nothing started."""
    done = run(f"--config.file={good}", "--config.check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("check", [["--config.check"], []])
def test_a_bad_inventory_is_exit_2_with_every_fault(good: Path, check: list[str]) -> None:
    """Path and line of each, no traceback, nothing half-started."""
    good.write_text("version: 1\ntopics: 3\nnodes: [{product: nokia}]\n")
    done = run(f"--config.file={good}", *check)
    assert done.returncode == 2
    assert f"{good}:2" in done.stderr
    assert f"{good}:3" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_inventory_is_told_in_the_language_of_the_environment(tmp_path: Path) -> None:
    """Japanese for LANG=ja_JP."""
    english = run(f"--config.file={tmp_path / 'none.yaml'}")
    japanese = run(f"--config.file={tmp_path / 'none.yaml'}", language="ja_JP.UTF-8")
    assert (english.returncode, japanese.returncode) == (2, 2)
    assert "none.yaml" in english.stderr
    for told in (english.stderr, japanese.stderr):
        assert "renewctl-exporter" in told  # whose flag it is: the others it names are renewctl's
        assert "--config.file" in told
    assert any("ぁ" <= letter <= "ん" for letter in japanese.stderr)


@pytest.mark.parametrize("name", ["--config.file", "--web.config.file", "--probe.config.file"])
@pytest.mark.parametrize("path", ["secret", "closed/x"])
def test_a_file_that_may_not_be_read_is_exit_2(good: Path, name: str, path: str) -> None:
    """Of any flag, also in a folder that may not be entered: a sentence and its hint, no traceback."""
    folder = good.parent
    (folder / "closed").mkdir()
    for unreadable in (folder / "secret", folder / "closed" / "x"):
        unreadable.touch(mode=0)
    (folder / "closed").chmod(0)
    flags = {"--config.file": str(good), name: str(folder / path)}
    done = run(*(f"{flag}={value}" for flag, value in flags.items()), "--config.check", under=HEED_MODES)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{folder / path} cannot be read: Permission denied\n")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:", "127.0.0.1:70000", ":http"])
def test_an_address_that_is_none_is_exit_2(
    address: str, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said with what was meant."""
    assert main([f"--config.file={good}", f"--web.listen-address={address}"]) == 2
    assert address in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--web.listen-address", "--web.probe-listen-address"])
def test_the_check_reads_addresses(flag: str, good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a start would refuse; it listens nowhere, so a taken one passes."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main([f"--config.file={good}", "--config.check", f"{flag}={address}"]) == 0
    assert main([f"--config.file={good}", "--config.check", f"{flag}=127.0.0.1:99999"]) == 2
    assert "127.0.0.1:99999" in capsys.readouterr().err


@pytest.mark.parametrize("check", [["--config.check"], []])
@pytest.mark.parametrize("path", [".", "/", "", "/dev/null", "pipe"])
def test_a_snapshot_file_that_is_none_is_exit_2(
    path: str,
    check: list[str],
    good: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A folder keeps nothing; a pipe would hold up the start; what is there is left as it was."""
    monkeypatch.chdir(good.parent)
    os.mkfifo("pipe")
    assert main([f"--config.file={good}", f"--snapshot.file={path}", *check]) == 2
    told = capsys.readouterr().err
    assert f"kept in {path or '.'}, which" in told
    assert "--snapshot.file" in told
    assert Path("pipe").is_fifo()


def test_a_taken_address_is_exit_1(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another exporter is running there already."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main([f"--config.file={good}", f"--web.listen-address={address}"]) == 1
    assert address in capsys.readouterr().err


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h", 3600)])
def test_durations_are_written_as_in_prometheus(text: str, seconds: float) -> None:
    """One unit."""
    assert _seconds(text) == seconds


@pytest.mark.parametrize("text", ["30", "0s", "-5s", "1.5m", "s", "", "soon"])
def test_other_durations_are_refused(text: str, good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 from the command line, with an example."""
    with pytest.raises(SystemExit, match="2"):
        main([f"--config.file={good}", f"--poll.interval={text}"])
    assert "such as 30s" in capsys.readouterr().err


def test_without_the_extra_the_exporter_says_what_to_install(good: Path) -> None:
    """`pip install renewctl` alone brings the command, not its packages."""
    code = "import sys; sys.modules['prometheus_client'] = None; from exporter.main import main; sys.exit(main())"
    words = [sys.executable, "-c", code, f"--config.file={good}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "renewctl[exporter]" in done.stderr
    assert "Traceback" not in done.stderr


def test_abbreviated_flags_are_refused(good: Path) -> None:
    """A unit file with `--conf` would break with the next flag of that beginning."""
    with pytest.raises(SystemExit, match="2"):
        main([f"--conf={good}"])


def _modules(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_help_loads_no_server_and_no_database() -> None:
    """Start-up imports are light: what is not used is not loaded."""
    heavy = {
        "uvicorn",
        "starlette",
        "sqlalchemy",
        "requests",
        "httpx",
        "prometheus_client",
        "pyrage",
        "click",
    }
    assert not _modules("import exporter.main") & heavy


def test_a_running_exporter_has_no_module_that_writes_or_opens_keys() -> None:
    """Everything the exporter ever imports, looks included: nothing of the operators' side is among it."""
    everything = ", ".join(
        [f"exporter.{path.stem}" for path in (ROOT / "exporter").glob("*.py") if path.stem != "__init__"]
        + ["exporter.collectors", "renewctl.servers.registry", "renewctl.store.read", "renewctl.database.sql"]
    )
    loaded = _modules(f"import {everything}")
    forbidden = {
        f"renewctl.{name}"
        for name in (
            "keys.unseal",
            "keys.keystore",
            "store.write",
            "playbook_run",
            "workflow",
            "apns",
            "cli",
            "sandbox",
            "certificate.request",
            "certificate.intake",
        )
    }
    assert all(find_spec(name) for name in forbidden), "a module was renamed: this test would prove nothing"
    assert not loaded & forbidden
    assert not loaded & {"pyrage", "httpx", "ansible", "rich"}


def test_a_store_less_exporter_of_files_loads_no_database_and_no_http_client() -> None:
    """What a set-up does not use is not imported."""
    look = "import exporter.app, exporter.publisher, exporter.node_look, exporter.store_look, renewctl.servers.registry"
    assert not _modules(look) & {"sqlalchemy", "psycopg", "pymysql"}
