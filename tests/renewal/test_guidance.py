"""The next step is computed from the state: account, UID, file, button, command."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from renewctl import messages
from renewctl.errors import Attention, Refused, RenewctlError
from renewctl.guidance import PORTAL, Situation, Step, next_steps
from renewctl.inventory.reading import Account, Topic, Vendor
from renewctl.lost_key import lost_key_steps
from renewctl.reasons import Reason
from renewctl.renewal.events import Event, Kind
from renewctl.renewal.history import TopicHistory, histories
from renewctl.renewal.rules import owed, owed_previous
from renewctl.secrets import Kind as SecretKind
from renewctl.secrets import SecretRef
from tests.support.history import ACCEPTED, START, TOPIC, events, told, wave

ACCOUNT = Account("tokyo-push", "apple-push@tokyo.example", second_factor="the phone in the safe")
NODES = ("n1", "n2")
OUT = (*ACCEPTED, Kind.ROLL_OUT_STARTED)
END = START + timedelta(days=200)
REQUESTED = (Kind.REQUESTED, {"last_day": END.isoformat()})


def _topic(vendor_key: SecretRef | None = None) -> Topic:
    vendor = Vendor(Path("vendor.pem"), (Path("wwdr.pem"),), vendor_key)
    return Topic("tokyo", TOPIC, "Tokyo office", ACCOUNT, vendor=vendor)


def _steps(*kinds: Any, now: datetime = START, **known: Any) -> tuple[Step, ...]:
    made: dict[str, list[Event]] = {"tokyo-1": events(*kinds)} if kinds else {}
    history = histories(made).get("tokyo", TopicHistory("tokyo"))
    left = () if history.latest is None else owed(history.latest, NODES)
    back = () if history.latest is None else owed_previous(history.latest, NODES)
    values: dict[str, Any] = {"topic": _topic(), "owed": left, "owed_previous": back, **known}
    return next_steps(Situation(history=history, now=now, **values))


def _keys(steps: tuple[Step, ...]) -> list[str]:
    return [step.key for step in steps]


@pytest.mark.parametrize(
    ("kinds", "first"),
    [
        (ACCEPTED[:1], "next.request"),
        (ACCEPTED[:3], "next.write_csr"),
        ((*ACCEPTED[:3], REQUESTED), "next.portal.sign_in"),
        (ACCEPTED[:4], "next.sign_again"),
        (ACCEPTED, "next.dry_run"),
        ((*OUT, wave("n1")), "next.interrupted"),
        ((*OUT, wave("n1"), told("n1", "unknown"), Kind.ROLL_OUT_FINISHED), "next.roll_out_again"),
        ((*OUT, wave("n1"), told("n1", "installed"), Kind.ROLL_OUT_FINISHED), "next.verify"),
        (
            (*OUT, wave("n1", "n2"), told("n1", "proven"), told("n2", "installed"), Kind.ROLL_OUT_FINISHED),
            "next.prove",
        ),
        (
            (*OUT, wave("n1", "n2"), told("n1", "proven"), told("n2", "proven"), Kind.ROLL_OUT_FINISHED),
            "next.close",
        ),
        (
            (
                *OUT,
                wave("n1"),
                told("n1", "proven"),
                Kind.ROLL_BACK_STARTED,
                wave("n1", direction="previous"),
            ),
            "next.roll_back_again",
        ),
    ],
)
def test_each_phase_has_its_next_step(kinds: tuple[Any, ...], first: str) -> None:
    """Whatever happened last, there is a first thing to do."""
    assert _keys(_steps(*kinds))[0] == first


def test_the_portal_steps_name_account_uid_file_and_button() -> None:
    """Everything a person needs at the portal is in the values, and the code's whereabouts."""
    requested = (Kind.REQUESTED, {"file": "/home/tanaka/push.plist", "last_day": END.isoformat()})
    steps = _steps(*ACCEPTED[:3], requested)
    values = {name: value for step in steps for name, value in step.values.items()}
    assert values["portal"] == PORTAL
    assert values["account"] == "apple-push@tokyo.example"
    assert values["where"] == "the phone in the safe"
    assert values["topic"] == TOPIC
    assert values["file"] == "/home/tanaka/push.plist"
    assert steps[-2].command == "renewctl renewal accept FILE --topic tokyo"
    assert steps[-1].key == "next.request_lasts"


