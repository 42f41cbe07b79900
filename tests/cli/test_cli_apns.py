"""`apns check`: whether the push service accepts a pair, told so that a person knows what to do."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from renewctl.apns import PairCheck, PushService
from renewctl.certificate.pushcert import Pair
from renewctl.cli import main as shell
from renewctl.keys.unseal import new_identity
from renewctl.reasons import Reason
from tests.support.certs import NOW, apple_like
from tests.support.cli import validate
from tests.support.inventories import right, with_files_node, write

PUSH = apple_like().push(not_after=NOW + timedelta(days=364), key="push")
ACCEPTED = PairCheck(accepted=True, status=400, detail="BadDeviceToken")
REFUSED = PairCheck(
    accepted=False, reason=Reason.PUSH_CERTIFICATE_REFUSED, status=403, detail="BadCertificate"
)
SILENT = PairCheck(accepted=None, reason=Reason.PUSH_SERVICE_TIMEOUT)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair as files, an inventory whose identity opens its keys, English."""
    text, recipient = new_identity()
    (tmp_path / "identity.txt").write_text(text)
    with_files_node(tmp_path, PUSH.pem, recipient)
    (tmp_path / "key.pem").write_bytes(PUSH.key_pem)
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.chdir(tmp_path)


def answering(monkeypatch: pytest.MonkeyPatch, answer: PairCheck) -> list[Pair]:
    """A push service that always answers so; the pairs it is shown."""
    seen: list[Pair] = []

    def check(_: PushService, pair: Pair) -> PairCheck:
        seen.append(pair)
        return answer

    monkeypatch.setattr(PushService, "check", check)
    return seen


FROM_FILES = ("apns", "check", "--certificate", "push.pem", "--key", "key.pem")


@pytest.mark.parametrize(
    ("answer", "code", "word"),
    [(ACCEPTED, 0, "accepted: "), (REFUSED, 1, "refused: "), (SILENT, 4, "unknown: ")],
)
def test_each_answer_has_its_word_and_exit_code(
    answer: PairCheck,
    code: int,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Accepted, refused with the reason and a hint, or nobody knows."""
    seen = answering(monkeypatch, answer)
    assert shell.main(list(FROM_FILES)) == code
    out = capsys.readouterr().out
    assert out.startswith(f"{word}the pair in these files, serial {PUSH.serial}")
    assert ("hint: " in out) == (answer.reason is not None)
    assert seen[0].key == PUSH.key_pem
    assert shell.main([*FROM_FILES, "--json"]) == code
    validate("apns-check", json.loads(capsys.readouterr().out))


def test_the_pair_in_use_comes_out_of_store_and_key_store(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without files: the adopted pair, its key opened with the inventory's identity."""
    seen = answering(monkeypatch, ACCEPTED)
    _make_store()
    assert shell.main(["adopt", "--certificate", "push.pem", "--key", "key.pem"]) == 0
    capsys.readouterr()
    assert shell.main(["apns", "check"]) == 0
    assert "accepted: the pair in use" in capsys.readouterr().out
    assert seen[-1].key == PUSH.key_pem
    assert len(seen) == 1


def test_nothing_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing adopted: there is no pair to show yet."""
    _make_store()
    assert shell.main(["apns", "check"]) == 1
    assert "adopt" in capsys.readouterr().err


def test_several_topics_need_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One pair at a time."""
    topics: list[dict[str, Any]] = right()["topics"]
    topics.append({"id": "b", "topic": "com.apple.mgmt.External.b", "name": "B", "account": {"alias": "x"}})
    write(tmp_path, right(topics=topics))
    assert shell.main(["apns", "check"]) == 2
    assert "tokyo, b" in capsys.readouterr().err


def _make_store() -> None:
    from renewctl.store.write import Store  # noqa: PLC0415

    Store.create(f"sqlite:///{Path.cwd()}/state/renewctl.db")
    Path("keys").mkdir(mode=0o700, exist_ok=True)
