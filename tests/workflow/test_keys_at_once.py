"""Two people at the keys at once: none takes away what the other has begun to seal anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from renewctl.cli.context import Session
from renewctl.renewal.events import KEY_STORE, Kind
from renewctl.store.write import Stamp, Store
from renewctl.workflow import keyring
from renewctl.workflow.workplace import Workplace
from tests.support.desk import Desk
from tests.support.identities import Identity

pytestmark = pytest.mark.slow  # a whole desk for each

OTHER = Stamp("suzuki@ops2", "ops2", "0.1.0", "d" * 64)


def moves(desk: Desk, kind: Kind, body: dict[str, Any], seq: int) -> None:
    """Somebody else goes on with the record of the keys."""
    with Store(desk.store) as store:
        store.append(KEY_STORE, kind, body, stamp=OTHER, expected_seq=seq)


def test_no_key_goes_while_somebody_seals_anew(sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is chosen, then a rekey begins: the key stays, whoever moved is named; the next command takes it away."""
    desk = sqlite_desk
    desk.to_request()
    desk.told("renewal", "abort")
    desk.rewrite(keys=desk.inventory["keys"] | {"destroy_after": "1h"})
    tomorrow = (None, None, False, lambda: datetime.now(UTC) + timedelta(days=1))
    monkeypatch.setattr(Session.__init__, "__defaults__", tomorrow)
    real, kept, looks = keyring.sorted_keys, desk.keys(), 0

    def looked(work: Workplace) -> keyring.Whose:
        nonlocal looks
        looks += 1
        if looks == 2:  # once more, before the key is taken away
            moves(desk, Kind.REKEY_STARTED, {"recipients": [], "keys": []}, 2)
        return real(work)

    with monkeypatch.context() as patch:
        patch.setattr(keyring, "sorted_keys", looked)
        error = desk.told("keys", "destroy", code=4)["error"]
    assert (error["reason"], error["values"]["holder"]) == ("somebody_else_moved", "suzuki@ops2")
    assert desk.keys() == kept
    assert desk.kinds(KEY_STORE) == ["destruction_started", "rekey_started"]
    [gone] = desk.told("keys", "destroy")["keys"]
    assert desk.keys() == kept - {gone["fingerprint"]}


def test_a_key_that_somebody_took_away_meanwhile_is_no_fault_of_its_own(
    sqlite_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rekey finds it gone: it names who moved, and calls no key lost."""
    desk = sqlite_desk
    desk.to_accepted()
    (desk.folder / "escrow").mkdir()
    desk.rewrite(
        keys=desk.inventory["keys"] | {"escrow": [Identity(desk.folder / "escrow", "age").recipient]}
    )
    name, real = max(desk.keys()), keyring._resealed  # the last: nothing is written after it

    def resealed(*given: Any) -> keyring.Rekeyed:
        if given[2] == name:
            (desk.folder / "keys" / f"{name}.age").unlink()
            moves(desk, Kind.KEY_DESTROYED, {"key_fingerprint": name}, len(desk.kinds(KEY_STORE)) + 1)
        return real(*given)

    monkeypatch.setattr(keyring, "_resealed", resealed)
    error = desk.told("keys", "rekey", code=4)["error"]
    assert (error["reason"], error["values"]["holder"]) == ("somebody_else_moved", "suzuki@ops2")
