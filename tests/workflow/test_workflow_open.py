"""Beginning and ending a renewal: one at a time, by one operator at a time."""

from __future__ import annotations

import pytest

from renewctl.errors import Attention
from renewctl.inventory.reading import load
from renewctl.reasons import Reason
from renewctl.renewal.events import KEY_STORE, Kind
from renewctl.store.write import Stamp, Store
from renewctl.workflow.workplace import Workplace
from tests.support.certs import NOW, OTHER_TOPIC, TOPIC
from tests.support.desk import OLD, Desk

STAMP = Stamp("tanaka@ops2", "ops2", "0.1.0", "d" * 64)


def test_open_begins_the_first_renewal(desk: Desk) -> None:
    """Named after the topic, phase open, the adopted pair as the previous one."""
    desk.adopt()
    told = desk.told("renewal", "open")["renewal"]
    assert (told["name"], told["phase"], told["previous_serial"]) == ("tokyo-1", "open", OLD.serial)
    assert desk.kinds() == ["opened"]


def test_open_without_anything_adopted(desk: Desk) -> None:
    """Nothing is known of the previous pair, and that is told: null."""
    assert desk.told("renewal", "open")["renewal"]["previous_serial"] is None


def test_open_twice_is_refused(desk: Desk) -> None:
    """The open renewal is named, also by the dry run; no event is added."""
    desk.told("renewal", "open")
    for words in ((), ("--dry-run",)):
        error = desk.told("renewal", "open", *words, code=1)["error"]
        assert (error["reason"], error["values"]["renewal"]) == ("renewal_open_already", "tokyo-1")
    assert desk.kinds() == ["opened"]


