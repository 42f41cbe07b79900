"""One topic through the years: what is in use, what is open, what each node was last given."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from renewctl.errors import Refused
from renewctl.reasons import Reason
from renewctl.renewal.events import KEY_STORE, Kind, PairRef
from renewctl.renewal.history import histories, history_of, misnamed
from tests.support.history import ACCEPTED, NEW, OLD, START, TOPIC, events, pair, told, wave

LATE = START + timedelta(days=30)

ROLLED = (Kind.ROLL_OUT_STARTED, wave("n1", "n2"), told("n1", "proven"), told("n2", "proven"))
DONE = (*ACCEPTED, *ROLLED, Kind.ROLL_OUT_FINISHED)


def test_what_was_adopted_is_in_use_until_a_renewal_is_rolled_out() -> None:
    """Accepted is not in use; rolled out is."""
    adopted = {"tokyo-0": events(Kind.ADOPTED, name="tokyo-0")}
    accepted = histories({**adopted, "tokyo-1": events(*ACCEPTED)})["tokyo"]
    done = histories({**adopted, "tokyo-1": events(*DONE)})["tokyo"]
    assert accepted.current == PairRef.from_body(OLD)
    assert done.current == PairRef.from_body(NEW)


def test_what_was_adopted_after_a_renewal_ended_is_in_use() -> None:
    """Until the next one is rolled out; an event of before that was told counts behind every roll-out."""
    closed = {"tokyo-1": events(*DONE, Kind.CLOSED)}
    by_hand = pair("0c")
    late = events((Kind.ADOPTED, {"pair": by_hand, "after": "tokyo-1"}), name="tokyo-0")
    early = events((Kind.ADOPTED, {"pair": by_hand}), name="tokyo-0")
    assert histories({**closed, "tokyo-0": late})["tokyo"].current == PairRef.from_body(by_hand)
    assert histories({**closed, "tokyo-0": early})["tokyo"].current == PairRef.from_body(NEW)
    ended = {**closed, "tokyo-2": events(Kind.OPENED, Kind.ABORTED, name="tokyo-2"), "tokyo-0": late}
    assert histories(ended)["tokyo"].current == PairRef.from_body(by_hand)
    again = {**ended, "tokyo-2": events(*DONE, name="tokyo-2")}
    assert histories(again)["tokyo"].current == PairRef.from_body(NEW)


def test_the_last_adoption_counts() -> None:
    """Adopting again replaces what was adopted before, and the next event's number is known."""
    twice = events(Kind.ADOPTED, (Kind.ADOPTED, {"pair": pair("0c")}), name="tokyo-0")
    history = histories({"tokyo-0": twice})["tokyo"]
    assert history.current == PairRef.from_body(pair("0c"))
    assert (history.adopted_seq, history.adopted_name, history.next_name) == (2, "tokyo-0", "tokyo-1")
    assert history.latest is None


def test_renewals_are_ordered_by_number_and_not_by_text() -> None:
    """tokyo-10 comes after tokyo-9, and ids may hold dashes."""
    closed = (*DONE, Kind.CLOSED)
    many = {
        f"to-kyo-{n}": events(*(closed if n < 10 else ACCEPTED), name=f"to-kyo-{n}") for n in range(10, 0, -1)
    }
    history = histories(many)["to-kyo"]
    assert [one.name for one in history.renewals] == [f"to-kyo-{n}" for n in range(1, 11)]
    assert history.open is not None
    assert history.open.name == "to-kyo-10"
    assert history.next_name == "to-kyo-11"


def test_recorded_is_what_was_read_back_never_what_was_only_begun() -> None:
    """A proven node is recorded with the new pair, a put-back one with the previous, a begun one with nothing."""
    begun = (*ACCEPTED, Kind.ROLL_OUT_STARTED, wave("n1", "n2", "n3"), told("n1", "proven"))
    back = told("n2", "proven", "previous")
    history = histories({"tokyo-1": events(*begun, back)})["tokyo"]
    new, put_back = history.recorded("n1"), history.recorded("n2")
    assert new is not None
    assert new.pair == PairRef.from_body(NEW)
    assert put_back is not None
    assert put_back.pair == PairRef.from_body(OLD)
    assert history.recorded("n3") is None
    assert history.recorded("n4") is None


def test_an_aborted_renewal_does_not_hide_what_an_earlier_one_recorded() -> None:
    """Last year's roll-out still counts while this year's renewal touched nothing."""
    years = {
        "tokyo-1": events(*DONE, Kind.CLOSED),
        "tokyo-2": events(Kind.OPENED, Kind.ABORTED, name="tokyo-2"),
    }
    history = histories(years)["tokyo"]
    assert history.open is None
    found = history.recorded("n1")
    assert found is not None
    assert found.pair == PairRef.from_body(NEW)


