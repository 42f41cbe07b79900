"""The web config as it is now, without a network: what changes is seen, what is broken leaves the one before."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from renewctl.errors import Unusable
from renewctl.reasons import Reason
from renewctl.web.live import LiveConfig
from tests.support.web_pki import Authority, write_pair
from tests.support.web_server import write_config
from tests.web.corpus import HASH

TLS = {"cert_file": "server.pem", "key_file": "server.key"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A server's pair."""
    write_pair(tmp_path, Authority().server())
    return tmp_path


def test_a_user_added_or_taken_out_counts_at_once(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And an unchanged file is not read again."""
    live = LiveConfig(write_config(place, {}))
    assert (live.config.users, live.greeting) == ({}, None)
    with caplog.at_level(logging.INFO, "web"):
        write_config(place, {"basic_auth_users": {"a": HASH}})
        assert set(live.config.users) == {"a"}
        assert set(live.config.users) == {"a"}
        write_config(place, {"basic_auth_users": {"b": HASH}})
        assert set(live.config.users) == {"b"}
    assert [record.getMessage() for record in caplog.records] == ["web config read again"] * 2


def test_each_new_pair_makes_a_new_greeting(place: Path) -> None:
    """Half of it, and a file that is gone, leave the one before; so does a change undone."""
    live = LiveConfig(write_config(place, {"tls_server_config": TLS}))
    first = live.greeting
    assert first is not None
    assert live.greeting is first
    (place / "server.key").unlink()
    assert live.greeting is first
    assert live.fault is not None
    assert live.fault.reason is Reason.FILE_NOT_FOUND
    write_pair(place, Authority().server())
    assert live.greeting is not first
    assert live.fault is None


def test_a_broken_file_is_told_once_and_without_what_stands_in_it(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it is asked; mended, the new one holds."""
    live = LiveConfig(write_config(place, {"basic_auth_users": {"a": HASH}}))
    with caplog.at_level(logging.ERROR, "web"):
        write_config(place, {"basic_auth_users": {"a": "swordfish"}})
        for _ in range(5):
            assert set(live.config.users) == {"a"}
    assert len(caplog.records) == 1
    assert "swordfish" not in caplog.text
    write_config(place, {})
    assert live.config.users == {}


def test_a_file_that_cannot_be_used_at_the_start_is_said_so(place: Path) -> None:
    """There is no one before."""
    (place / "server.key").write_text("no key\n")
    with pytest.raises(Unusable) as unusable:
        LiveConfig(write_config(place, {"tls_server_config": TLS}))
    assert unusable.value.reason is Reason.WEB_TLS_FILE
