"""`renewctl audit …` as typed, and the head every changing command tells."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from renewctl import messages
from tests.support.cli import validate
from tests.support.desk import Desk
from tests.support.identities import Identity

pytestmark = pytest.mark.slow  # a whole desk for each

_HEAD = re.compile(r"^Head of the store: ([0-9a-f]{64})$", re.MULTILINE)


def newest(desk: Desk) -> str:
    """The hash of the event written last, as the database has it."""
    with sqlite3.connect(desk.folder / "state" / "renewctl.db") as connection:
        found = connection.execute("SELECT hash FROM events ORDER BY rowid DESC LIMIT 1").fetchone()
    connection.close()
    return str(found[0]) if found else ""


def tamper(desk: Desk, statement: str, *values: object) -> None:
    """Somebody is at the database."""
    with sqlite3.connect(desk.folder / "state" / "renewctl.db") as connection:
        connection.execute(statement, values)
    connection.close()


def found(desk: Desk, *words: str, code: int = 1) -> list[tuple[str, str | None, int | None]]:
    """What `audit verify` finds."""
    document = desk.told("audit", "verify", *words, code=code)
    assert document["intact"] == (code == 0)
    return [(one["reason"], one["renewal"], one["seq"]) for one in document["findings"]]


@pytest.fixture
def heads(desk: Desk) -> list[str]:
    """A year as JSON, and the head each command told."""
    told = [desk.adopt()["head"], desk.told("renewal", "open")["head"]]
    told.append(desk.told("renewal", "request", code=3)["head"])
    told.append(desk.told("renewal", "accept", desk.downloaded())["head"])
    told += [desk.told("renewal", command)["head"] for command in ("roll-out", "verify", "close")]
    return told


def test_every_head_ever_told_is_a_head_of_the_store(desk: Desk, heads: list[str]) -> None:
    """Each command tells another one, and each is found again, with how much was written since."""
    assert len(set(heads)) == len(heads)
    assert heads[-1] == newest(desk)
    since = []
    for head in heads:
        document = desk.told("audit", "verify", "--head", head)
        assert (document["intact"], document["asked"], document["head"]) == (True, head, heads[-1])
        since.append(document["events_since"])
    assert since == sorted(since, reverse=True)
    assert since[-1] == 0
    assert desk.told("audit", "verify")["events_since"] is None


def test_the_next_renewal_records_the_head_of_before(desk: Desk, heads: list[str]) -> None:
    """In its first event."""
    desk.told("renewal", "open")
    assert desk.events("tokyo-2")[0].body["store"]["before"] == heads[-1]


def test_people_are_told_the_head_too(desk: Desk) -> None:
    """One line on stderr, after whatever changed the store, also where that ended in a refusal; never otherwise."""
    desk.adopt()
    done = desk.run("renewal", "open")
    assert _HEAD.findall(done.err) == [newest(desk)]
    assert "Head of the store" not in done.out
    desk.run("renewal", "request")
    refused = desk.run("renewal", "accept", desk.downloaded_from_nowhere())
    assert (refused.code, _HEAD.findall(refused.err)) == (1, [newest(desk)])
    assert desk.events()[-1].kind.value == "certificate_refused"
    for words in (
        ("renewal", "open"),
        ("renewal", "show"),
        ("status", "--offline"),
        ("renewal", "abort", "--dry-run"),
    ):
        assert "Head of the store" not in desk.run(*words).err, words


def test_a_refusal_that_was_recorded_has_the_head_in_its_json(desk: Desk) -> None:
    """Beside the error; a refusal that wrote nothing has none."""
    desk.to_request()
    refused = desk.told("renewal", "accept", desk.downloaded_from_nowhere(), code=1)
    assert refused["head"] == newest(desk)
    assert "head" not in desk.told("renewal", "open", code=1)


def test_keys_sealed_anew_tell_the_head_too(desk: Desk) -> None:
    """`keys rekey` writes to the record as well."""
    desk.adopt()
    other = desk.folder / "other"
    other.mkdir()
    keys = desk.inventory["keys"]
    desk.rewrite(keys=keys | {"recipients": [*keys["recipients"], Identity(other, "age").recipient]})
    document = desk.told("keys", "rekey", "--identity", keys["identity"]["file"])
    assert document["head"] == newest(desk)
    assert desk.events("_keys-0")[-1].kind.value == "key_resealed"
    assert found(desk, "--head", document["head"], code=0) == []


def test_a_dry_run_tells_no_new_head(desk: Desk) -> None:
    """`adopt --dry-run` says the head as it is."""
    desk.file("old.pem", b"")
    before = desk.adopt()["head"]
    again = desk.adopt()
    assert (again["changed"], again["head"]) == (False, before)


class TestVerify:
    """`audit verify`."""

    def test_an_empty_store(self, desk: Desk) -> None:
        """Is as it was written."""
        assert found(desk, code=0) == []
        assert desk.told("audit", "verify")["head"] == ""

    def test_a_changed_event_is_named(self, desk: Desk, heads: list[str]) -> None:
        """Exit 1; renewal, event and sentence, for people as well."""
        tamper(desk, "UPDATE events SET actor = 'nobody@nowhere' WHERE renewal = 'tokyo-1' AND seq = 5")
        assert found(desk, "--head", heads[-1]) == [("audit_event_changed", "tokyo-1", 5)]
        done = desk.run("audit", "verify")
        assert done.code == 1
        assert "tokyo-1, event 5: its hash does not fit" in done.out
        assert "--head HASH" in done.err

    def test_a_cut_tail_is_found_with_the_head(self, desk: Desk, heads: list[str]) -> None:
        """The last event is gone: nobody sees it without the head, and with it everybody."""
        tamper(desk, "DELETE FROM events WHERE hash = ?", heads[-1])
        assert found(desk, code=0) == []
        assert found(desk, "--head", heads[-1]) == [("audit_head_missing", None, None)]
        assert found(desk, "--head", heads[0], code=0) == []

    @pytest.mark.usefixtures("heads")
    def test_a_changed_document_is_found(self, desk: Desk) -> None:
        """Certificate, CSR and request are looked at too."""
        tamper(desk, "UPDATE documents SET body = CAST('x' AS BLOB) WHERE rowid = 1")
        assert [reason for reason, *_ in found(desk)] == ["audit_document_changed"]

    @pytest.mark.usefixtures("heads")
    def test_a_run_taken_out_is_found(self, desk: Desk) -> None:
        """The first event that speaks of it is named; `verify` has a run, too."""
        tamper(desk, "DELETE FROM runs")
        told = {event.body.get("run"): event.seq for event in reversed(desk.events())}
        assert found(desk) == [("audit_run_missing", "tokyo-1", told[run]) for run in (1, 2)]

    @pytest.mark.usefixtures("heads")
    @pytest.mark.parametrize("run", [1, 2], ids=["roll-out", "verify"])
    @pytest.mark.parametrize("column", ["holder", "host", "since", "token", "renewal"])
    def test_a_changed_run_is_found(self, desk: Desk, run: int, column: str) -> None:
        """Who held it, where, since when, under which token, for which renewal; also of a run that changed no node."""
        other = "2020-01-01T00:00:00.000000+00:00" if column == "since" else "tokyo-0"
        tamper(desk, f"UPDATE runs SET {column} = ? WHERE number = ?", other, run)  # noqa: S608 - ours
        reason = "audit_run_missing" if column == "renewal" else "audit_run_changed"
        [event] = [event for event in desk.events() if event.body.get("run") == run][:1]
        assert found(desk) == [(reason, "tokyo-1", event.seq)]

    @pytest.mark.usefixtures("heads")
    def test_a_changed_run_is_told_in_words(self, desk: Desk) -> None:
        """What it says now, and what the event says."""
        tamper(desk, "UPDATE runs SET holder = 'mallory@x', host = 'evil' WHERE number = 1")
        done = desk.run("audit", "verify")
        event = desk.events()[5]
        assert "tokyo-1, event 6: run 1 was changed; it says holder=mallory@x, host=evil" in done.out
        assert f"the event holder={event.actor}, host={event.host}" in done.out

    @pytest.mark.parametrize("head", ["", "abc", "g" * 64, "a" * 63])
    def test_what_is_no_head(self, desk: Desk, head: str) -> None:
        """Exit 2."""
        assert desk.refusal("audit", "verify", "--head", head, code=2) == "option_invalid"

    def test_a_head_may_be_pasted_with_spaces_and_capitals(self, desk: Desk, heads: list[str]) -> None:
        """As it comes out of a ticket."""
        assert found(desk, "--head", f" {heads[0].upper()}\n", code=0) == []


class TestLog:
    """`audit log`."""

    def test_json(self, desk: Desk, heads: list[str]) -> None:
        """Every event of every topic, flat; as lines the same objects."""
        document = desk.told("audit", "log")
        assert (document["findings"], document["head"]) == ([], heads[-1])
        assert [event["number"] for event in document["events"] if event["renewal"] != "tokyo-0"] == list(
            range(2, len(document["events"]) + 1)
        )
        lines = desk.run("audit", "log", "--format", "jsonl").out.splitlines()
        assert [json.loads(line) for line in lines] == document["events"]

    def test_csv(self, desk: Desk, heads: list[str]) -> None:
        """A header, a row an event."""
        rows = list(csv.DictReader(io.StringIO(desk.run("audit", "log", "--format", "csv").out)))
        assert rows[-1]["hash"] == heads[-1]
        assert {row["inventory_digest"] for row in rows} == {desk.events()[0].inventory_digest}
        nodes = [(row["nodes"], row["outcome"]) for row in rows if row["event"] == "node_finished"]
        assert sorted(nodes) == [("n1", "proven"), ("n2", "proven"), ("n3", "proven")]

    @pytest.mark.usefixtures("heads")
    def test_for_people(self, desk: Desk) -> None:
        """A table in the topic's zone, in both languages."""
        assert "JST" in desk.run("audit", "log").out
        done = desk.run("audit", "log", "--lang", "ja")
        assert (done.code, "展開を開始" in done.out) == (0, True)

    @pytest.mark.usefixtures("heads")
    def test_by_year_and_topic(self, desk: Desk) -> None:
        """Only that year's, only that topic's; a topic that is nowhere is exit 2."""
        year = desk.events()[0].at.year
        everything = desk.told("audit", "log")["events"]
        assert desk.told("audit", "log", "--year", str(year + 5))["events"] == []
        uid = desk.inventory["topics"][0]["topic"]
        assert desk.told("audit", "log", "--topic", uid)["events"] == everything
        desk.second_topic()
        assert desk.told("audit", "log", "--topic", "osaka")["events"] == []
        error = desk.told("audit", "log", "--topic", "nagoya", code=2)["error"]
        assert error["values"]["expected"] == "osaka, tokyo"

    @pytest.mark.usefixtures("heads")
    def test_a_topic_that_left_the_inventory_is_still_told(self, desk: Desk) -> None:
        """Also by its id."""
        [own] = desk.inventory["topics"]
        desk.rewrite(
            topics=[{**own, "id": "kyoto"}],
            nodes=[{**node, "topics": ["kyoto"]} for node in desk.inventory["nodes"]],
        )
        events = desk.told("audit", "log", "--topic", "tokyo")["events"]
        assert {event["topic_id"] for event in events} == {"tokyo"}

    @pytest.mark.usefixtures("heads")
    def test_a_bad_row_hides_nothing(self, desk: Desk) -> None:
        """Exit 4: everything else is listed, and the row is a finding."""
        tamper(desk, "UPDATE events SET kind = 'invented' WHERE renewal = 'tokyo-1' AND seq = 2")
        done = desk.run("audit", "log", "--format", "jsonl")
        assert done.code == 4
        assert len(done.out.splitlines()) == len(_rows(desk)) - 1
        assert "kind 'invented'" in done.err
        document = desk.told("audit", "log", code=4)
        assert document["findings"][0]["reason"] == "audit_event_unreadable"


