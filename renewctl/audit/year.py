"""One year of every topic, as events tell of it: what the report shows. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from renewctl.audit.checks import Verdict
from renewctl.audit.lines import Line, lines
from renewctl.errors import RenewctlError
from renewctl.renewal.events import KEY_STORE, Event
from renewctl.renewal.rules import Renewal, behind, fold


@dataclass(frozen=True)
class TopicNames:
    """A topic as people know it; of one that left the inventory, what events tell."""

    id: str
    name: str
    zone: str = "UTC"


@dataclass(frozen=True)
class RenewalYear:
    """One renewal's part of a year.

    Attributes:
        name: `<topic id>-<n>`; `-0`: what was adopted.
        state: at the end of the year; None where its events do not add up, or were adopted.
        lines: of the year, in order; never empty.
    """

    name: str
    state: Renewal | None
    lines: tuple[Line, ...]

    @property
    def left(self) -> tuple[str, ...]:
        """Nodes the phase must not be shown without, of those events name.

        They may have left the inventory since.
        """
        state = self.state
        if state is None:
            return ()
        return behind(state, list(dict.fromkeys([*state.planned, *state.nodes, *state.left_out])))


@dataclass(frozen=True)
class TopicYear:
    """One topic's part of a year.

    Attributes:
        uid: the topic as devices use it; None where no event tells.
        renewals: those in which something happened in the year, oldest first.
    """

    names: TopicNames
    uid: str | None
    renewals: tuple[RenewalYear, ...]

    @property
    def is_key_store(self) -> bool:
        """No topic, but the key store's own record."""
        return f"{self.names.id}-0" == KEY_STORE


def topics_of(verdict: Verdict, known: Mapping[str, TopicNames]) -> tuple[TopicNames, ...]:
    """Every topic there are events of or the inventory names, by id; the key store counts as one."""
    told = {row.renewal.rpartition("-")[0] for row in verdict.rows if row.event is not None}
    return tuple(known.get(one) or TopicNames(one, one) for one in sorted(told | set(known)))


def year_of(at: datetime, zone: str) -> int:
    """The calendar year an instant falls into, where the topic is."""
    return at.astimezone(ZoneInfo(zone)).year


def of_year(verdict: Verdict, topic: TopicNames, year: int) -> TopicYear:
    """What happened to one topic in one year of its zone."""
    own = [line for line in lines(verdict.rows) if line.topic_id == topic.id]
    found: dict[str, list[Line]] = {}
    for line in own:
        if year_of(line.at, topic.zone) == year:
            found.setdefault(line.renewal, []).append(line)
    events = verdict.events()
    renewals = [
        RenewalYear(name, _state(events[name], told[-1].seq), tuple(told))
        for name, told in sorted(found.items(), key=lambda one: _number(one[0]))
    ]
    uids = [line.topic for line in own if line.topic]
    return TopicYear(topic, uids[-1] if uids else None, tuple(renewals))


def _state(events: Sequence[Event], last: int) -> Renewal | None:
    try:
        return fold(event for event in events if event.seq <= last)
    except (RenewctlError, KeyError, ValueError, TypeError, AttributeError):
        return None  # `verify` names the event


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
