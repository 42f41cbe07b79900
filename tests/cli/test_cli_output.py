"""The only place that prints: streams, tables, next steps, patience."""

from __future__ import annotations

import io
import json
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType

import pytest

from renewctl.cli import output as module
from renewctl.cli.output import Output, steps_json
from renewctl.errors import Refused
from renewctl.guidance import Step
from renewctl.reasons import Reason

ENGLISH = Output("en", zone="Asia/Tokyo")
AT = datetime(2027, 1, 21, 0, 30, tzinfo=UTC)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def test_data_and_talk_go_to_different_streams(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output can be piped on; stderr is for the person who waits."""
    ENGLISH.show("status.uid", topic="x")
    ENGLISH.raw("plain")
    ENGLISH.say("node.asking", count=3)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("topic: x\nplain\n", "asking 3 nodes …\n")


def test_with_json_there_is_only_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither lines nor tables nor talk."""
    speaking = Output("en", as_json=True)
    speaking.show("status.uid", topic="x")
    speaking.show_red("status.uid", topic="x")
    speaking.raw("plain")
    speaking.say("node.asking", count=3)
    speaking.table(("column.node",), [("n1",)])
    speaking.next_steps([Step("next.close")])
    speaking.finding(Reason.FILE_EMPTY, {"path": "x"})
    speaking.json({"a": 1})
    shown = capsys.readouterr()
    assert (json.loads(shown.out), shown.err) == ({"a": 1}, "")


def test_plain_tables_line_up_with_wide_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """Japanese takes two columns a character; None is a dash."""
    ENGLISH.table(("column.node", "column.state"), [("東京", "x"), ("n1", None)])
    assert capsys.readouterr().out.splitlines() == ["NODE  STATE", "東京  x", "n1    –"]


def test_tables_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn by rich; what looks like its markup stays text."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    ENGLISH.table(("column.node",), [("[red]n1",)])
    assert "[red]n1" in screen.getvalue()
    assert "─" in screen.getvalue()


@pytest.mark.parametrize(("no_color", "red"), [("", True), ("1", False)])
def test_red_on_a_terminal_alone(no_color: str, red: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colour where somebody looks, unless they asked for none."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("NO_COLOR", no_color)
    ENGLISH.show_red("status.uid", topic="x")
    assert ("\x1b[1;31m" in screen.getvalue()) == red


def test_next_steps_are_numbered_with_commands_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its command below; instants in the topic's zone."""
    step = Step("next.nothing_due", {"due": AT})
    ENGLISH.next_steps([step, Step("next.close", {}, "renewctl renewal close")], "Asia/Tokyo")
    told = capsys.readouterr().err
    assert "\nNEXT STEPS\n  1. " in told
    assert "2027-01-21 (Thu) 09:30 JST" in told
    assert "  2. " in told
    assert told.endswith("\n       renewctl renewal close\n")
    ENGLISH.next_steps([])
    assert capsys.readouterr().err == ""


def test_next_steps_for_programs() -> None:
    """The key and the sentence."""
    (step,) = steps_json([Step("next.nothing_due", {"due": AT})], Output("ja"), "Asia/Tokyo")
    assert step["key"] == "next.nothing_due"
    assert "2027年1月21日(木) 09:30 JST" in str(step["text"])


def test_a_finding_is_told_with_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    """A warning, and what to make of it."""
    ENGLISH.finding(Reason.FILE_EMPTY, {"path": "x"})
    assert capsys.readouterr().err.startswith("warning: x is empty\n  hint: ")


def test_silence_is_explained_after_a_while(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Quick work says nothing; slow work says what it is about."""
    monkeypatch.setattr(module, "PATIENCE", 60)
    with ENGLISH.working("node.asking", count=1):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    with ENGLISH.working("node.asking", count=2):
        deadline = time.monotonic() + 60
        told = ""
        while "asking 2" not in told and time.monotonic() < deadline:
            time.sleep(0.01)
            told += capsys.readouterr().err
    assert "asking 2 nodes …" in told


@dataclass(frozen=True)
class Value:
    """A value of ours."""

    at: datetime


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (AT.astimezone(timezone(timedelta(hours=9))), "2027-01-21T00:30:00Z"),
        (Path("/x"), "/x"),
        ({"b", "a"}, ["a", "b"]),
        (Reason.FILE_EMPTY, "file_empty"),
        (MappingProxyType({"a": (1, 2)}), {"a": [1, 2]}),
        (Value(AT), {"at": "2027-01-21T00:30:00Z"}),
    ],
)
def test_json_has_instants_in_utc_and_values_as_objects(
    value: object, shown: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything a command tells has one form in JSON."""
    Output("en", as_json=True).json(value)
    assert json.loads(capsys.readouterr().out) == shown


def test_an_error_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """Reason, exit code, sentence, hint, values."""
    Output("en", as_json=True).error(Refused(Reason.WRITE_FAILED, path="x", got="y"))
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["reason"], error["exit_code"], error["values"]) == (
        "write_failed",
        1,
        {"path": "x", "got": "y"},
    )
    assert "others" not in error


def test_instants_in_the_topics_zone() -> None:
    """The zone is named."""
    assert ENGLISH.instant(AT) == "2027-01-21 (Thu) 09:30 JST"
