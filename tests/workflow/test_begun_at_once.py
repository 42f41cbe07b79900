"""Somebody adopts a pair in the very moment in which somebody else opens a renewal: only one of them comes through."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from renewctl.certificate import intake
from renewctl.errors import Attention
from renewctl.inventory.reading import load
from renewctl.reasons import Reason
from renewctl.workflow import deploy, prepare
from renewctl.workflow.workplace import Workplace
from tests.support.desk import APPLE, Desk
from tests.support.turns import Clock, Person, TurnStore

pytestmark = pytest.mark.slow  # a whole desk for each


@pytest.fixture
def commands(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[Workplace], object]]:
    """Open, and adopt another pair than the one in use; commands take turns."""
    desk.adopt()
    monkeypatch.setattr("renewctl.cli.workplace.Store", TurnStore)
    (topic,) = load(desk.folder / "renewctl.yaml").topics
    other = APPLE.push(key="other")
    file = desk.file("other.pem", other.pem)
    return {
        "open": lambda work: prepare.open_renewal(work, topic),
        "adopt": lambda work: deploy.adopt(work, topic, intake.read(file), other.key_pem),
    }


@pytest.mark.parametrize(
    ("late", "soon", "event"), [("open", "adopt", "opened"), ("adopt", "open", "adopted")]
)
def test_whoever_comes_second_is_told_by_whom(
    desk: Desk, commands: dict[str, Callable[[Workplace], object]], late: str, soon: str, event: str
) -> None:
    """Both have read; one writes; the other is told who went on, and has written nothing."""
    clock = Clock()
    first, second = Person("tanaka", clock, []), Person("suzuki", clock, [])
    first.begins(late, commands[late])
    while first.at != f"writes {event}":
        first.goes_on()
    second.begins(soon, commands[soon])
    while second.at:
        second.goes_on()
    before = [desk.events(name) for name in ("tokyo-0", "tokyo-1")]
    while first.at:
        first.goes_on()
    (ended,) = second.ended
    assert (ended.refused, ended.broke) == (None, None)
    (ended,) = first.ended
    assert isinstance(ended.refused, Attention)
    assert ended.refused.reason is Reason.SOMEBODY_ELSE_MOVED
    assert ended.refused.values["holder"] == "suzuki@suzuki-host"
    assert [desk.events(name) for name in ("tokyo-0", "tokyo-1")] == before
