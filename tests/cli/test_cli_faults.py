"""What the operating system refuses: said clearly, with a hint that fits; never a matter of "report this"."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from renewctl.cli import main as shell
from renewctl.cli.context import Session
from renewctl.errors import Refused
from renewctl.reasons import Reason
from tests.support.cli import renewctl
from tests.support.inventories import right, write


def _ending(patch: pytest.MonkeyPatch, error: BaseException) -> None:
    def end(self: Session) -> object:
        raise error

    patch.setattr(Session, "inventory", property(end))


def _system(number: int, name: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), name)


CASES = [
    (_system(errno.ENOSPC), "disk_full", "make room"),
    (_system(errno.EDQUOT), "disk_full", "make room"),
    (_system(errno.ENOSPC, "/srv/x"), "disk_full", "make room"),
    (_system(errno.EROFS), "write_denied", "read-only"),
    (_system(errno.EACCES, "/srv/x"), "write_denied", "permissions"),
    (_system(errno.ENOENT, "/no-such-folder/x"), "folder_missing", "mkdir -p /no-such-folder"),
    (_system(errno.ENOENT, "/no-such-file"), "file_not_found", "spelling"),
    (_system(errno.EISDIR, "/tmp"), "file_not_regular", "itself"),
    (_system(errno.EIO), "system_failed", "limits"),
    (_system(errno.EMFILE), "system_failed", "limits"),
    (_system(errno.EIO, "/srv/x"), "write_failed", "dmesg"),
    (OSError("no number"), "system_failed", "limits"),
    (OSError(errno.EIO, "Input/output error", 3), "system_failed", "limits"),
]


@pytest.mark.parametrize(("error", "reason", "hint"), CASES, ids=repr)
def test_each_number_has_its_own_hint(
    error: OSError,
    reason: str,
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Full, denied, missing, broken: exit 1, nobody is asked to report anything, no empty name."""
    _ending(monkeypatch, error)
    assert shell.main(["status", "--json", "--lang", "en"]) == 1
    told = json.loads(capsys.readouterr().out)["error"]
    assert told["reason"] == reason
    assert hint in told["hint"]
    assert "RENEWCTL_DEBUG" not in told["hint"]
    assert "–" not in told["message"] + told["hint"]


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_full_disk_under_standard_output(words: tuple[str, ...], tmp_path: Path) -> None:
    """`status > /dev/full`: one message on stderr, exit 1, no traceback, nothing from the interpreter."""
    write(tmp_path, right())
    command = 'exec "$@" > /dev/full'
    done = renewctl("status", "--offline", *words, cwd=tmp_path, under=["bash", "-c", command, "bash"])
    assert done.code == 1
    assert done.err.startswith("error: the disk is full: the file being read or written\n")
    assert done.err.count("\n") == 2


class TestLanguage:
    """Errors speak the language of the one topic they are about, in its zone."""

    @pytest.fixture(autouse=True)
    def _japanese_topic(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = right()
        whole["topics"][0]["language"] = "ja"
        write(tmp_path, whole)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("LC_ALL", "C")
        monkeypatch.delenv("RENEWCTL_INVENTORY", raising=False)

        def refuse(_: Session) -> str:
            raise Refused(Reason.CERTIFICATE_EXPIRED, got="2026-01-01T00:00:00Z", expected="later")

        monkeypatch.setattr(Session, "store_url", property(refuse))

    @pytest.mark.parametrize("words", [(), ("--topic", "tokyo")])
    def test_the_topics_language_and_zone(
        self, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """LANG=C does not override what the topic says."""
        assert shell.main(["status", *words]) == 1
        told = capsys.readouterr().err
        assert told.startswith("エラー: ")
        assert "2026年1月1日(木) 09:00 JST" in told

    def test_the_option_wins(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Whoever asks for English gets English, still in the topic's zone."""
        assert shell.main(["status", "--lang", "en"]) == 1
        told = capsys.readouterr().err
        assert told.startswith("error: ")
        assert "2026-01-01 (Thu) 09:00 JST" in told

    def test_with_two_topics_it_is_the_chosen_ones(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without a choice there is no one topic: the environment's language, UTC."""
        whole = right()
        whole["topics"][0]["language"] = "ja"
        other = {**whole["topics"][0], "id": "osaka", "topic": "com.apple.mgmt.External.2"}
        write(tmp_path, {**whole, "topics": [*whole["topics"], other]})
        assert shell.main(["status", "--topic", "osaka"]) == 1
        assert capsys.readouterr().err.startswith("エラー: ")
        assert shell.main(["status"]) == 1
        assert "2026-01-01 (Thu) 00:00 UTC" in capsys.readouterr().err

    def test_a_file_that_cannot_be_looked_at(self, capsys: pytest.CaptureFixture[str]) -> None:
        """`inspect` knows the topic before it opens the file."""
        assert shell.main(["inspect", "no.pem"]) == 2
        assert capsys.readouterr().err.startswith("エラー: no.pem が見つかりません")
