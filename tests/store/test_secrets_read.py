"""Secrets are read late, once, from where a reference says; errors never show them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from renewctl import secrets
from renewctl.errors import Unusable
from renewctl.reasons import Reason
from renewctl.secrets import Kind, SecretRef


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Each test is a process of its own as far as the cache goes."""
    secrets.forget()
    yield
    secrets.forget()


def _file(path: Path, content: bytes) -> SecretRef:
    path.write_bytes(content)
    return SecretRef(Kind.FILE, (str(path),))


def _refusal(ref: SecretRef) -> Unusable:
    with pytest.raises(Unusable) as caught:
        secrets.read(ref)
    return caught.value


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"pw", "pw"),
        (b"pw\n", "pw"),
        (b"pw\r\n", "pw"),
        (b"pw\n\n", "pw\n"),
        (b" p w ", " p w "),
        ("鍵\n".encode(), "鍵"),
    ],
)
def test_one_line_end_is_taken_away_and_no_more(tmp_path: Path, content: bytes, secret: str) -> None:
    """Editors add one; blanks may be meant."""
    assert secrets.read(_file(tmp_path / "s", content)) == secret


def test_a_secret_is_read_once_a_process(tmp_path: Path) -> None:
    """A change on disk is seen by the next process; a failure is tried again."""
    ref = SecretRef(Kind.FILE, (str(tmp_path / "s"),))
    assert _refusal(ref).reason is Reason.SECRET_UNREADABLE
    _file(tmp_path / "s", b"one")
    assert secrets.read(ref) == "one"
    _file(tmp_path / "s", b"two")
    assert secrets.read(ref) == "one"


@pytest.mark.parametrize(("code", "answer"), [(0, "pw"), (1, "secret_command_failed")])
def test_threads_that_ask_at_once_start_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, answer: str
) -> None:
    """Twelve nodes with one password ask a vault once, also where it refuses; after a refusal the next one asks anew."""
    begun, all_ask, program = tmp_path / "begun", tmp_path / "all ask", tmp_path / "vault"
    waits = f"while ! test -e '{all_ask}'; do sleep 0.05; done"
    program.write_text(f"#!/bin/sh\necho >> {begun}\n{waits}\necho pw\nexit {code}\n")
    program.chmod(0o755)
    (tmp_path / "allowed").write_text(f"{program}\n")
    monkeypatch.setenv(secrets.ALLOWED_COMMANDS_VARIABLE, str(tmp_path / "allowed"))
    ref, together = SecretRef(Kind.COMMAND, (str(program),)), threading.Barrier(12)

    def ask(_: int) -> str:
        if together.wait(60) == 0:
            threading.Timer(0.5, all_ask.touch).start()
        try:
            return secrets.read(ref)
        except Unusable as error:
            return str(error.reason)

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, range(12))) == [answer] * 12
    assert len(begun.read_text()) == 1
    together = threading.Barrier(1)
    assert ask(0) == answer
    assert len(begun.read_text()) == 1 + code


def test_environment_and_credentials_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`{env:}` and systemd's `{credential:}`."""
    monkeypatch.setenv("H2_SECRET", "from env")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "nodes").write_text("from systemd\n")
    assert secrets.read(SecretRef(Kind.ENV, ("H2_SECRET",))) == "from env"
    assert secrets.read(SecretRef(Kind.CREDENTIAL, ("nodes",))) == "from systemd"
    assert _refusal(SecretRef(Kind.ENV, ("H2_NOT_SET",))).values["where"] == "env:H2_NOT_SET"
    assert _refusal(SecretRef(Kind.CREDENTIAL, ("../s",))).reason is Reason.SECRET_UNREADABLE
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert _refusal(SecretRef(Kind.CREDENTIAL, ("none",))).reason is Reason.SECRET_UNREADABLE


@pytest.mark.parametrize(
    "lay", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()]
)
@pytest.mark.parametrize("kind", [Kind.FILE, Kind.CREDENTIAL])
def test_what_is_no_file_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, lay: Callable[[Path], None]
) -> None:
    """A pipe nobody writes to, a device without an end: whoever needs the secret is not held up."""
    lay(tmp_path / "s")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    where = "s" if kind is Kind.CREDENTIAL else str(tmp_path / "s")
    error = _refusal(SecretRef(kind, (where,)))
    assert (error.reason, error.values["detail"]) == (Reason.SECRET_UNREADABLE, "not a regular file")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.SECRET_EMPTY), (b"\n", Reason.SECRET_EMPTY), (b" \t\n", Reason.SECRET_EMPTY),
        (b"\xff\xfeh\0", Reason.SECRET_NOT_TEXT), (b"hunter2" * 200_000, Reason.SECRET_UNREADABLE),
    ],
)  # fmt: skip
def test_what_cannot_be_a_secret_is_told_without_showing_it(
    tmp_path: Path, content: bytes, reason: Reason
) -> None:
    """Empty, not text, or far too large: the reference is named, the content never."""
    error = _refusal(_file(tmp_path / "s", content))
    assert error.reason is reason
    assert error.values["where"] == f"file:{tmp_path}/s"
    assert "hunter2" not in str(error)