def test_two_at_once_one_wins(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both looked before either wrote: the second is told that somebody moved, and who."""
    write = Workplace.write

    def overtaken(
        self: Workplace, name: str, kind: Kind, body: dict[str, object], seq: int, *more: object
    ) -> object:
        monkeypatch.setattr(Workplace, "write", write)
        with Store(desk.store) as store:
            store.append(name, kind, body, stamp=STAMP, expected_seq=seq)
        return write(self, name, kind, body, seq, *more)

    monkeypatch.setattr(Workplace, "write", overtaken)
    error = desk.told("renewal", "open", code=4)["error"]
    assert (error["reason"], error["values"]["holder"]) == ("somebody_else_moved", "tanaka@ops2")
    assert [event.actor for event in desk.events()] == ["tanaka@ops2"]


def test_an_event_between_reading_and_writing_is_noticed(desk: Desk) -> None:
    """An operator who aborts what another has just gone on with is told, and nothing is aborted."""
    desk.told("renewal", "open")
    inventory = load(desk.folder / "renewctl.yaml")
    with Store(desk.store) as store:
        work = Workplace(inventory, store, None, STAMP, lambda: NOW, lambda _key, _values: None)  # type: ignore[arg-type]
        seen = work.open_renewal(inventory.topics[0])
        store.append("tokyo-1", Kind.KEY_MADE, {"key_fingerprint": "k"}, stamp=STAMP, expected_seq=2)
        with pytest.raises(Attention) as caught:
            work.append(seen, Kind.ABORTED, {})
    assert caught.value.reason is Reason.SOMEBODY_ELSE_MOVED
    assert desk.kinds() == ["opened", "key_made"]


def test_a_dry_run_names_the_renewal_and_writes_nothing(desk: Desk) -> None:
    """No event after it."""
    assert desk.told("renewal", "open", "--dry-run")["renewal"] == "tokyo-1"
    assert desk.kinds() == []


@pytest.mark.parametrize("last", ["opened", "csr_made", "requested", "accepted"])
def test_abort_ends_a_renewal_that_touched_no_node(desk: Desk, last: str) -> None:
    """In every phase before the roll-out; the next one has the next number, and no second abort follows."""
    desk.adopt()
    desk.told("renewal", "open")
    if last != "opened":
        desk.told("renewal", "request", *(["--csr-only"] if last == "csr_made" else []), code=3)
    if last == "accepted":
        desk.told("renewal", "accept", desk.downloaded())
    assert desk.told("renewal", "abort", "--dry-run")["step"] == "abort"
    assert desk.kinds()[-1] == last
    assert desk.told("renewal", "abort")["renewal"]["phase"] == "aborted"
    assert desk.refusal("renewal", "abort", code=1) == "renewal_none_open"
    assert desk.told("renewal", "open")["renewal"]["name"] == "tokyo-2"


def test_abort_after_nodes_were_touched_is_refused(desk: Desk) -> None:
    """Proven on its nodes: only closing or rolling back ends it; the dry run says so too."""
    desk.to_proven()
    before = desk.kinds()
    for words in ((), ("--dry-run",)):
        assert desk.refusal("renewal", "abort", *words, code=1) == "out_of_order"
    assert desk.kinds() == before


def test_abort_after_a_roll_back(desk: Desk) -> None:
    """Every node is on the previous pair again: the renewal may be ended."""
    desk.to_proven()
    desk.told("renewal", "roll-back")
    assert desk.told("renewal", "abort")["renewal"]["phase"] == "aborted"


def test_the_next_years_previous_pair_is_this_years(desk: Desk) -> None:
    """A closed renewal's pair is the one in use: next year rolls back to it."""
    desk.to_proven()
    serial = desk.renewal()["serial"]
    desk.told("renewal", "close")
    assert desk.told("renewal", "open")["renewal"]["previous_serial"] == serial


def test_every_command_of_a_renewal_needs_an_open_one(desk: Desk) -> None:
    """Before `open`: refused, the topic named, no event."""
    file = desk.downloaded_from_nowhere()
    commands = [("request",), ("request", "--signed", file), ("accept", file), ("roll-out",), ("roll-back",)]
    commands += [("verify",), ("close",), ("abort",), ("roll-out", "--dry-run"), ("request", "--dry-run")]
    for words in commands:
        error = desk.told("renewal", *words, code=1)["error"]
        assert (error["reason"], error["values"]["topic"]) == ("renewal_none_open", "tokyo")
    assert desk.kinds() == []


COMMANDS = (
    *(("renewal", word) for word in ("open", "request", "roll-out", "verify", "roll-back", "close", "abort")),
    ("renewal", "show"),
    ("renewal", "open", "--dry-run"),
)


KEYS = (("keys", "check"), ("keys", "rekey"), ("keys", "destroy"))


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "the record has it under the id tokyo, not tokyo-hq"),
        ("ja", "記録でのidは tokyo-hq ではなく tokyo です"),
    ],
)
@pytest.mark.parametrize("ended", [False, True])
def test_a_changed_id_hides_nothing(desk: Desk, language: str, told: str, *, ended: bool) -> None:
    """`status` ends with 4, and tells what is on record; every command refuses, and leads to the id it had."""
    desk.to_accepted()
    if ended:
        desk.told("renewal", "roll-out")
        desk.told("renewal", "close")
    else:
        desk.playbooks.says("rollout", "n1", "unknown")
        desk.refusal("renewal", "roll-out", code=4)
    [before] = desk.told("status", "--offline", code=0 if ended else 4)["topics"]
    (topic,) = desk.inventory["topics"]
    desk.rewrite(topics=[topic | {"id": "tokyo-hq"}])
    done = desk.run("status", "--offline", "--lang", language)
    assert (done.code, told in done.out) == (4, True)
    [shown] = desk.told("status", "--offline", code=4)["topics"]
    assert {"warning.topic_under_other_id"} <= {warn["key"] for warn in shown["warnings"]}
    assert [step["key"] for step in shown["next_steps"]] == ["next.give_id_back"]
    for fact in ("not_after", "renewal"):
        assert shown[fact] == before[fact] is not None
    adopt = ("adopt", "--certificate", desk.file("old.pem", OLD.pem), "--certificate-only")
    for command in (*COMMANDS, adopt):
        error = desk.told(*command, code=1)["error"]
        assert (error["reason"], error["values"]["expected"]) == ("topic_under_other_id", "tokyo")
    steps = desk.run(*adopt).err.partition("NEXT STEPS")[2]
    assert ("its id tokyo back; then" in steps, "renewctl" in steps) == (True, False)
    desk.rewrite(topics=[topic])
    desk.playbooks.answers.clear()
    desk.told("renewal", "open" if ended else "roll-out")


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "the record has its id tokyo for another topic"),
        ("ja", "id tokyo は、記録では別のトピック"),
    ],
)
def test_an_id_that_another_inventory_uses(desk: Desk, language: str, told: str) -> None:
    """Two inventories, one store, one id: the second hears so at once, and nothing of the first is taken for its own."""
    desk.to_accepted()
    desk.told("renewal", "roll-out")
    (topic,) = desk.inventory["topics"]
    desk.rewrite(topics=[topic | {"topic": OTHER_TOPIC}])
    done = desk.run("status", "--offline", "--lang", language)
    assert (done.code, told in done.out) == (4, True)
    [shown] = desk.told("status", "--offline", code=4)["topics"]
    assert (shown["not_after"], shown["renewal"]) == (None, None)
    assert [step["key"] for step in shown["next_steps"]] == ["next.other_id"]
    known = desk.kinds()
    for command in COMMANDS:
        error = desk.told(*command, code=1)["error"]
        assert (error["reason"], error["values"]["expected"]) == ("id_of_other_topic", TOPIC)
    assert desk.kinds() == known
    desk.rewrite(topics=[topic | {"topic": OTHER_TOPIC, "id": "osaka"}])
    assert desk.told("renewal", "open")["renewal"]["name"] == "osaka-1"