def test_with_the_vendors_key_at_hand_the_csr_may_be_signed_here() -> None:
    """Sending it to a vendor is always a way; signing it here where the inventory names the vendor's key."""
    topic = _topic(SecretRef(SecretKind.FILE, ("vendor.key",)))
    made = {"csr_file": Path("tokyo-1.csr")}
    assert _keys(_steps(*ACCEPTED[:3], **made)) == ["next.send_csr", "next.take_signed"]
    known = _keys(_steps(*ACCEPTED[:3], topic=topic, **made))
    assert known == ["next.send_csr", "next.take_signed", "next.or_sign"]


@pytest.mark.parametrize("kinds", [ACCEPTED[:3], ACCEPTED[:4]], ids=["csr-made", "chain-ended"])
def test_a_csr_that_is_in_no_file_is_written_first(kinds: tuple[Any, ...]) -> None:
    """Signing here was refused: it is not offered again, and what is sent to the vendor is there by then."""
    topic = _topic(SecretRef(SecretKind.FILE, ("vendor.key",)))
    steps = _steps(*kinds, topic=topic, refused=Refused(Reason.VENDOR_EXPIRED))
    assert _keys(steps) == ["next.write_csr", "next.send_csr", "next.take_signed"]
    assert steps[0].command == "renewctl renewal request --csr-only --topic tokyo"
    assert steps[1].values["file"] == "tokyo-1.csr"


@pytest.mark.parametrize(
    ("kinds", "csr"),
    [(ACCEPTED[:1], None), (ACCEPTED[:3], None), (ACCEPTED[:4], None), (ACCEPTED[:3], Path("x.csr"))],
    ids=["open", "csr-made", "chain-ended", "csr-written"],
)
def test_a_vendor_certificate_that_cannot_sign_is_not_offered(
    kinds: tuple[Any, ...], csr: Path | None
) -> None:
    """Known before anything was refused: a vendor signs, or a new vendor certificate comes first."""
    topic = _topic(SecretRef(SecretKind.FILE, ("vendor.key",)))
    steps = _steps(*kinds, topic=topic, csr_file=csr, vendor_refuses=Reason.VENDOR_EXPIRED)
    expected = ["next.write_csr", "next.send_csr", "next.take_signed", "next.valid_vendor"]
    assert _keys(steps) == expected[csr is not None :]
    assert steps[-1].values == {"path": "vendor.pem"}
    assert "renewctl renewal request --topic tokyo" not in {step.command for step in steps}
    elsewhere = _steps(*kinds, csr_file=csr, vendor_refuses=Reason.VENDOR_EXPIRED)
    assert _keys(elsewhere) == expected[csr is not None : -1]


def test_a_csr_just_written_is_sent_from_where_it_is() -> None:
    """`--out` is heeded."""
    (send, _take) = _steps(*ACCEPTED[:3], csr_file=Path("out/for-vendor.csr"))
    assert send.values["file"] == "out/for-vendor.csr"


@pytest.mark.parametrize(
    ("reason", "keys"),
    [
        (Refused(Reason.PREVIOUS_KEY_LOST), ["next.lost_key.restore", "next.forward_only"]),
        (Attention(Reason.NODES_UNKNOWN, nodes="n2"), ["next.leave_out"]),
        (Attention(Reason.FENCE_FAILED, nodes="n2"), ["next.leave_out"]),
        (Attention(Reason.FENCE_FAILED, nodes=""), []),
        (Attention(Reason.NODE_TIMEOUT, node="n2"), ["next.leave_out"]),
        (Refused(Reason.TOPIC_DIFFERS), []),
    ],
)
def test_a_refusal_is_followed_by_what_gets_past_it(reason: RenewctlError, keys: list[str]) -> None:
    """Doing the same again would be refused again; the usual steps come after."""
    assert _keys(_steps(*ACCEPTED, refused=reason)) == [*keys, "next.dry_run", "next.roll_out"]


@pytest.mark.parametrize(
    ("reason", "keys"),
    [
        (Reason.PREVIOUS_PAIR_MISSING, ["next.adopt_first", "next.forward_only"]),
        (Reason.PREVIOUS_PAIR_REFUSED, ["next.forward_only"]),
    ],
)
def test_without_a_way_back_the_refused_roll_out_is_not_offered_again(
    reason: Reason, keys: list[str]
) -> None:
    """Only `--forward-only` gets past it, or a pair adopted first; in a roll-out begun before, too."""
    assert _keys(_steps(*ACCEPTED, refused=Refused(reason))) == keys
    begun = (*OUT, wave("n1"), told("n1", "unknown"), Kind.ROLL_OUT_FINISHED)
    offered = [step.command for step in _steps(*begun, refused=Refused(reason))]
    assert "renewctl renewal roll-out --topic tokyo --forward-only" in offered
    assert "renewctl renewal roll-out --topic tokyo" not in offered


