"""What is known: a failed look takes nothing away, and a restart neither."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import snapshot_file
from exporter.collectors.certificates import shown
from exporter.snapshot import ExpiryFacts, Known, NodeFacts, RenewalFacts, Snapshot
from exporter.start import fitting, starting_snapshot
from renewctl.inventory.reading import Expiring, ExpiryKind
from renewctl.observation import DeviceCounts, Failure, SeenFile, Source
from renewctl.reasons import Reason
from renewctl.renewal.events import Direction, PairRef
from tests.support.exporter_values import NOW, inventory, node, seen, served

SILENT = (Failure(Reason.NODE_TIMEOUT),)
COUNTS = (DeviceCounts("t", 3, {86400: 2}),)


def test_a_silent_node_keeps_what_it_said_and_when() -> None:
    """Its certificate and counts stay with their own time; it counts as not up, its last success is old."""
    facts = NodeFacts().after(seen(served(), devices=COUNTS))
    later = facts.after(seen(up=False, failures=SILENT, minutes=5))
    assert later.certificates == (Known(served(), NOW),)
    assert (later.devices, later.last_success) == (COUNTS, NOW)
    assert (later.up, later.failures, later.looked_at) == (
        False,
        (Reason.NODE_TIMEOUT,),
        NOW + timedelta(minutes=5),
    )


def test_a_look_without_failures_replaces_everything() -> None:
    """A certificate that is gone from the server is gone from the snapshot."""
    facts = NodeFacts().after(seen(served(), devices=COUNTS)).after(seen(minutes=1))
    assert (facts.certificates, facts.devices, facts.failures) == ((), None, ())


def test_what_one_source_cannot_say_now_is_kept_beside_what_another_says() -> None:
    """The database fails, the API answers: both dates stay, each with its time."""
    facts = NodeFacts().after(seen(served(), served(Source.DATABASE)))
    facts = facts.after(seen(served(days=200), failures=SILENT, minutes=1))
    times = {known.served.source: known.at for known in facts.certificates}
    assert times == {Source.API: NOW + timedelta(minutes=1), Source.DATABASE: NOW}
    assert facts.up is True


def test_of_two_answers_of_a_lying_node_the_worse_is_shown() -> None:
    """At most one certificate a topic and source is promised; nobody has to keep a promise."""
    facts = NodeFacts().after(seen(served(days=300), served(days=2), served(days=90)))
    assert [known.served for known in facts.certificates] == [served(days=2)]


def test_a_node_of_files_is_up_if_they_could_be_read() -> None:
    """Where no process was asked, its files speak; files on another host say nothing about it."""
    assert NodeFacts().after(seen(served(), up=None)).up is True
    assert NodeFacts().after(seen(up=None)).up is True
    unreadable = (Failure(Reason.NODE_CERTIFICATE_UNREADABLE),)
    assert NodeFacts().after(seen(up=None, failures=unreadable)).up is False
    bad = SeenFile("/pki/bad.pem", reason=Reason.FILE_EMPTY)
    assert NodeFacts().after(seen(up=None, failures=unreadable, files=(bad,))).up is False
    good = SeenFile("/pki/tls.pem", not_after=NOW)  # no push certificate: it is served to nobody
    assert NodeFacts().after(seen(up=None, failures=unreadable, files=(bad, good))).up is True
    elsewhere = (Failure(Reason.NODE_CERTIFICATE_ELSEWHERE),)
    assert NodeFacts().after(seen(up=None, failures=elsewhere)).up is None


def test_a_pkcs12_file_that_no_roll_out_made_says_nothing_about_its_node() -> None:
    """Nobody can see into it until the first roll-out; beside a file that is missing the node is down all the same."""
    locked = Failure(Reason.NODE_CERTIFICATE_LOCKED)
    assert NodeFacts().after(seen(up=None, failures=(locked,))).up is None
    assert NodeFacts().after(seen(served(), up=None, failures=(locked,))).up is True
    missing = Failure(Reason.NODE_CERTIFICATE_UNREADABLE)
    assert NodeFacts().after(seen(up=None, failures=(locked, missing))).up is False


def test_an_overdue_look_is_a_failure_and_takes_nothing_away() -> None:
    """Nothing heard: the facts stay."""
    facts = NodeFacts().after(seen(served(), devices=COUNTS)).failing(NOW, Reason.NODE_TIMEOUT)
    assert (facts.up, facts.failures) == (False, (Reason.NODE_TIMEOUT,))
    assert (facts.certificates, facts.devices) == ((Known(served(), NOW),), COUNTS)


texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)
instants = st.integers(0, 4_000_000_000).map(lambda n: NOW + timedelta(seconds=n - 1_795_435_200))
told = st.builds(
    served,
    st.sampled_from(Source),
    st.integers(-400, 400),
    texts,
    serial=st.none() | texts,
    issuer=st.none() | texts,
    fingerprint=st.none() | texts,
    key_fingerprint=st.none() | texts,
)
known = st.builds(Known, told, instants)
files = st.builds(SeenFile, texts, texts, st.none() | instants, st.none() | st.sampled_from(Reason))
counts = st.builds(
    DeviceCounts, texts, st.integers(0), st.dictionaries(st.integers(1), st.integers(0), max_size=3)
)
facts = st.builds(
    NodeFacts,
    looked_at=st.none() | instants,
    up=st.sampled_from([True, False, None]),
    failures=st.lists(st.sampled_from(Reason), max_size=3).map(tuple),
    last_success=st.none() | instants,
    told=st.lists(told, max_size=3).map(tuple),
    told_at=st.none() | instants,
    kept=st.lists(known, max_size=3).map(tuple),
    files=st.lists(files, max_size=3).map(tuple),
    gone=st.dictionaries(texts, instants, max_size=2),
    devices=st.none() | st.lists(counts, max_size=2).map(tuple),
    devices_at=st.none() | instants,
)
pairs = st.builds(
    PairRef,
    document=texts,
    fingerprint=texts,
    serial=texts,
    not_after=instants,
    key_fingerprint=st.none() | texts,
)
renewals = st.builds(
    RenewalFacts,
    topic=texts,
    renewal=texts,
    phase=texts,
    accepted_at=st.none() | instants,
    owed=st.lists(texts, max_size=2).map(tuple),
    recorded=st.dictionaries(texts, known, max_size=2),
    bound_for=st.sampled_from(Direction),
    ahead=st.dictionaries(texts, instants, max_size=2),
    left=st.none() | pairs,
)
snapshots = st.builds(
    Snapshot,
    nodes=st.dictionaries(texts, facts, max_size=3),
    renewals=st.lists(renewals, max_size=2).map(tuple),
    store_head=texts,
    store_read=st.none() | instants,
)


@given(snapshot=snapshots)
def test_a_kept_snapshot_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, snapshot: Snapshot
) -> None:
    """Everything but whether the store answers, which is a fact of this run."""
    path = tmp_path_factory.mktemp("kept") / "snapshot.json"
    snapshot_file.save(path, snapshot)
    assert snapshot_file.load(path) == snapshot


def test_the_file_is_for_owner_and_group_and_replaced_whole(tmp_path: Path) -> None:
    """Mode 0640, nothing left beside it."""
    path = tmp_path / "snapshot.json"
    previous = os.umask(0o022)
    try:
        snapshot_file.save(path, Snapshot())
        snapshot_file.save(path, Snapshot(nodes={"a": NodeFacts()}))
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [found.name for found in tmp_path.iterdir()] == ["snapshot.json"]


def test_a_failed_write_leaves_the_file_before(tmp_path: Path) -> None:
    """Nothing half-written under the file's name."""
    path = tmp_path / "snapshot.json"
    snapshot_file.save(path, Snapshot(nodes={"a": NodeFacts()}))
    (tmp_path / "snapshot.json.new").mkdir()
    with pytest.raises(OSError, match=r"snapshot\.json\.new"):
        snapshot_file.save(path, Snapshot())
    assert snapshot_file.load(path) == Snapshot(nodes={"a": NodeFacts()})