@pytest.mark.parametrize(
    ("language", "told"),
    [("en", "mistyped then, or another inventory's"), ("ja", "別のインベントリーのものです")],
)
def test_a_renewal_without_a_pair_may_be_another_inventorys(desk: Desk, language: str, told: str) -> None:
    """Nothing is on record yet that would tell: nobody ends it, makes it a new key, or seals its key to others."""
    (topic,) = desk.inventory["topics"]
    desk.told("renewal", "open")
    desk.told("renewal", "request", code=3)
    known = desk.kinds()
    keys = desk.inventory["keys"] | {"destroy_after": "400d"}
    desk.rewrite(topics=[topic | {"topic": OTHER_TOPIC}], keys=keys)
    done = desk.run("status", "--offline", "--lang", language)
    assert (done.code, told in done.out) == (4, True)
    for command in (*COMMANDS, ("renewal", "request", "--new-key")):
        error = desk.told(*command, code=1)["error"]
        assert (error["reason"], error["values"]["expected"]) == ("renewal_of_other_uid", TOPIC)
    for command in KEYS:
        [fault] = desk.told(*command, code=1)["topic_faults"]
        assert (fault["reason"], fault["values"]["expected"]) == ("renewal_of_other_uid", TOPIC)
    assert (desk.kinds(), desk.kinds(KEY_STORE)) == (known, [])
    desk.rewrite(topics=[topic])
    desk.told("renewal", "request", "--new-key", "--csr-only", code=3)
    desk.rewrite(topics=[topic | {"topic": OTHER_TOPIC}])
    [shown] = desk.told("status", "--offline", code=4)["topics"]
    assert [(one["key"], one["command"]) for one in shown["next_steps"]] == [("next.uid_back", None)]
    desk.rewrite(topics=[topic])
    desk.told("renewal", "abort")
    desk.rewrite(topics=[topic | {"topic": OTHER_TOPIC}])
    assert (
        desk.told("renewal", "open")["renewal"]["name"] == "tokyo-2"
    )  # nothing but an end is on record of it


