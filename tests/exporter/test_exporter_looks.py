"""A look brings data, whatever happens, with no more rights than an exporter may have."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from exporter.node_look import NodeLook, permitted
from exporter.snapshot import Snapshot
from renewctl.errors import NodeFault
from renewctl.inventory.reading import Devices, Node
from renewctl.observation import Failure, Observation
from renewctl.reasons import Reason
from renewctl.secrets import Kind, SecretRef
from renewctl.servers import registry
from tests.support.exporter_values import UID, node, seen, served

FILE = SecretRef(Kind.FILE, ("/etc/renewctl/password",))
COMMAND = SecretRef(Kind.COMMAND, ("/usr/bin/pass", "mdm"))
WITH_CREDENTIAL = node("a", user="nanomdm", password=FILE)


class FakeServer:
    """Answers with an observation, or raises."""

    def __init__(self, answer: Observation | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[Node, object]] = []

    def connect(self, node: Node, topics: object = ()) -> FakeServer:
        """Note what was asked for."""
        self.asked.append((node, topics))
        return self

    def observe(self, _now: datetime) -> Observation:
        """Answer or raise."""
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def look(
    monkeypatch: pytest.MonkeyPatch, answer: Observation | Exception, asked: Node = WITH_CREDENTIAL
) -> tuple[Snapshot, FakeServer]:
    """One look at one node."""
    server = FakeServer(answer)
    monkeypatch.setattr(registry, "connect", server.connect)
    return NodeLook(asked, [UID]).look()(Snapshot()), server


def test_an_api_credential_is_dropped_before_anything_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    """MDM API keys can wipe devices: the adapter never sees it."""
    snapshot, server = look(monkeypatch, seen(served()))
    [(asked, topics)] = server.asked
    assert (asked.user, asked.password) == (None, None)
    assert topics == [UID]
    assert snapshot.node("a").failures == ()


def test_an_api_credential_is_used_where_the_node_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """`allow_api_credential: true`."""
    allowed = replace(WITH_CREDENTIAL, allow_api_credential=True)
    _, server = look(monkeypatch, seen(served()), allowed)
    assert server.asked[0][0] == allowed


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (
            node("a", user="u", password=COMMAND, allow_api_credential=True),
            node("a", allow_api_credential=True),
        ),
        (node("a", devices=Devices(sql=COMMAND)), node("a", devices=Devices())),
    ],
    ids=["password", "database"],
)
def test_no_secret_is_ever_fetched_by_a_command(asked: Node, kept: Node) -> None:
    """Merging to the inventory must not mean running programs; what is missing for that is a failure."""
    assert permitted(asked) == (kept, (Failure(Reason.SECRET_COMMAND_NOT_ALLOWED),))


def test_a_command_for_a_dropped_credential_is_no_failure() -> None:
    """The exporter does not want that password in the first place."""
    assert permitted(node("a", user="u", password=COMMAND)) == (node("a"), ())


@pytest.mark.parametrize(
    ("raised", "reason"),
    [(NodeFault(Reason.NODE_DENIED, got="401"), "node_denied"), (RuntimeError("token 123"), "internal")],
)
def test_whatever_an_adapter_raises_is_a_failure_of_that_node(
    raised: Exception, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No traceback and nothing of what the node sent, at the usual log level."""
    caplog.set_level(logging.INFO)
    snapshot, _ = look(monkeypatch, raised)
    assert (snapshot.node("a").up, snapshot.node("a").failures) == (False, (reason,))
    assert "123" not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


def test_name_and_time_are_ours_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer under another name and from the future changes nothing else."""
    lie = replace(seen(served()), node="b", at=datetime.now(UTC) + timedelta(days=9))
    snapshot, _ = look(monkeypatch, lie)
    assert set(snapshot.nodes) == {"a"}
    at = snapshot.node("a").looked_at
    assert at is not None
    assert at <= datetime.now(UTC)


def test_an_overdue_look_shows_the_node_as_silent() -> None:
    """Its facts stay."""
    snapshot = NodeLook(node("a"), []).overdue()(Snapshot())
    assert (snapshot.node("a").up, snapshot.node("a").failures) == (False, (Reason.NODE_TIMEOUT,))


def test_the_log_tells_of_changes_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A node that stays as it is says nothing: a line every 30 s would hide the others."""
    caplog.set_level(logging.INFO)
    asked, server = NodeLook(node("a"), []), FakeServer(seen())
    monkeypatch.setattr(registry, "connect", server.connect)
    snapshot = Snapshot()
    for answer in (
        seen(served()),
        seen(served()),
        NodeFault(Reason.NODE_TIMEOUT),
        NodeFault(Reason.NODE_TIMEOUT),
        seen(),
    ):
        server.answer = answer
        snapshot = asked.look()(snapshot)
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "INFO"]
    assert len(server.asked) == 1, "the server is kept: it remembers that an API is closed to us"
    assert caplog.records[1].message == "node a: not up, node_timeout"
