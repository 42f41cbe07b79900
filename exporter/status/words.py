"""One reader's language, and the zone that instants are told in. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from xml.etree.ElementTree import Element

from exporter.status.view import Level
from renewctl import messages
from renewctl.certificate.pushcert import days_left
from renewctl.markup import tag
from renewctl.reasons import Reason
from renewctl.topic_warnings import Warn

SYMBOLS = {
    Level.EXPIRED: "✕",
    Level.UNKNOWN: "?",
    Level.CRITICAL: "▲▲",
    Level.DUE: "▲",
    Level.ATTENTION: "!",
    Level.OK: "✓",
}
"""Beside the word, so that neither colour nor language is needed to see that something is wrong."""


@dataclass(frozen=True)
class Words:
    """Args: language: `en` or `ja`; zone: IANA name; now: ages are counted to it."""

    language: str
    zone: str
    now: datetime

    def text(self, key: str, /, **values: object) -> str:
        """A sentence, its instants in the zone."""
        shown = {name: messages.readable(value, self.zone, self.language) for name, value in values.items()}
        return messages.text(key, self.language, **shown)

    def warning(self, warn: Warn) -> str:
        """What is wrong, as `renewctl status` says it."""
        return self.text(warn.key, **warn.values)

    def fault(self, reason: Reason) -> str:
        """Why a node did not tell all: in words, and as the label of `mdm_node_failures` says it."""
        key = f"page.fault.{reason}"
        if not messages.has(key, self.language):
            return reason
        return self.text("page.fault", what=self.text(key), reason=reason.value)

    def day(self, at: datetime) -> Element:
        """The day alone, for tables."""
        return tag("time", messages.day(at, self.zone, self.language), datetime=at.isoformat())

    def age(self, at: datetime) -> str:
        """How long ago, in words."""
        return messages.age((self.now - at).total_seconds(), self.language)

    def left(self, not_after: datetime) -> str:
        """Days left in words."""
        return messages.days(days_left(not_after, self.now), self.language)

    def left_in_colour(self, not_after: datetime, window: timedelta) -> Element:
        """Days left in words, red from the renewal window on."""
        bad = not_after - self.now <= window
        return tag("span", self.left(not_after), class_="bad" if bad else "good")

    def level(self, level: Level) -> Element:
        """A symbol and a word; the symbol is not read aloud."""
        symbol = tag("span", SYMBOLS[level], aria_hidden="true")
        return tag("span", symbol, f" {self.text(f'page.level.{level}')}", class_=f"level {level}")
