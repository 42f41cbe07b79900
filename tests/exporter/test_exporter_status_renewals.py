"""What the status page says of renewals: phase, whose turn it is, what is owed, and how old that is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from xml.etree.ElementTree import Element, tostring

import pytest

from exporter.snapshot import NodeFacts, RenewalFacts, Snapshot
from exporter.store_look import renewal_facts
from renewctl import messages
from renewctl.inventory.reading import Account
from renewctl.renewal.events import Direction, Kind
from renewctl.renewal.history import histories
from tests.support import history as past
from tests.support.exporter_values import NOW, UID, inventory, node, seen, served, topic
from tests.support.html_page import facts, of_class, text
from tests.support.status_pages import READ, both, in_phase, nodes, page, section, sections, steps


def test_no_renewal() -> None:
    """Nothing is open, and it is nobody's turn; due, it is the operator's."""
    quiet = facts(section(page(both(served(days=300)))))
    assert (quiet["Renewal"], quiet["Whose turn"]) == ("none open", "nobody")
    assert facts(section(page(both(served(days=3)))))["Whose turn"] == "the operator, with renewctl"


PHASES = [
    ((Kind.OPENED,), "open", "the operator, with renewctl", "renewctl renewal request --topic tokyo"),
    (past.ACCEPTED[:3], "CSR made", "the MDM vendor", "--signed FILE"),
    (past.ACCEPTED[:4], "request ready for the portal", "a person, at Apple's portal", "sign it again"),
    (
        past.ACCEPTED,
        "certificate accepted, but still without the new pair: a, b",
        "the operator, with renewctl",
        "renewctl renewal roll-out --topic tokyo",
    ),
]


@pytest.mark.parametrize(("events", "phase", "turn", "step"), PHASES)
def test_an_open_renewal_and_whose_turn_it_is(
    events: tuple[Kind, ...], phase: str, turn: str, step: str
) -> None:
    """Phase, since when, whose turn, and the command to type."""
    found = page(in_phase(*events))
    told = facts(section(found))
    assert told["Renewal"] == f"tokyo-1: {phase}, since 2026-11-01 (Sun) 18:0{len(events)} JST"
    assert told["Whose turn"] == turn
    assert step in steps(found)


def test_a_request_for_the_portal_names_account_uid_file_and_button() -> None:
    """It is a person's turn: what they need at the portal stands on the page, in Japanese too.

    But nowhere on the page, which anybody may read, the address they sign in with (the alias stands for it, as in the
    metrics), who holds the second factor, or who the deputy is.
    """
    last = (NOW + timedelta(days=20)).isoformat()
    requested = (*past.ACCEPTED[:3], (Kind.REQUESTED, {"last_day": last, "file": "/tmp/request.plist"}))
    account = Account("mdm-tokyo", "mdm@example.invalid", second_factor="Suzuki's phone")
    known = inventory(replace(topic(deputy="Baba"), account=account), node("a"))
    told = in_phase(*requested)
    english, japanese = page(told, known), page(told, known, "ja")
    assert facts(section(english))["Whose turn"] == "a person, at Apple's portal"
    for words in ("mdm-tokyo", UID, "Renew", "request.plist"):
        assert words in steps(english)
        assert words in steps(japanese)
    assert facts(section(english))["Apple Account"] == "mdm-tokyo"
    for whole in (tostring(told_to, encoding="unicode") for told_to in (english, japanese)):
        assert [words for words in ("example.invalid", "Suzuki", "Baba") if words in whole] == []
    assert facts(section(japanese))["次の担当"] == "担当者（Appleのポータルでの作業）"


LEFT_OUT = {"waves": [["a"]], "left_out": {"b": "in repair"}}
ROLLED = (*past.ACCEPTED, (Kind.ROLL_OUT_STARTED, LEFT_OUT), past.wave("a"))


def test_owed_nodes() -> None:
    """A node left out is named beside the phase, in its row and among the warnings, with the reason given."""
    closed = (*ROLLED, past.told("a", "proven"), Kind.ROLL_OUT_FINISHED)
    new = replace(served(), not_after=past.START + timedelta(days=365), serial="0b")
    old = replace(served(), not_after=past.START + timedelta(days=42), serial="0a")
    snapshot = READ.with_node("a", NodeFacts().after(seen(new))).with_node("b", NodeFacts().after(seen(old)))
    found = page(in_phase(*closed, snapshot=snapshot))
    assert "still without the new pair: b" in facts(section(found))["Renewal"]
    assert "✕ owed" in nodes(found)["b"]["State"]
    assert "✓ proven" in nodes(found)["a"]["State"]
    [warnings] = of_class(found, "warnings")
    assert [text(one) for one in warnings] == [
        "Office tokyo: owed: b",
        "left out of the roll-out: b: in repair",
    ]


def test_rolled_back() -> None:
    """Every node is back: the phase says so, and what can be done."""
    back = (
        *ROLLED, past.told("a", "wrong"), (Kind.ROLL_BACK_STARTED, {"nodes": ["a"]}),
        past.wave("a", direction="previous"), past.told("a", "installed", "previous"), Kind.ROLL_BACK_FINISHED,
    )  # fmt: skip
    found = page(in_phase(*back), inventory(node("a")))
    assert "rolled back" in facts(section(found))["Renewal"]
    assert "renewctl renewal abort --topic tokyo" in steps(found)


BACK = (*ROLLED, past.told("a", "installed"), (Kind.ROLL_BACK_STARTED, {"nodes": ["a"]}), past.wave("a", direction="previous"))  # fmt: skip
NOT_BACK = (past.told("a", "unknown", "previous"), Kind.ROLL_BACK_FINISHED)


def test_rolled_back_but_for_a_node() -> None:
    """It is owed the previous pair, and said to be; nobody reads that it has not the new one. Also when it left."""
    for left in (inventory(node("a"), node("b")), inventory(node("b"))):
        told = facts(section(page(in_phase(*BACK, *NOT_BACK), left)))["Renewal"]
        assert "rolled back, but not known to have the previous pair back: a, since" in told


def test_putting_back_began() -> None:
    """Cut off: those not back yet are named, not those that never had the new pair."""
    told = facts(section(page(in_phase(*BACK))))["Renewal"]
    assert "rolling out, but not known to have the previous pair back: a, since" in told


def test_a_node_that_was_let_go() -> None:
    """Once the renewal has ended without it, that is what is said of it."""
    ended = in_phase(*BACK, *NOT_BACK, (Kind.ABORTED, {"let_go": ["a"]}))
    told = facts(section(page(ended, inventory(node("b")))))["Renewal"]
    assert "aborted; no longer in the inventory, and nobody knows which pair they have: a" in told


def test_a_changed_id_leads_to_the_id_before() -> None:
    """The open renewal is named with the topic, and the one step is to give the id back."""
    known = inventory(topic("hq"), node("a", "hq"), node("b", "hq"))
    found = page(in_phase(*BACK), known)
    assert "under the id tokyo" in text(of_class(found, "warnings")[0])
    assert "its id tokyo back" in steps(found)
    assert "rolling out" in facts(section(found))["Renewal"]
    assert "renewctl " not in steps(found)


def test_an_ended_renewal_is_the_last_one() -> None:
    """None is open; what became of the last is said."""
    ended = (*ROLLED, past.told("a", "proven"), past.wave("b"), past.told("b", "proven"), Kind.ROLL_OUT_FINISHED, Kind.CLOSED)  # fmt: skip
    assert facts(section(page(in_phase(*ended))))["Renewal"] == "none open; the last one, tokyo-1: closed"


def test_an_adopted_date_is_told_as_such() -> None:
    """No node tells it: the page does not pretend that one does."""
    adopted = past.events(Kind.ADOPTED, name="tokyo-0")
    told = replace(READ, histories=histories({"tokyo-0": adopted}))
    assert "no node tells it: adopted" in facts(section(page(told)))["Expires"]


@pytest.mark.parametrize(
    ("snapshot", "english", "japanese"),
    [
        (READ, "read: 2 min ago", "最終読み込み 2分前"),
        (replace(READ, store_up=False), "The store cannot be read", "ストアを読み込めません"),
        (Snapshot(store_up=False), "has not been read yet", "まだ読み込めていない"),
        (Snapshot(), "names no store", "ストアがない"),
    ],
)
def test_the_state_of_the_store(snapshot: Snapshot, english: str, japanese: str) -> None:
    """How old the facts of renewals are, or why there are none."""
    [head] = page(snapshot).iter("header")
    assert english in text(head)
    [head] = page(snapshot, language="ja").iter("header")
    assert japanese in text(head)


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_without_a_store_nothing_is_said_of_renewals(language: str) -> None:
    """That the inventory names none stands at the top; not beside it that it has not been read."""
    known = inventory(topic("t1"), topic("t2", uid="u2"), node("a", "t1", "t2"), store="")
    found = page(Snapshot(), known, language)
    assert messages.text("page.store.none", language) in text(found)
    assert messages.text("page.turn_unknown", language) not in text(found)
    for one in sections(found):
        assert not facts(one).keys() & {messages.text(f"page.{key}", language) for key in ("turn", "renewal")}


def test_the_store_is_down_since_before_the_start() -> None:
    """The phase that was kept is told, and that turns are unknown; nobody is sent anywhere."""
    kept = RenewalFacts(UID, "tokyo-1", "rolling_out", owed=("b",))
    found = page(Snapshot(renewals=(kept,), store_up=False, store_read=NOW - timedelta(hours=5)))
    told = facts(section(found))
    assert (told["Renewal"], told["Whose turn"]) == (
        "tokyo-1: rolling out",
        "unknown: the store has not been read",
    )
    assert of_class(found, "steps") == []
    assert "5 h ago" in text(of_class(found, "bad")[1])
    assert facts(section(page(Snapshot(store_up=False))))["Renewal"].startswith("unknown")


BOTH_OUT = (*past.ACCEPTED, (Kind.ROLL_OUT_STARTED, {"waves": [["a", "b"]]}), past.wave("a", "b"), past.told("a", "installed"), past.told("b", "installed"), Kind.ROLL_OUT_FINISHED)  # fmt: skip
HALF_BACK = (*BOTH_OUT, (Kind.ROLL_BACK_STARTED, {"nodes": ["a", "b"]}), past.wave("a", direction="previous"), past.told("a", "installed", "previous"))  # fmt: skip
OWED_PREVIOUS = {
    "en": "Office tokyo: owed the previous pair: ",
    "ja": "Office tokyo: 前の組に戻ったことを確認できていないノード: ",
}
NOT_PUT_BACK = {"en": "✕ owed the previous pair", "ja": "✕ 切り戻し未確認"}
NOT_ROLLED_OUT = {"en": "owed: ", "ja": "未展開"}


def warned(root: Element) -> list[str]:
    """The warnings of the one topic, in words."""
    return [text(one) for found in of_class(root, "warnings") for one in found]


def not_put_back(root: Element, language: str) -> list[str]:
    """The nodes whose row says so."""
    state = messages.text("page.column.state", language)
    return [name for name, row in nodes(root).items() if row[state].startswith(NOT_PUT_BACK[language])]


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_half_way_back_page_and_metric_name_the_same_nodes(language: str) -> None:
    """One node is back and owed nothing; the other is owed the previous pair, which no word calls not rolled out."""
    old, new = (
        replace(served(), not_after=past.START + timedelta(days=days), serial=serial)
        for days, serial in ((42, "0a"), (365, "0b"))
    )
    nodes_say = READ.with_node("a", NodeFacts().after(seen(old))).with_node("b", NodeFacts().after(seen(new)))
    told = in_phase(*HALF_BACK, snapshot=nodes_say)
    [facts_of] = renewal_facts(inventory(node("a"), node("b")), told.histories or {})
    found = page(told, language=language)
    assert (facts_of.owed, facts_of.bound_for) == (("b",), Direction.PREVIOUS)
    assert warned(found)[0] == OWED_PREVIOUS[language] + "b"
    assert not_put_back(found, language) == ["b"]
    assert NOT_ROLLED_OUT[language] not in text(found)


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_after_a_roll_back_a_node_that_still_serves_the_new_pair_is_owed_the_previous(language: str) -> None:
    """The store is read: neither row nor warning calls it not rolled out, which would be the opposite."""
    new = replace(served(), not_after=past.START + timedelta(days=365), serial="0b")
    told = READ.with_node("a", NodeFacts().after(seen(new)))
    found = page(in_phase(*BACK, *NOT_BACK, snapshot=told), language=language)
    assert warned(found)[0] == OWED_PREVIOUS[language] + "a"
    assert NOT_ROLLED_OUT[language] not in text(found)


@pytest.mark.parametrize("language", messages.LANGUAGES)
@pytest.mark.parametrize("phase", ["rolled_back", "rolling_out"])
def test_the_store_is_down_and_a_node_was_owed_the_previous_pair(phase: str, language: str) -> None:
    """Put back in vain, or not yet as it was cut off: phase, row and warning say which pair, in Japanese too."""
    kept = RenewalFacts(UID, "tokyo-1", phase, owed=("b",), bound_for=Direction.PREVIOUS)
    found = page(Snapshot(renewals=(kept,), store_up=False), language=language)
    left = messages.text(
        "phase.but_not_back", language, phase=messages.text(f"phase.{phase}", language), nodes="b"
    )
    assert f"tokyo-1: {left}" in text(found)
    assert OWED_PREVIOUS[language] + "b" in warned(found)
    assert not_put_back(found, language) == ["b"]
    assert NOT_ROLLED_OUT[language] not in text(found)
    forward = replace(kept, phase="installed", bound_for=Direction.NEW)
    assert NOT_ROLLED_OUT[language] in text(
        page(Snapshot(renewals=(forward,), store_up=False), language=language)
    )
