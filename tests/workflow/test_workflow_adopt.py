"""Taking over the pair in use: what is kept, what is refused, and that refusing keeps nothing."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from renewctl.workflow import keyring
from renewctl.workflow.workplace import Workplace
from tests.support.certs import OTHER_TOPIC
from tests.support.desk import APPLE, OLD, OLD_ENDS, Desk
from tests.support.identities import Identity


def _key_names(desk: Desk) -> int:
    """How many keys the key store holds, wherever it is."""
    from renewctl.inventory.reading import load  # noqa: PLC0415
    from renewctl.keys import keystore  # noqa: PLC0415

    return len(keystore.home(load(desk.folder / "renewctl.yaml").keys, desk.store).names())


def test_a_pair_is_taken_over_and_becomes_the_way_back(desk: Desk) -> None:
    """Certificate and sealed key are kept; the next renewal names them as the previous pair."""
    told = desk.adopt()
    assert (told["changed"], told["serial"], told["dry_run"]) == (True, OLD.serial, False)
    assert told["key_fingerprint"] is not None
    assert _key_names(desk) == 1
    assert desk.kinds("tokyo-0") == ["adopted"]
    assert desk.told("renewal", "open")["renewal"]["previous_serial"] == OLD.serial


def test_again_changes_nothing(desk: Desk) -> None:
    """The same pair a second time: exit 0, `changed` false, no further event, no further key."""
    desk.adopt()
    assert desk.adopt()["changed"] is False
    assert (desk.kinds("tokyo-0"), _key_names(desk)) == (["adopted"], 1)


def test_another_pair_replaces_the_first(desk: Desk) -> None:
    """Adopted anew before a renewal: the newest counts, the first key stays."""
    desk.adopt()
    other = APPLE.push(key="other")
    assert desk.adopt(pair=other)["changed"] is True
    assert (len(desk.kinds("tokyo-0")), _key_names(desk)) == (2, 2)
    assert desk.told("renewal", "open")["renewal"]["previous_serial"] == other.serial


@pytest.mark.slow
def test_a_pair_renewed_by_hand_after_a_closed_renewal_is_in_use(desk: Desk) -> None:
    """It is the next renewal's way back, not the pair rolled out before it; the first pair may come back as well."""
    desk.to_proven()
    desk.told("renewal", "close")
    by_hand = APPLE.push(key="by hand")
    assert desk.adopt(pair=by_hand)["changed"] is True
    assert desk.adopt(pair=by_hand)["changed"] is False
    assert desk.told("renewal", "open")["renewal"]["previous_serial"] == by_hand.serial
    desk.told("renewal", "abort")
    assert desk.adopt()["changed"] is True
    assert desk.told("renewal", "open")["renewal"]["previous_serial"] == OLD.serial


def test_a_certificate_alone_pins_topic_and_date(desk: Desk) -> None:
    """`--certificate-only` keeps no key; adding the key later is a change."""
    assert desk.adopt("--certificate-only")["key_fingerprint"] is None
    assert _key_names(desk) == 0
    assert desk.adopt()["changed"] is True
    assert _key_names(desk) == 1


def test_a_dry_run_writes_nothing(desk: Desk) -> None:
    """It says what would be adopted; neither event nor key is there after it."""
    told = desk.adopt("--dry-run", "--key", str(desk.file("old.key", OLD.key_pem)))
    assert (told["dry_run"], told["changed"]) == (True, True)
    assert (desk.kinds("tokyo-0"), _key_names(desk)) == ([], 0)
    desk.adopt()
    told = desk.adopt("--dry-run", "--key", "old.key")
    assert (told["dry_run"], told["changed"]) == (True, False)


def test_another_topics_certificate_is_refused(desk: Desk) -> None:
    """Got and expected are named; nothing is kept."""
    file = desk.file("other.pem", APPLE.push(OTHER_TOPIC).pem)
    error = desk.told("adopt", "--certificate", file, "--certificate-only", code=1)["error"]
    assert (error["reason"], error["values"]["got"]) == ("topic_differs", OTHER_TOPIC)
    assert desk.kinds("tokyo-0") == []


def test_the_key_of_another_certificate_is_refused(desk: Desk) -> None:
    """A key that does not belong: refused, nothing is kept."""
    certificate, key = desk.file("old.pem", OLD.pem), desk.file("k.pem", APPLE.push(key="other").key_pem)
    assert desk.refusal("adopt", "--certificate", certificate, "--key", key, code=1) == "key_differs"
    assert (desk.kinds("tokyo-0"), _key_names(desk)) == ([], 0)