def _rows(desk: Desk) -> list[Any]:
    with sqlite3.connect(desk.folder / "state" / "renewctl.db") as connection:
        rows = connection.execute("SELECT hash FROM events").fetchall()
    connection.close()
    return rows


class TestReport:
    """`audit report`."""

    def report(self, desk: Desk, *words: str, code: int = 0) -> dict[str, Any]:
        """Of the year the desk's events are of."""
        rows = desk.told("audit", "log")["events"] if code == 0 else []
        year = rows[-1]["at"][:4] if rows else "2026"
        return desk.told("audit", "report", "--year", year, *words, code=code)

    @pytest.mark.parametrize("language", messages.LANGUAGES)
    def test_it_is_written_whole(self, desk: Desk, heads: list[str], language: str) -> None:
        """In the language asked for; every figure is there; nothing else is left in the folder."""
        out = desk.folder / "reports" / "2026.html"
        out.parent.mkdir()
        document = self.report(desk, "--out", str(out), "--lang", language)
        assert (document["file"], document["head"], document["topics"]) == (str(out), heads[-1], ["tokyo"])
        assert document["events"] == len(_rows(desk))
        text = out.read_text(encoding="utf-8")
        assert f'<html lang="{language}">' in text
        assert heads[-1] in text
        assert [path.name for path in out.parent.iterdir()] == ["2026.html"]

    @pytest.mark.usefixtures("heads")
    def test_an_earlier_report_is_replaced_and_nothing_else(self, desk: Desk) -> None:
        """A file of somebody else's, a folder, a link: refused, and untouched."""
        out = desk.folder / "report.html"
        self.report(desk, "--out", str(out))
        self.report(desk, "--out", str(out))
        foreign = desk.file("index.html", b"<html>mine</html>")
        link = desk.folder / "link.html"
        link.symlink_to(out)
        for path in (foreign, link, desk.folder, desk.folder / "renewctl.yaml"):
            error = self.report(desk, "--out", str(path), code=1)["error"]
            assert (error["reason"], error["values"]["path"]) == ("report_in_the_way", str(path))
        assert foreign.read_bytes() == b"<html>mine</html>"

    def test_a_folder_that_is_not_there(self, desk: Desk) -> None:
        """Said before the store is read."""
        error = self.report(desk, "--out", str(desk.folder / "no" / "r.html"), code=1)["error"]
        assert error["reason"] == "write_failed"

    @pytest.mark.usefixtures("heads")
    def test_for_people(self, desk: Desk) -> None:
        """Says where it is; with findings exit 4, and the page is written all the same."""
        tamper(desk, "UPDATE events SET host = 'x' WHERE seq = 2")
        out = desk.folder / "report.html"
        done = desk.run("audit", "report", "--year", "2026", "--out", out)
        assert done.code == 4
        assert str(out) in done.out
        assert "its hash does not fit" in done.err
        assert "its hash does not fit" in out.read_text()

    def test_hostile_words_on_the_command_line(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Actor, reason and ticket, all the way from the command line to the page and the spreadsheet."""
        monkeypatch.setenv("LOGNAME", "<script>alert(1)</script>")
        bad = '=HYPERLINK("http://x")<img src=x>'
        desk.told("renewal", "open", "--reason", bad, "--ticket", bad)
        out = desk.folder / "report.html"
        self.report(desk, "--out", str(out))
        text = out.read_text()
        assert "<script" not in text
        assert "<img" not in text
        assert "&lt;img src=x&gt;" in text
        rows = list(csv.DictReader(io.StringIO(desk.run("audit", "log", "--format", "csv").out)))
        assert rows[0]["reason"] == f"'{bad}"


def test_a_table_moves_no_cursor(desk: Desk) -> None:
    """What somebody typed as a reason is spelled out on a terminal, not obeyed."""
    desk.told("renewal", "open", "--reason", "a\x1b[2J\nb", "--ticket", "\u202etxt")
    done = desk.run("audit", "log")
    assert r"a\x1b[2J\nb" in done.out
    assert r"\u202etxt" in done.out
    assert "\x1b" not in done.out


def test_a_line_of_jsonl_is_an_event_of_the_schema(desk: Desk) -> None:
    """One object, as the schema's `events` has it."""
    desk.told("renewal", "open")
    [line] = desk.run("audit", "log", "--format", "jsonl").out.splitlines()
    validate("audit", {"events": [json.loads(line)], "findings": [], "head": ""})


def test_without_a_store(desk: Desk, tmp_path: Path) -> None:
    """`store_missing`, as everywhere."""
    (desk.folder / "state" / "renewctl.db").unlink()
    for words in (("verify",), ("log",), ("report", "--year", "2026", "--out", str(tmp_path / "r.html"))):
        assert desk.refusal("audit", *words, code=2) == "store_missing"
