"""`renewctl renewal …` as typed: record, topics, the story told by `show`, both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from renewctl.reasons import Reason
from tests.support.desk import Desk
from tests.support.pretended_playbooks import SLEEPING

_KEY = re.compile(r"(?<![\w./-])[a-z_]+\.[a-z_]+(\.[a-z_]+)*(?![\w./-])")
_FILES = {"csr", "plist", "pem", "yaml", "db", "key", "com", "example"}


def keys_in(text: str) -> list[str]:
    """Words that look like a catalogue's key: a missing sentence is shown as its key."""
    found = [match[0] for match in _KEY.finditer(text)]
    return [word for word in found if not set(word.split(".")) & _FILES]


def test_the_search_for_missing_sentences_finds_one() -> None:
    """The check can fail: a bare key is found, files, commands and domains are not."""
    assert keys_in("x\nrenewal.is\n") == ["renewal.is"]
    assert keys_in("node.new.proven: 1") == ["node.new.proven"]
    assert keys_in("tokyo-1.plist mdm@example.com https://identity.apple.com/pushcert/ 0.1.0") == []


YEAR: list[tuple[str | Path, ...]] = [
    ("renewal", "open", "--dry-run"),
    ("renewal", "open"),
    ("renewal", "open"),
    ("renewal", "request", "--dry-run"),
    ("renewal", "request", "--csr-only"),
    ("renewal", "request"),
    ("renewal", "accept", "nowhere.pem"),
    ("renewal", "accept", "DOWNLOAD", "--dry-run"),
    ("renewal", "accept", "DOWNLOAD"),
    ("renewal", "roll-out", "--dry-run"),
    ("renewal", "roll-out"),
    ("renewal", "roll-out", "--unproven-ok", "--leave-out", "n3=repair"),
    ("renewal", "roll-out"),
    ("renewal", "close", "--dry-run"),
    ("renewal", "verify"),
    ("renewal", "show"),
    ("renewal", "roll-back", "--dry-run"),
    ("renewal", "roll-back"),
    ("renewal", "roll-out"),
    ("renewal", "abort"),
    ("renewal", "close"),
    ("renewal", "show", "--name", "tokyo-9"),
    ("renewal", "open"),
    ("renewal", "abort", "--dry-run"),
    ("renewal", "abort"),
    ("renewal", "show", "--name", "tokyo-1"),
]


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.slow
def test_a_year_in_words_without_a_missing_sentence(desk: Desk, language: str) -> None:
    """Every command, well and badly ended, in both languages: no output shows a catalogue key."""
    desk.adopt()
    desk.downloaded_from_nowhere()
    desk.playbooks.says("rollout", "n1", "not_proven", proof=SLEEPING, reason=Reason.PROOF_NO_CHECK_IN)
    for words in YEAR:
        if "DOWNLOAD" in words and not (desk.folder / "DOWNLOAD").exists():
            desk.downloaded("DOWNLOAD")
        done = desk.run(*words, "--lang", language)
        assert done.code in {0, 1, 3, 4}, (words, done)
        assert keys_in(done.out + done.err) == [], (words, done)
        assert {"en": "次に行うこと", "ja": "NEXT STEPS"}[language] not in done.err
        if words == ("renewal", "roll-out", "--unproven-ok", "--leave-out", "n3=repair"):
            desk.playbooks.answers.clear()
    assert desk.kinds()[-1] == "closed"


def test_japanese_is_japanese(desk: Desk) -> None:
    """A topic that speaks Japanese does so without being asked; the commands to paste stay as they are."""
    topics = desk.inventory["topics"]
    topics[0]["language"] = "ja"
    desk.rewrite(topics=topics)
    done = desk.run("renewal", "open")
    assert "次に行うこと" in done.err
    assert "renewctl renewal request --topic tokyo" in done.err


def test_reason_and_ticket_are_recorded(desk: Desk) -> None:
    """In the store and in `show`; a command without them records none."""
    desk.told("renewal", "open", "--reason", "yearly", "--ticket", "CHG-7")
    desk.told("renewal", "abort")
    assert [(event.reason, event.ticket) for event in desk.events()] == [("yearly", "CHG-7"), (None, None)]
    shown = desk.told("renewal", "show")["events"]
    assert [(event["reason"], event["ticket"]) for event in shown] == [("yearly", "CHG-7"), (None, None)]


