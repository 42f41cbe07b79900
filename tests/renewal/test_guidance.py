"""The next step is computed from the state: account, UID, file, button, command."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from renewctl import messages
from renewctl.events import Event, Kind
from renewctl.guidance import PORTAL, Situation, Step, next_steps
from renewctl.history import TopicHistory, histories
from renewctl.inventory import Account, Topic, Vendor
from renewctl.renewal import owed
from renewctl.secrets import Kind as SecretKind
from renewctl.secrets import SecretRef
from tests.support.history import ACCEPTED, START, TOPIC, events, told, wave

ACCOUNT = Account("tokyo-push", "apple-push@tokyo.example", second_factor="the phone in the safe")
NODES = ("n1", "n2")
OUT = (*ACCEPTED, Kind.ROLL_OUT_STARTED)


def _topic(vendor_key: SecretRef | None = None) -> Topic:
    vendor = Vendor(Path("vendor.pem"), (Path("wwdr.pem"),), vendor_key)
    return Topic("tokyo", TOPIC, "Tokyo office", ACCOUNT, vendor=vendor)


def _steps(*kinds: Any, now: datetime = START, **known: Any) -> tuple[Step, ...]:
    made: dict[str, list[Event]] = {"tokyo-1": events(*kinds)} if kinds else {}
    history = histories(made).get("tokyo", TopicHistory("tokyo"))
    left = () if history.latest is None else owed(history.latest, NODES)
    values: dict[str, Any] = {"topic": _topic(), "owed": left, **known}
    return next_steps(Situation(history=history, now=now, **values))


def _keys(steps: tuple[Step, ...]) -> list[str]:
    return [step.key for step in steps]


@pytest.mark.parametrize(
    ("kinds", "first"),
    [
        (ACCEPTED[:1], "next.request"),
        (ACCEPTED[:3], "next.send_csr"),
        (ACCEPTED[:4], "next.portal.sign_in"),
        (ACCEPTED, "next.dry_run"),
        ((*OUT, wave("n1")), "next.interrupted"),
        ((*OUT, wave("n1"), told("n1", "unknown"), Kind.ROLL_OUT_FINISHED), "next.verify"),
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
    steps = _steps(*ACCEPTED[:4], request_file=Path("tokyo-1.plist"))
    values = {name: value for step in steps for name, value in step.values.items()}
    assert values["portal"] == PORTAL
    assert values["account"] == "apple-push@tokyo.example"
    assert values["where"] == "the phone in the safe"
    assert values["topic"] == TOPIC
    assert values["file"] == "tokyo-1.plist"
    assert steps[-2].command == "renewctl renewal accept MDM_Certificate.pem --topic tokyo"
    assert steps[-1].key == "next.request_lasts"


def test_with_the_vendors_key_at_hand_the_csr_is_signed_here() -> None:
    """No vendor has to be asked where the inventory names the vendor's key."""
    topic = _topic(SecretRef(SecretKind.FILE, ("vendor.key",)))
    assert _keys(_steps(*ACCEPTED[:3], topic=topic)) == ["next.sign"]


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


def test_what_is_owed_is_said_before_and_after_closing() -> None:
    """A node left out stays in the next steps, also once the renewal is closed."""
    one = (Kind.ROLL_OUT_STARTED, {"waves": [["n1"]], "left_out": {"n2": "power cut"}})
    proven = (*ACCEPTED, one, wave("n1"), told("n1", "proven"), Kind.ROLL_OUT_FINISHED)
    assert _keys(_steps(*proven)) == ["next.owed", "next.close"]
    closed = _steps(*proven, Kind.CLOSED, not_after=START + timedelta(days=365))
    assert _keys(closed)[0] == "next.owed_after_close"


def test_after_a_roll_back_one_may_try_again_or_end() -> None:
    """Rolled back: roll out again once mended, or abort."""
    back = (Kind.ROLL_BACK_STARTED, wave("n1", direction="previous"), told("n1", "proven", "previous"))
    kinds = (*OUT, wave("n1"), told("n1", "proven"), *back, Kind.ROLL_BACK_FINISHED)
    assert _keys(_steps(*kinds)) == ["next.rolled_back", "next.roll_out_after_back", "next.abort"]


def test_every_command_carries_what_the_operator_typed_before() -> None:
    """`--inventory` is repeated, quoted for the shell, so that every line can be pasted."""
    (step,) = _steps(*ACCEPTED[:1], options=("--inventory", "my file.yaml"))
    assert step.command == "renewctl --inventory 'my file.yaml' renewal request --topic tokyo"


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_every_step_has_its_sentence(language: str) -> None:
    """Each key this module can give has a sentence in both languages."""
    source = Path(next_steps.__code__.co_filename).read_text()
    keys = {part.split('"')[0] for part in source.split('Step("')[1:]} | {
        part.split('"')[1] for part in source.split("Step(\n")[1:]
    }
    assert len(keys) > 20
    assert [key for key in sorted(keys) if not messages.has(key, language)] == []
