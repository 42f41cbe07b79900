"""Before any node is put back: the previous pair is looked at, and what speaks against it is said in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.renewctl.mdm.plugins.action import way_back

from tests.playbooks.test_plugin_edges import action
from tests.support.certs import TOPIC, apple_like

OTHER = "com.apple.mgmt.External.99999999-2222-4333-8444-555555555555"


def told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    days: float,
    variables: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What the task says of a pair with so many days left; its key is nowhere."""
    now = datetime.now(UTC)
    old = apple_like().push(TOPIC, not_before=now - timedelta(days=300), not_after=now + timedelta(days=days))
    (tmp_path / "old.pem").write_bytes(old.pem)
    given = {
        "base": str(tmp_path),
        "topic": TOPIC,
        "previous": {"certificate": "old.pem", "key": {"file": "nowhere"}},
        "expired": False,
        **more,
    }
    done: dict[str, Any] = action(way_back.ActionModule, monkeypatch, **given).run(None, variables)
    assert done["changed"] is False
    return done


def test_a_pair_that_has_expired_is_refused_unless_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it means and how to go all the same; a pair that has a day left is no matter, nor is none at all."""
    refused = told(tmp_path, monkeypatch, -1)
    assert refused["failed"]
    for words in (
        "has expired",
        "devices stay silent",
        "renewctl_previous_expired: true",
        "(previous_pair_expired)",
    ):
        assert words in refused["msg"]
    assert "failed" not in told(tmp_path, monkeypatch, -1, expired=True)
    assert "failed" not in told(tmp_path, monkeypatch, 1)
    assert "failed" not in told(tmp_path, monkeypatch, -1, previous=None)


def test_a_pair_of_another_topic_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back, it would silence every device."""
    assert "(topic_differs)" in told(tmp_path, monkeypatch, 1, topic=OTHER)["msg"]


def test_hosts_must_mean_one_previous_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at once for all; that they name different new pairs does not keep them from going back."""
    one, two = ({"renewctl_previous": {"certificate": name}, "renewctl_pair": name} for name in ("a", "b"))
    groups = {"mdm": ["n1", "n2"]}
    differ = {"groups": groups, "hostvars": {"n1": one, "n2": two}}
    assert "(hosts_differ)" in told(tmp_path, monkeypatch, 1, differ)["msg"]
    agree = {"groups": groups, "hostvars": {"n1": one, "n2": {**one, "renewctl_pair": "b"}}}
    assert "failed" not in told(tmp_path, monkeypatch, 1, agree)


def test_a_foreign_error_never_shows_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes its type's name and place."""
    done = told(tmp_path, monkeypatch, 1, {"groups": {"mdm": ["n1"]}, "hostvars": {"a key": 0}})
    assert done["failed"]
    assert "KeyError in step way_back" in done["msg"]
    assert "a key" not in done["msg"]


def test_another_version_of_renewctl_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by every plugin of the collection."""
    monkeypatch.setattr(way_back.versions, "COLLECTION", "0.0.9")
    assert "(collection_differs)" in told(tmp_path, monkeypatch, 1)["msg"]