def test_a_roll_out_records_them_in_each_event(desk: Desk) -> None:
    """Roll-out, verify and roll-back carry them too."""
    desk.to_accepted()
    for command in ("roll-out", "verify", "roll-back"):
        before = len(desk.events())
        desk.told("renewal", command, "--reason", command, "--ticket", "CHG-8")
        written = desk.events()[before:]
        assert {(event.reason, event.ticket) for event in written} == {(command, "CHG-8")}


COMMANDS: list[tuple[str, ...]] = [
    ("open",),
    ("request",),
    ("accept", "x"),
    ("roll-out",),
    ("verify",),
    ("roll-back",),
    ("close",),
    ("abort",),
    ("show",),
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_one_of_several_topics(desk: Desk, words: tuple[str, ...]) -> None:
    """Which one has to be said: exit 2 names option and topics; nothing is written."""
    desk.second_topic()
    error = desk.told("renewal", *words, code=2)["error"]
    assert (error["reason"], error["values"]["expected"]) == ("several_topics", "tokyo, osaka")
    assert desk.refusal("renewal", *words, "--topic", "nagoya", code=2) == "topic_unknown"
    assert desk.kinds() == []


def test_topics_do_not_get_in_each_others_way(desk: Desk) -> None:
    """Each has its own renewal and name; the UID names a topic as well as its id."""
    uid = desk.second_topic()
    assert desk.told("renewal", "open", "--topic", "tokyo")["renewal"]["name"] == "tokyo-1"
    assert desk.told("renewal", "open", "--topic", uid)["renewal"]["name"] == "osaka-1"
    assert desk.told("renewal", "show", "--topic", "osaka")["renewal"]["topic"] == uid


class TestShow:
    """A renewal's story."""

    def test_none_yet(self, desk: Desk) -> None:
        """Exit 1; also where only an adoption is recorded."""
        assert desk.refusal("renewal", "show", code=1) == "renewal_none_open"
        desk.adopt()
        assert desk.refusal("renewal", "show", code=1) == "renewal_none_open"

    def test_by_name(self, desk: Desk) -> None:
        """An earlier one by name, without next steps; an unknown one is refused with those there are."""
        desk.told("renewal", "open")
        desk.told("renewal", "abort")
        desk.told("renewal", "open")
        assert desk.told("renewal", "show")["renewal"]["name"] == "tokyo-2"
        earlier = desk.told("renewal", "show", "--name", "tokyo-1")
        assert (earlier["renewal"]["phase"], earlier["next_steps"]) == ("aborted", [])
        error = desk.told("renewal", "show", "--name", "tokyo-9", code=1)["error"]
        assert (error["values"]["got"], error["values"]["expected"]) == ("tokyo-9", "tokyo-1, tokyo-2")

    def test_events_and_nodes_in_words(self, desk: Desk) -> None:
        """Who did what when, then each node; JSON has the hash chain's hashes."""
        desk.to_accepted()
        desk.refusal("renewal", "roll-out", "--leave-out", "n3=repair", code=4)
        done = desk.run("renewal", "show")
        for words in ("certificate accepted", "node finished", "not touched", "JST"):
            assert words in done.out
        hashes = [event["hash"] for event in desk.told("renewal", "show")["events"]]
        assert len(set(hashes)) == len(desk.events())

    def test_it_needs_no_key_and_writes_nothing(self, desk: Desk) -> None:
        """Without key store and identity it still tells."""
        desk.to_accepted()
        desk.lose_keys()
        before = desk.kinds()
        assert desk.renewal()["phase"] == "accepted"
        assert desk.kinds() == before


def test_next_steps_name_the_account_and_the_row(desk: Desk) -> None:
    """After `request`: where to sign in, as whom, which row, what never to press, which file."""
    desk.adopt()
    desk.run("renewal", "open")
    done = desk.run("renewal", "request")
    assert done.code == 3
    for words in (
        "https://identity.apple.com/pushcert/",
        "mdm@example.com",
        desk.inventory["topics"][0]["topic"],
        "Never press Create a Certificate",
        "tokyo-1.plist",
    ):
        assert words in done.err


def test_the_inventory_option_is_repeated_in_the_next_steps(desk: Desk) -> None:
    """What was typed once has to be typed again."""
    done = desk.run("renewal", "open", "--inventory", desk.folder / "renewctl.yaml")
    assert f"renewctl --inventory {desk.folder}/renewctl.yaml renewal request --topic tokyo" in done.err
