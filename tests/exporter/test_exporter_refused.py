"""A node that refuses our password is not asked with it at every look."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from exporter.node_look import NodeLook
from exporter.poller import Poller
from exporter.snapshot import NodeFacts, Snapshot
from renewctl.reasons import Reason
from renewctl.secrets import Kind, SecretRef
from tests.support.exporter_values import UID, node
from tests.support.refusing import nanomdm_that_refuses


def test_a_wrong_password_is_sent_less_and_less_often(tmp_path: Path) -> None:
    """The node stays up and shown as refusing; the fifth password comes eight intervals after the fourth."""
    secret = tmp_path / "password"
    secret.write_text("wrong", encoding="utf-8")
    interval = 0.1
    with nanomdm_that_refuses() as refusing:
        asked = node(
            "a", url=refusing.url, password=SecretRef(Kind.FILE, (str(secret),)), allow_api_credential=True
        )
        poller = Poller({"a": NodeLook(asked, [UID])}, Snapshot(), interval, lambda: None)
        poller.start()
        try:
            end = time.monotonic() + 60
            while len(refusing.refused) < 5:
                assert time.monotonic() < end
                time.sleep(0.005)
            facts = poller.snapshot.node("a")
        finally:
            poller.stop()
    assert (facts.up, facts.failures) == (True, (Reason.NODE_DENIED,))
    assert refusing.refused[4] - refusing.refused[3] > interval * 8 * 0.85


@pytest.mark.parametrize(
    ("reasons", "rests"),
    [
        ((), False),
        ((Reason.NODE_DENIED,), True),
        ((Reason.NODE_ERROR, Reason.DATABASE_DENIED), True),
        ((Reason.DATABASE_ERROR,), False),
    ],
)
def test_what_is_refused_rests_and_what_merely_fails_does_not(
    reasons: tuple[Reason, ...], rests: bool
) -> None:
    """API and database alike; any other failure of a node that answers is looked at again at the usual interval."""
    snapshot = Snapshot().with_node("a", NodeFacts(up=True, failures=reasons))
    assert NodeLook(node("a"), [UID]).silent(snapshot) is rests