def _leaving_out(*kinds: Any, **known: Any) -> str | None:
    found = [step.command for step in _steps(*kinds, **known) if step.key == "next.leave_out"]
    return found[0] if found else None


def test_what_is_to_be_left_out_is_named_with_its_reason() -> None:
    """Node and reason are known, so the line can be pasted; what was left out before is left out again."""
    silent = Attention(Reason.NODE_TIMEOUT, node="n2")
    roll_out = "renewctl renewal roll-out --topic tokyo"
    assert _leaving_out(*ACCEPTED, refused=silent) == f"{roll_out} --leave-out n2=node_timeout"
    typed = {"n 3": "disk is away"}
    named = _leaving_out(*ACCEPTED, refused=silent, left_out=typed)
    assert named == f"{roll_out} --leave-out 'n 3=disk is away' --leave-out n2=node_timeout"


def test_every_silent_node_is_left_out_but_never_all_of_them() -> None:
    """One after another would be tedious; without any node there would be nothing to roll out."""
    both = Attention(Reason.NODE_TIMEOUT, node="n1")
    both.others = (Attention(Reason.DATABASE_UNREACHABLE, node="n2"),)
    named = _leaving_out(*ACCEPTED, refused=both, owed=("n1", "n2", "n3"))
    assert str(named).endswith("--leave-out n1=node_timeout --leave-out n2=database_unreachable")
    assert _leaving_out(*ACCEPTED, refused=both) is None


def test_a_node_that_answered_is_not_left_out() -> None:
    """Not proven is not silent: of the nodes a roll-out stopped at, the unknown ones alone."""
    kinds = (*OUT, wave("n1", "n2"), told("n1", "installed"), told("n2", "unknown"), Kind.ROLL_OUT_FINISHED)
    refused = Attention(Reason.NODES_UNKNOWN, nodes="n1, n2")
    assert str(_leaving_out(*kinds, refused=refused)).endswith(" --leave-out n2=no_answer")


@pytest.mark.parametrize(
    ("kinds", "offered"),
    [(ACCEPTED[:1], True), (ACCEPTED[:3], True), (ACCEPTED, True), (OUT, False), ((*OUT, wave("n1")), False)],
)
def test_ending_a_renewal_is_offered_only_where_it_is_possible(kinds: tuple[Any, ...], offered: bool) -> None:
    """`open` while one is open: abort ends it, unless a node was touched; then it would be refused."""
    keys = _keys(_steps(*kinds, refused=Refused(Reason.RENEWAL_OPEN_ALREADY)))
    assert ("next.abort_instead" in keys) == offered
    keys = _keys(_steps(*kinds, refused=Refused(Reason.PREVIOUS_PAIR_MISSING)))
    assert ("next.adopt_first" in keys) == offered


def test_a_way_back_is_offered_only_where_there_is_one() -> None:
    """Without the previous pair's key a roll-back would be refused."""
    opened = (Kind.OPENED, {"previous": None})
    stopped = (*OUT, wave("n1"), told("n1", "unknown"), Kind.ROLL_OUT_FINISHED)
    assert "next.or_roll_back" in _keys(_steps(*stopped))
    assert "next.or_roll_back" not in _keys(_steps(opened, *stopped[1:]))
    assert "next.or_roll_back" not in _keys(_steps(opened, *stopped[1:-2]))


def test_without_a_store_it_is_brought_back_or_made_first() -> None:
    """Who lost one is led to its backup first of all: a store made in its place could not be restored into."""
    steps = _steps(store_missing=True, options=("--inventory", "x.yaml"))
    assert _keys(steps) == ["next.restore_store", "next.make_store", "next.adopt", "next.date_unknown"]
    commands = [step.command for step in steps[:2]]
    assert commands == [f"renewctl --inventory x.yaml {do}" for do in ("restore FILE", "init --existing")]


def test_while_somebody_else_is_at_work_there_is_only_waiting() -> None:
    """A held run is nothing to interrupt."""
    assert _keys(_steps(*OUT, refused=Attention(Reason.RUN_HELD))) == ["next.wait_for_holder"]