def test_what_was_only_taken_and_never_read_back_is_not_recorded() -> None:
    """A server that answers 200 and tells nothing may still use the old pair: no date is made up for it."""
    taken = (
        Kind.NODE_FINISHED,
        {"node": "n1", "outcome": "installed", "proof": {"rungs": {"read_back": "not_available"}}},
    )
    history = histories({"tokyo-1": events(*ACCEPTED, Kind.ROLL_OUT_STARTED, wave("n1"), taken)})["tokyo"]
    assert history.recorded("n1") is None


def test_what_was_recorded_before_a_pair_was_taken_over_counts_no_more() -> None:
    """Renewed by hand since: what a node was given then says nothing of what it should serve now."""
    closed = {"tokyo-1": events(*DONE, Kind.CLOSED)}
    late = events((Kind.ADOPTED, {"pair": pair("0c"), "after": "tokyo-1"}), name="tokyo-0")
    assert histories(closed)["tokyo"].recorded("n1") is not None
    assert histories({**closed, "tokyo-0": late})["tokyo"].recorded("n1") is None
    again = {**closed, "tokyo-0": late, "tokyo-2": events(*DONE, name="tokyo-2")}
    assert histories(again)["tokyo"].recorded("n1") is not None


@pytest.mark.parametrize(
    ("kind", "name", "field"),
    [
        (Kind.ADOPTED, "tokyo-0", "topic"),
        (Kind.REKEY_STARTED, KEY_STORE, "recipients"),
        (Kind.REKEY_STARTED, KEY_STORE, "keys"),
    ],
)
def test_a_body_that_lacks_what_is_counted_on_is_damage(kind: Kind, name: str, field: str) -> None:
    """Named by its event, for who can look at it; never a missing key of ours."""
    [event] = events(kind, name=name)
    lacking = {key: value for key, value in event.body.items() if key != field}
    with pytest.raises(Refused, match="history_broken"):
        histories({name: [replace(event, body=lacking)]})


def test_an_id_is_bound_to_a_uid_once_a_pair_is_on_record() -> None:
    """Before that the UID it was opened with may be a slip of the pen; what is accepted says which it is."""
    other = "com.apple.mgmt.External.put-right"
    opened = histories({"tokyo-1": events(*ACCEPTED[:-1])})
    assert (refused := misnamed(opened, "tokyo", other)) is not None
    assert refused.reason == Reason.RENEWAL_OF_OTHER_UID
    assert history_of(opened, "tokyo", other).open is not None
    accepted = histories({"tokyo-1": events(*ACCEPTED[:-1], (Kind.ACCEPTED, {"topic": other}))})
    for uid, reason in ((other, None), (TOPIC, Reason.ID_OF_OTHER_TOPIC)):
        refused = misnamed(accepted, "tokyo", uid)
        assert (None if refused is None else refused.reason) == reason
        assert (history_of(accepted, "tokyo", uid).open is None) == (reason is not None)


def test_of_several_ids_a_uid_once_had_the_open_one_counts_then_its_own_then_the_newest() -> None:
    """Stores of a time when an id could change between renewals have several."""
    closed = events(*DONE, Kind.CLOSED)
    known = histories(
        {"a-1": closed, "b-1": events(*ACCEPTED), "c-1": [*closed[:-1], replace(closed[-1], at=LATE)]}
    )
    assert {history_of(known, one, TOPIC).topic_id for one in ("a", "b", "c", "d")} == {"b"}
    ended = {name: one for name, one in known.items() if name != "b"}
    assert [history_of(ended, one, TOPIC).topic_id for one in ("a", "c", "d")] == ["a", "c", "c"]


def test_a_renewal_that_began_under_a_changed_id_is_reached_under_it() -> None:
    """Ids could change between renewals once: the one at the portal goes on."""
    known = histories({"a-1": events(*DONE, Kind.CLOSED), "b-1": events(*ACCEPTED[:-1])})
    assert (misnamed(known, "b", TOPIC), history_of(known, "b", TOPIC).topic_id) == (None, "b")
    assert (misnamed(known, "a", TOPIC), history_of(known, "a", TOPIC).topic_id) == (None, "a")


def test_an_id_without_an_open_renewal_hides_none_of_its_uid() -> None:
    """One was opened under another id meanwhile: no second one begins beside it."""
    known = histories({"a-1": events(Kind.OPENED, Kind.ABORTED), "b-1": events(*ACCEPTED[:-1])})
    refused = misnamed(known, "a", TOPIC)
    assert refused is not None
    assert (refused.reason, refused.values["expected"]) == (Reason.TOPIC_UNDER_OTHER_ID, "b")
