"""Events as lines: what they tell of whom and what, and that a spreadsheet computes none of it."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewctl.audit.checks import verify
from renewctl.audit.lines import COLUMNS, Line, csv_lines, json_lines, lines
from renewctl.renewal.events import Kind
from renewctl.visible import visible
from tests.support.chained import Chained
from tests.support.history import ACCEPTED, NEW, OLD, TOPIC, told


def lines_of(store: Chained) -> list[Line]:
    """All of them."""
    return list(lines(verify(store.raw()).rows))


def rolled() -> Chained:
    """A renewal with a roll-out, a node put back, a certificate refused."""
    store = Chained()
    for kind in ACCEPTED:
        store.append("tokyo-1", kind, reason="yearly", ticket="CHG-7")
    store.append("tokyo-1", Kind.ROLL_OUT_STARTED)
    store.append("tokyo-1", Kind.WAVE_STARTED, body={"nodes": ["n1", "n2"]})
    for node, outcome, direction in (("n1", "proven", "new"), ("n2", "installed", "previous")):
        kind, body = told(node, outcome, direction)
        store.append("tokyo-1", kind, body={**body, "reason": "proof_no_check_in", "values": {"got": "x"}})
    return store


def test_a_line_tells_who_when_from_where_on_what() -> None:
    """Every field of the event is in its line, and the topic it is about."""
    line = lines_of(rolled())[1]
    assert (line.number, line.renewal, line.seq, line.event) == (2, "tokyo-1", 2, "key_made")
    assert (line.actor, line.authenticated, line.host) == ("tanaka@ops1", "tanaka", "ops1")
    assert (line.version, line.inventory_digest) == ("0.1.0", "d" * 64)
    assert (line.reason, line.ticket) == ("yearly", "CHG-7")
    assert (line.topic_id, line.topic) == ("tokyo", TOPIC)
    assert line.as_json()["at"] == "2026-11-03T09:00:00Z"


def test_a_nodes_answer_names_the_certificate_it_was_given() -> None:
    """New or previous, by the direction; with outcome, proof and reason."""
    new, previous = lines_of(rolled())[-2:]
    assert (new.nodes, new.outcome, new.serial, new.run) == ("n1", "proven", NEW["serial"], 1)
    assert (previous.nodes, previous.outcome, previous.serial) == ("n2", "installed", OLD["serial"])
    assert new.not_after == "2027-11-01T09:00:00Z"
    assert new.proof == "read_back=yes"
    assert (new.node_reason, new.node_values) == ("proof_no_check_in", '{"got": "x"}')


def test_what_a_plan_and_a_wave_name() -> None:
    """Each node once, in order; the pair a roll-out brings."""
    plan, wave = lines_of(rolled())[5:7]
    assert (plan.nodes, plan.serial) == ("n1, n2", NEW["serial"])
    assert (wave.nodes, wave.direction) == ("n1, n2", "new")


def test_a_refused_certificate_tells_which_and_why() -> None:
    """Its fingerprint and the first finding's values."""
    store = Chained()
    store.append("tokyo-1", Kind.OPENED)
    findings = [{"reason": "topic_differs", "level": "refuse", "values": {"got": "other"}}]
    store.append("tokyo-1", Kind.CERTIFICATE_REFUSED, body={"findings": findings, "fingerprint": "f" * 64})
    line = lines_of(store)[-1]
    assert (line.fingerprint, line.serial) == ("f" * 64, None)
    assert (line.node_reason, line.node_values) == ("topic_differs", '{"got": "other"}')


@pytest.mark.parametrize(
    "body",
    [
        {"pair": 3, "node": 4, "nodes": "n", "waves": {"a": 1}, "proof": "p", "reason": [], "values": 1},
        {"pair": {"serial": 1, "not_after": "soon"}, "waves": ["x", [1]], "findings": [1], "proof": {}},
        {"pair": {"not_after": "9999-12-31T23:59:59"}, "run": "1", "proof": {"rungs": []}, "topic": None},
        {"pair": {"not_after": "0001-01-01T00:00:00+23:00"}, "findings": {}, "direction": 1, "outcome": {}},
    ],
)
@pytest.mark.parametrize("kind", list(Kind))
def test_a_body_that_makes_no_sense_is_a_line_all_the_same(kind: Kind, body: dict[str, object]) -> None:
    """Whatever stands in it, of whatever kind: what cannot be told is left out."""
    store = Chained()
    store.append("tokyo-1", kind, body=body)
    [line] = lines_of(store)
    assert line.event == kind.value
    assert json.loads(next(json_lines([line])))["seq"] == 1


def test_json_lines_are_objects_of_the_columns() -> None:
    """One a line, ASCII, so that no terminal or log reader is misled."""
    told_lines = list(json_lines(lines_of(rolled())))
    assert len(told_lines) == 9
    assert all(text.isascii() and "\n" not in text for text in told_lines)
    assert list(json.loads(told_lines[0])) == list(COLUMNS)


HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "\n=1", "＝1", "=cmd|'/c calc'!A1"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_is_a_formula(text: str) -> None:
    """Whatever an actor, a reason or a ticket begins with: a spreadsheet takes it for text."""
    store = Chained()
    store.append("tokyo-1", Kind.OPENED, actor=text, reason=text, ticket=text)
    [_, row] = csv.reader(io.StringIO("\n".join(csv_lines(lines_of(store)))))
    assert all(cell.lstrip()[:1] not in set("=+-@＝＋－＠\t\r\n") for cell in row)
    assert row[COLUMNS.index("actor")].lstrip("'") == visible(text)


@settings(deadline=None)
@given(texts=st.lists(st.text(max_size=20), min_size=3, max_size=3))
def test_csv_reads_back_as_it_was(texts: list[str]) -> None:
    """Commas, quotes, line ends, control characters: always the same number of cells, one line an event."""
    store = Chained()
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    actor, reason, ticket = texts
    store.append("tokyo-1", Kind.OPENED, actor=actor, reason=reason, ticket=ticket)
    told_lines = list(csv_lines(lines_of(store)))
    [header, row] = csv.reader(io.StringIO("\n".join(told_lines)))
    assert (tuple(header), len(row), len(told_lines)) == (COLUMNS, len(COLUMNS), 2)
    found = [row[COLUMNS.index(name)] for name in ("actor", "reason", "ticket")]
    assert all(cell in {visible(text), f"'{visible(text)}"} for cell, text in zip(found, texts, strict=True))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("日本語 é 🙂", "日本語 é 🙂"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\u202eb", r"a\u202eb"),
        ("\ud800", r"\ud800"),
        ("a\nb\u2028c", r"a\nb\u2028c"),
        ("全角\u3000空白", "全角\u3000空白"),
    ],
)
def test_what_moves_a_cursor_or_turns_a_line_is_spelled_out(text: str, shown: str) -> None:
    """Everything else stays as it is."""
    assert visible(text) == shown