@pytest.mark.parametrize(
    ("days", "key"), [(None, "next.date_unknown"), (-1, "next.open_expired"), (42, "next.open")]
)
def test_without_a_renewal_the_date_decides(days: int | None, key: str) -> None:
    """Unknown, expired and due each lead to opening, and an unknown pair to adopting it first."""
    ends = None if days is None else START + timedelta(days=days)
    assert _keys(_steps(not_after=ends)) == ["next.adopt", key]


def test_far_from_the_end_there_is_nothing_to_do_and_it_says_until_when() -> None:
    """With the pair known and the date far away the one step names the day the window begins."""
    closed = (*OUT, wave("n1", "n2"), told("n1", "proven"), told("n2", "proven"), Kind.ROLL_OUT_FINISHED)
    steps = _steps(*closed, Kind.CLOSED, not_after=START + timedelta(days=365))
    assert _keys(steps) == ["next.nothing_due"]
    assert steps[0].values["due"] == START + timedelta(days=305)


def test_what_is_owed_comes_before_closing() -> None:
    """A node left out is given its pair, or leaves the inventory; until then nothing is closed."""
    one = (Kind.ROLL_OUT_STARTED, {"waves": [["n1"]], "left_out": {"n2": "power cut"}})
    proven = (*ACCEPTED, one, wave("n1"), told("n1", "proven"), Kind.ROLL_OUT_FINISHED)
    assert _keys(_steps(*proven)) == ["next.owed", "next.not_owed_any_more"]


def test_after_a_roll_back_one_may_try_again_or_end() -> None:
    """Rolled back: roll out again once mended, or abort."""
    back = (Kind.ROLL_BACK_STARTED, wave("n1", direction="previous"), told("n1", "proven", "previous"))
    kinds = (*OUT, wave("n1"), told("n1", "proven"), *back, Kind.ROLL_BACK_FINISHED)
    assert _keys(_steps(*kinds)) == ["next.rolled_back", "next.roll_out_after_back", "next.abort"]


@pytest.mark.parametrize("reason", [Reason.ROLL_BACK_OWED, Reason.ROLL_BACK_USELESS])
def test_whoever_goes_back_is_led_back_first(reason: Reason) -> None:
    """A node that gave no answer on the way back is asked again; nobody is sent forward without it."""
    back = (Kind.ROLL_BACK_STARTED, wave("n1", "n2", direction="previous"), told("n1", "unknown", "previous"))
    both = (wave("n1", "n2"), told("n1", "proven"), told("n2", "proven"), Kind.ROLL_OUT_FINISHED)
    kinds = (*OUT, *both, *back, told("n2", "proven", "previous"), Kind.ROLL_BACK_FINISHED)
    refused = Attention(reason, nodes="n1")
    refused.others = (Attention(Reason.NODE_TIMEOUT, node="n1"),)
    expected = ["next.roll_back_again", "next.or_roll_out"]
    assert _keys(_steps(*kinds, refused=refused)) == _keys(_steps(*kinds)) == expected


def test_every_command_carries_what_the_operator_typed_before() -> None:
    """`--inventory` is repeated, quoted for the shell, so that every line can be pasted."""
    (step,) = _steps(*ACCEPTED[:1], options=("--inventory", "my file.yaml"))
    assert step.command == "renewctl --inventory 'my file.yaml' renewal request --topic tokyo"


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_every_step_has_its_sentence(language: str) -> None:
    """Each key this module can give has a sentence in both languages."""
    files = (next_steps, lost_key_steps)
    source = "".join(Path(one.__code__.co_filename).read_text() for one in files)
    keys = {part.split('"')[0] for part in source.split('Step("')[1:]} | {
        part.split('"')[1] for part in source.split("Step(\n")[1:]
    }
    assert len(keys) > 20
    assert [key for key in sorted(keys) if not messages.has(key, language)] == []


def test_a_node_whose_own_error_says_what_to_mend_is_not_left_out() -> None:
    """A wrong password is no silence: nobody is told to go on without the node."""
    kinds = (*OUT, wave("n1", "n2"), told("n1", "proven"), told("n2", "unknown"), Kind.ROLL_OUT_FINISHED)
    refused = Attention(Reason.NODES_UNKNOWN, nodes="n2")
    refused.others = (Attention(Reason.NODE_DENIED, node="n2", got="401"),)
    assert _leaving_out(*kinds, refused=refused) is None