def test_while_a_renewal_is_open_it_is_refused(desk: Desk) -> None:
    """The open renewal remembers its previous pair; changing that under it is refused."""
    desk.adopt()
    desk.told("renewal", "open")
    file = desk.file("old.pem", OLD.pem)
    words = ("adopt", "--certificate", file, "--certificate-only")
    assert desk.refusal(*words, code=1) == "renewal_open_already"
    desk.told("renewal", "abort")
    assert desk.told(*words)["changed"] is False


def test_adopting_the_certificate_alone_keeps_a_way_back_that_is_there(desk: Desk) -> None:
    """The key store holds its key already: the second adoption does not forget it."""
    first = desk.adopt()["key_fingerprint"]
    again = desk.adopt("--certificate-only")
    assert (again["changed"], again["key_fingerprint"]) == (False, first)


def test_files_that_hold_no_certificate_or_no_key(desk: Desk) -> None:
    """Missing, garbage, a certificate where a key is expected: exit 2, the file named."""
    certificate, garbage = desk.file("old.pem", OLD.pem), desk.file("garbage", b"\x00\x01 not a key")
    for words in (
        ("--certificate", "missing.pem", "--certificate-only"),
        ("--certificate", garbage, "--certificate-only"),
        ("--certificate", certificate, "--key", "missing.key"),
        ("--certificate", certificate, "--key", garbage),
        ("--certificate", certificate, "--key", certificate),
    ):
        error = desk.told("adopt", *words, code=2)["error"]
        assert str(error["values"]["path"]).endswith(("missing.pem", "garbage", "missing.key", "old.pem"))
    assert (desk.kinds("tokyo-0"), _key_names(desk)) == ([], 0)


def test_a_key_store_that_cannot_be_written_leaves_no_event(sqlite_desk: Desk) -> None:
    """The key is sealed before the event that names it: without it there is no event."""
    (sqlite_desk.folder / "keys").rmdir()
    sqlite_desk.file("keys", b"in the way")
    certificate = sqlite_desk.file("old.pem", OLD.pem)
    key = sqlite_desk.file("old.key", OLD.key_pem)
    done = sqlite_desk.run("adopt", "--certificate", certificate, "--key", key)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert sqlite_desk.kinds("tokyo-0") == []


def test_the_sealed_key_opens_with_the_operators_own_tool(sqlite_desk: Desk, tmp_path: Path) -> None:
    """Our identity's own program opens it (`age -d`); another identity does not."""
    from renewctl.errors import Refused  # noqa: PLC0415
    from renewctl.keys.unseal import open_key  # noqa: PLC0415
    from renewctl.reasons import Reason  # noqa: PLC0415

    told = sqlite_desk.adopt()
    sealed = (sqlite_desk.folder / "keys" / f"{told['key_fingerprint']}.age").read_bytes()
    (tmp_path / "stranger").mkdir()
    stranger = Identity(tmp_path / "stranger", "age")
    ours = ["age", "-d", "-i", str(tmp_path / "identity-age0")]
    opened = subprocess.run(ours, input=sealed, capture_output=True, check=True).stdout
    assert opened == OLD.key_pem
    with pytest.raises(Refused) as caught:
        open_key(sealed, stranger.ref)
    assert caught.value.reason is Reason.IDENTITY_CANNOT_OPEN


def test_a_key_that_is_destroyed_in_this_moment_is_not_adopted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Superseded, taken over again, and destroyed by somebody meanwhile: refused, no event names a key that is gone."""
    desk.adopt()
    other = APPLE.push(key="another", not_after=OLD_ENDS)
    desk.adopt(pair=other)

    def meanwhile(work: Workplace, _fingerprint: str | None) -> None:
        assert len(keyring.destroy(work, keyring.sorted_keys(work), timedelta(days=-36500))) == 1

    with monkeypatch.context() as patch:
        patch.setattr("renewctl.workflow.deploy.prove_key_opens", meanwhile)
        words = ("--certificate", desk.file("old.pem", OLD.pem), "--key", desk.file("old.key", OLD.key_pem))
        assert desk.refusal("adopt", *words, code=4) == "somebody_else_moved"
    assert len(desk.events("tokyo-0")) == 2
    desk.adopt()
    assert {key["state"] for key in desk.told("keys", "check")["keys"]} == {"opens", "not_needed"}