GOOD = {
    "version": snapshot_file.VERSION,
    "nodes": {},
    "renewals": [],
    "adopted": {},
    "expiries": [],
    "store_head": "",
    "store_read": None,
}
DAMAGED = [
    b"",
    b"{",
    b"[]",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    *(
        json.dumps(value).encode()
        for value in (
            None,
            {},
            {**GOOD, "version": 1},
            {**GOOD, "nodes": []},
            {**GOOD, "nodes": {"a": 1}},
            {**GOOD, "nodes": {"a": {"looked_at": "yesterday", "up": 1}}},
            {**GOOD, "renewals": [{}]},
            {**GOOD, "renewals": 1},
            {**GOOD, "expiries": [["ade_token", {}]]},
        )
    ),
]


def test_what_is_damaged_below_was_good(tmp_path: Path) -> None:
    """Each of the damaged ones is so by what it changes alone."""
    path = tmp_path / "snapshot.json"
    path.write_text(json.dumps(GOOD))
    assert snapshot_file.load(path) == Snapshot()


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: content[:24].decode("latin-1"))
def test_a_damaged_file_is_no_reason_not_to_start(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not used, and one line in the log says so, without its content."""
    path = tmp_path / "snapshot.json"
    path.write_bytes(content)
    assert starting_snapshot(path, inventory()) == Snapshot(store_up=False)
    [record] = caplog.records
    assert str(path) in record.message
    assert record.exc_info is None


def test_an_unreadable_file_is_no_reason_not_to_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder of that name, a pipe that nobody writes to; and a pipe beside it holds up no writing."""
    os.mkfifo(tmp_path / "snapshot.json.new")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        assert starting_snapshot(path, inventory()) == Snapshot(store_up=False)
        assert "not a regular file" in caplog.text
        caplog.clear()
    with pytest.raises(OSError, match="No such device"):
        snapshot_file.save(tmp_path / "snapshot.json", Snapshot())


def test_nodes_that_left_the_inventory_are_forgotten(tmp_path: Path) -> None:
    """Only what is asked for now is published."""
    path = tmp_path / "snapshot.json"
    snapshot_file.save(path, Snapshot(nodes={"a": NodeFacts(), "gone": NodeFacts()}))
    assert set(starting_snapshot(path, inventory(node("a"))).nodes) == {"a"}


def test_without_a_file_or_a_store_the_start_is_empty(tmp_path: Path) -> None:
    """No store configured is not a store that is down."""
    assert starting_snapshot(None, inventory(store="")) == Snapshot()
    assert starting_snapshot(tmp_path / "none.json", inventory()) == Snapshot(store_up=False)


def test_how_old_the_facts_of_the_store_are_outlives_a_restart(tmp_path: Path) -> None:
    """While the store cannot be read, what is told of renewals is told with the time it was read."""
    path = tmp_path / "snapshot.json"
    snapshot_file.save(path, Snapshot(store_up=True, store_read=NOW))
    assert starting_snapshot(path, inventory()).store_read == NOW
    assert starting_snapshot(path, inventory(store="")).store_read is None


def test_a_reload_keeps_what_the_inventory_still_asks_for() -> None:
    """Dates of what else expires, and everything the store told; nothing of what is not asked for any more."""
    here, gone = ("ade_token", "school", ""), ("ade_token", "gone", "")
    expires = (Expiring(ExpiryKind.ADE_TOKEN, "school", file=Path("/token")),)
    told = {"store_up": True, "store_head": "h", "store_read": NOW, "histories": {}}
    known = Snapshot(expiries={here: ExpiryFacts(NOW), gone: ExpiryFacts(NOW)}, **told)  # type: ignore[arg-type]
    asked = replace(inventory(), expires=expires)
    assert fitting(known, asked) == Snapshot(expiries={here: ExpiryFacts(NOW)}, **told)  # type: ignore[arg-type]
    assert fitting(known, replace(asked, store="", expires=())) == Snapshot()


def test_devices_keep_the_time_they_were_told() -> None:
    """A look that could not tell of devices takes neither their number nor its age away."""
    told = NodeFacts().after(seen(devices=()))
    kept = told.after(seen(minutes=5, failures=(Failure(Reason.DATABASE_UNREACHABLE),)))
    assert (kept.devices, kept.devices_at) == ((), NOW)
    assert kept.after(seen(minutes=9, devices=())).devices_at == NOW + timedelta(minutes=9)


AHEAD = 10 * 365 * 24 * 60
"""Minutes."""


def test_a_look_under_a_wrong_clock_hides_no_renewal(tmp_path: Path) -> None:
    """The API told the old date in 2036, then falls silent; what the database tells now outranks it, also after a restart."""
    facts = NodeFacts().after(seen(served(days=10), devices=COUNTS, minutes=AHEAD))
    snapshot_file.save(tmp_path / "kept", Snapshot().with_node("a", facts))
    for known_of in (facts, starting_snapshot(tmp_path / "kept", inventory()).node("a")):
        later = known_of
        for minutes in (1, 2):
            later = later.after(seen(served(Source.DATABASE, days=375), failures=SILENT, minutes=minutes))
        told = [known for _, known in shown(inventory(), Snapshot().with_node("a", later))]
        assert [known.served for known in told] == [served(Source.DATABASE, days=375)]
        first = NOW + timedelta(minutes=1)
        assert (later.last_success, later.devices_at, later.oldest) == (first, first, first)


def test_an_overdue_look_sets_times_right_too() -> None:
    """What was seen ahead is not younger than now; what was seen before keeps its time."""
    facts = NodeFacts().after(seen(served(), minutes=AHEAD)).failing(NOW, Reason.NODE_TIMEOUT)
    assert (facts.last_success, facts.told_at, facts.looked_at) == (NOW, NOW, NOW)
    earlier = NodeFacts().after(seen(served())).failing(NOW + timedelta(days=9), Reason.NODE_TIMEOUT)
    assert (earlier.last_success, earlier.told_at) == (NOW, NOW)


def test_a_clock_that_runs_behind_brings_no_overtaken_date_back() -> None:
    """A boot without a clock of its own: of two sources the later one counts, also when the clock is right again."""
    facts = (
        NodeFacts()
        .after(seen(served(days=20)))
        .after(seen(served(Source.DATABASE), failures=SILENT, minutes=1))
    )
    before = [known.served for _, known in shown(inventory(), Snapshot().with_node("a", facts))]
    for at in (NOW - timedelta(days=700), NOW + timedelta(hours=1)):
        facts = facts.failing(at, Reason.NODE_TIMEOUT)
        now = [known.served for _, known in shown(inventory(), Snapshot().with_node("a", facts))]
        assert now == before == [served(Source.DATABASE)]


def test_sources_that_agree_outlive_a_clock_that_runs_behind() -> None:
    """Neither was overtaken by the other; both stay, and what one says later counts."""
    facts = NodeFacts().after(seen(served())).after(seen(served(Source.DATABASE), failures=SILENT, minutes=1))
    facts = facts.failing(NOW - timedelta(days=700), Reason.NODE_TIMEOUT)
    assert {known.served.source for known in facts.certificates} == {Source.API, Source.DATABASE}
    later = facts.after(seen(served(Source.DATABASE, days=375), failures=SILENT, minutes=2))
    told = [known.served for _, known in shown(inventory(), Snapshot().with_node("a", later))]
    assert told == [served(Source.DATABASE, days=375)]