def test_two_uids_that_were_swapped_are_put_right(desk: Desk) -> None:
    """Each topic opened with the other's: each certificate says whose its renewal is."""
    other = desk.second_topic()
    tokyo, osaka = desk.inventory["topics"]
    desk.rewrite(topics=[tokyo | {"topic": other}, osaka | {"topic": tokyo["topic"]}])
    for name in ("tokyo", "osaka"):
        desk.told("renewal", "open", "--topic", name)
    desk.told("renewal", "request", "--topic", "tokyo", code=3)
    file = desk.downloaded()
    desk.rewrite(topics=[tokyo, osaka])
    assert desk.refusal("renewal", "abort", "--topic", "osaka", code=1) == "renewal_of_other_uid"
    desk.told("renewal", "accept", file, "--topic", "tokyo")
    desk.rewrite(topics=[tokyo, osaka | {"topic": "com.apple.mgmt.External.none"}])
    assert desk.refusal("renewal", "abort", "--topic", "osaka", code=1) == "renewal_of_other_uid"
    desk.rewrite(topics=[tokyo, osaka])
    desk.told("renewal", "roll-out", "--forward-only", "--topic", "tokyo")
    desk.told("renewal", "close", "--topic", "tokyo")
    assert desk.told("renewal", "open", "--topic", "tokyo")["renewal"]["name"] == "tokyo-2"
    desk.rewrite(topics=[tokyo | {"topic": other}, osaka | {"topic": tokyo["topic"]}])
    desk.told("renewal", "abort", "--topic", "osaka")
    assert desk.kinds("osaka-1") == ["opened", "aborted"]
    desk.rewrite(topics=[tokyo, osaka])
    assert desk.told("renewal", "open", "--topic", "osaka")["renewal"]["name"] == "osaka-2"


def test_a_mistyped_uid_is_put_right_before_the_certificate_is_accepted(desk: Desk) -> None:
    """It turns out when the certificate comes: not one step has to be done again, nor the portal asked twice."""
    (topic,) = desk.inventory["topics"]
    desk.rewrite(topics=[topic | {"topic": OTHER_TOPIC}])
    desk.told("renewal", "open")
    desk.told("renewal", "request", code=3)
    file = desk.downloaded()
    assert desk.refusal("renewal", "accept", file, code=1) == "topic_differs"
    desk.rewrite(topics=[topic])
    [shown] = desk.told("status", "--offline", code=4)["topics"]
    assert shown["renewal"]["name"] == "tokyo-1"
    assert "warning.renewal_of_other_uid" in [warn["key"] for warn in shown["warnings"]]
    assert [step["command"] for step in shown["next_steps"]] == ["renewctl renewal accept FILE --topic tokyo"]
    desk.told("renewal", "accept", file)
    desk.told("renewal", "roll-out", "--forward-only")
    desk.told("renewal", "close")
    [shown] = desk.told("status", "--offline")["topics"]
    assert (shown["renewal"]["phase"], shown["warnings"]) == ("closed", [])


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "Another inventory's? Then all is well."),
        ("ja", "別のインベントリーのものであれば、問題はありません"),
    ],
)
def test_inventories_may_share_a_store(desk: Desk, language: str, told: str) -> None:
    """Each with a part of its topics: an open renewal of another's topic is named, and nobody need look."""
    desk.second_topic()
    adopt = (
        "adopt",
        "--certificate",
        desk.file("old.pem", OLD.pem),
        "--certificate-only",
        "--topic",
        "tokyo",
    )
    desk.told(*adopt)
    desk.told("renewal", "open", "--topic", "tokyo")
    desk.rewrite(topics=desk.inventory["topics"][1:])
    assert told in desk.run("status", "--offline", "--lang", language).out
    document = desk.told("status", "--offline", code=4)  # of its own nodes nothing is known here
    [warned] = [one for one in document["warnings"] if "topic" in one["key"]]
    assert (warned["key"], warned["attention"]) == ("warning.renewal_without_topic", False)