@pytest.fixture
def allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's list of programs that may supply secrets."""
    path = tmp_path / "allowed-commands"
    monkeypatch.setenv(secrets.ALLOWED_COMMANDS_VARIABLE, str(path))
    return path


def test_a_command_runs_only_if_the_operator_allows_it(allow: Path, tmp_path: Path) -> None:
    """Merging to the inventory must not mean running code: the list lies outside, by absolute path."""
    mark = tmp_path / "ran"
    ref = SecretRef(Kind.COMMAND, ("/usr/bin/touch", str(mark)))
    assert _refusal(ref).reason is Reason.SECRET_COMMAND_NOT_ALLOWED
    allow.write_text("# trusted\n/usr/bin/printf\n touch\n")
    assert _refusal(ref).values == {"program": "/usr/bin/touch", "path": str(allow)}
    assert _refusal(SecretRef(Kind.COMMAND, ("touch", str(mark)))).reason is Reason.SECRET_COMMAND_NOT_ALLOWED
    assert not mark.exists()
    assert secrets.read(SecretRef(Kind.COMMAND, ("/usr/bin/printf", "a $HOME; b\n"))) == "a $HOME; b"


def test_without_a_variable_the_list_is_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """`~/.config/renewctl/allowed-commands`."""
    monkeypatch.delenv(secrets.ALLOWED_COMMANDS_VARIABLE, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert str(secrets.allowed_commands()) == "/home/me/.config/renewctl/allowed-commands"


def test_a_command_that_fails_is_told_without_its_output(
    allow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code, not there, too slow; standard error may hold anything and is never shown."""
    monkeypatch.setattr(secrets, "COMMAND_SECONDS", 0.5)
    failing, plain = tmp_path / "failing", tmp_path / "plain"
    failing.write_text("#!/bin/sh\necho hunter2; echo hunter2 >&2; exit 3\n")
    failing.chmod(0o755)
    plain.write_text("no program")
    allow.write_text(f"{failing}\n{plain}\n/bin/sleep\n")
    details = []
    began = time.monotonic()
    for command in ((str(failing),), (str(plain),), ("/bin/sleep", "30")):
        error = _refusal(SecretRef(Kind.COMMAND, command))
        assert error.reason is Reason.SECRET_COMMAND_FAILED
        assert "hunter2" not in str(error)
        details.append(error.values["detail"])
    assert details == ["exit 3", "Permission denied", "no answer in 0 s"]
    assert time.monotonic() - began < 25


def test_a_command_cannot_wait_for_a_person(allow: Path) -> None:
    """Standard input is empty: a program that asks for a passphrase fails rather than hangs."""
    allow.write_text("/bin/cat\n")
    assert _refusal(SecretRef(Kind.COMMAND, ("/bin/cat",))).reason is Reason.SECRET_EMPTY


@pytest.mark.parametrize(("mode", "lax"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_file_others_may_read_is_reported(tmp_path: Path, mode: int, lax: bool) -> None:
    """Read all the same (mounts may not carry modes), but `status` tells."""
    ref = _file(tmp_path / "s", b"pw")
    os.chmod(tmp_path / "s", mode)  # noqa: PTH101 - plain
    assert secrets.lax(ref) is lax
    assert secrets.read(ref) == "pw"


def test_what_is_no_file_is_never_lax(tmp_path: Path) -> None:
    """Nor is a file that is not there."""
    assert not secrets.lax(SecretRef(Kind.ENV, ("HOME",)))
    assert not secrets.lax(SecretRef(Kind.FILE, (str(tmp_path / "none"),)))


def test_a_reference_is_named_without_its_arguments() -> None:
    """A command's arguments may say more than people should see."""
    assert secrets.shown(SecretRef(Kind.COMMAND, ("/usr/bin/pass", "show", "mdm"))) == "command:/usr/bin/pass"


def test_what_comes_through_a_pipe_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes too much, or holds the pipe open and says nothing, is told of and waited for no longer."""
    monkeypatch.setattr(secrets, "COMMAND_SECONDS", 0.2)
    monkeypatch.setattr(secrets, "LONGEST", 1000)
    reading, writing = os.pipe()
    ref = SecretRef(Kind.FILE, (f"/dev/fd/{reading}",))
    os.write(writing, b"hunter2")
    assert _refusal(ref).values["detail"] == "no answer in 0 s"
    os.write(writing, b"hunter2" * 200)
    assert _refusal(ref).values["detail"] == "larger than 1000 bytes"
    os.close(writing)
    os.close(reading)


def test_a_process_substitution_is_a_file(tmp_path: Path) -> None:
    """`<(pass show mdm)` gives a path that can be read once: once is all we read."""
    code = (
        "import sys; from renewctl.secrets import *\n"
        "ref = SecretRef(Kind.FILE, (sys.argv[1],)); print(read(ref) + read(ref))"
    )
    script = f"{sys.executable} -c '{code}' <(printf 'pw\\n')"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "pwpw\n"
