"""Reason + values -> a sentence and a hint, in English or Japanese. Sole owner of the catalogues.

Catalogues are gettext (`locale/<language>/LC_MESSAGES/renewctl.mo`, built from the `.po` files beside
them by `messages_build`); their keys are symbols, not English sentences, so that both languages are
equal. A key without a sentence is shown as it is: a missing word must never hide an error.
"""

from __future__ import annotations

import gettext
import re
import string
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from renewctl.reasons import Reason, Word

LANGUAGES = ("en", "ja")
DEFAULT = "en"
LOCALE_FOLDER = Path(__file__).parent / "locale"
DOMAIN = "renewctl"

_WEEKDAYS = {
    "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    "ja": ("月", "火", "水", "木", "金", "土", "日"),
}
_ABSENT = "–"
_SAID = {
    "No such file or directory": "word.no_such_file",
    "Permission denied": "word.permission_denied",
    "Operation not permitted": "word.not_permitted",
    "Not a directory": "word.not_a_folder",
    "Is a directory": "word.is_a_folder",
    "No space left on device": "word.disk_full",
    "Read-only file system": "word.read_only",
    "Input/output error": "word.io_error",
    "Too many open files": "word.too_many_files",
    "File name too long": "word.name_too_long",
    "Connection refused": "word.connection_refused",
    "Connection reset by peer": "word.connection_reset",
    "Connection timed out": "word.connection_timed_out",
    "Network is unreachable": "word.network_unreachable",
    "No route to host": "word.no_route",
    "Address already in use": "word.address_in_use",
    "Cannot assign requested address": "word.address_not_here",
    "host name not found": "word.host_not_found",
    "host name cannot be looked up: the name server is silent": "word.name_server_silent",
    "connection closed without an answer": "word.closed_unanswered",
    "no TLS at this port": "word.no_tls",
    "the answer was cut short": "word.cut_short",
    "what came is not HTTP": "word.not_http",
}
"""What the system and the network say -> its key. Stores and JSON hold the English."""
_COUNTED = ("count", "devices")
"""Values that choose between a sentence's forms (`msgstr[0]`, `msgstr[1]`): 1 node, 2 nodes."""

_MANY = 2
_LONG_NUMBER = 10  # digits; Python reads no number of thousands
_ISO_INSTANT = re.compile(r"(?<![\w./:-])\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)(?![\w./-])")
"""How findings, proofs and events write instants, alone or among other words; never as part of a path."""


def text(key: str, language: str, /, **values: object) -> str:
    """The sentence of a key, its placeholders filled in.

    Args:
        key: e.g. `status.days_left`.
        language: `en` or `ja`.
        values: for `{placeholders}`; instants are shown in UTC, absent ones as a dash.
    """
    count = _count(values)
    template = _template(key, language, count)
    if template == key and language != DEFAULT:
        template = _template(key, DEFAULT, count)
    return template.format_map(_Shown(values, language))


def sentence(reason: Reason, language: str, values: Mapping[str, object]) -> tuple[str, str]:
    """What happened, and what to do now."""
    return (
        text(reason.value, language, **values),
        text(f"{reason.value}.hint", language, **values),
    )


def placeholders(key: str, language: str) -> frozenset[str]:
    """Names of the values a sentence shows."""
    template = _template(key, language)
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name)


def instant(at: datetime, zone: str, language: str) -> str:
    """An instant as people read it, in a zone, the zone named.

    `2027-01-21 (Thu) 09:30 JST`, `2027年1月21日(木) 09:30 JST`.

    Args:
        at: aware.
        zone: IANA name; the topic's.
        language: `en` or `ja`.
    """
    local = _local(at, zone)
    name = local.tzname() or zone
    if not name.isalpha():  # zones without letters call themselves "-03"
        name = zone
    weekday = _WEEKDAYS[language][local.weekday()]
    if language == "ja":
        return f"{local.year}年{local.month}月{local.day}日({weekday}) {local:%H:%M} {name}"
    return f"{local:%Y-%m-%d} ({weekday}) {local:%H:%M} {name}"


def readable(value: object, zone: str, language: str) -> object:
    """A value as people read it: instants become `instant`, also ISO 8601 (`…Z`) within a text."""
    if isinstance(value, Word):
        return text(value, language)
    if isinstance(value, str) and value in _SAID:
        return text(_SAID[value], language)
    if isinstance(value, str):
        return _ISO_INSTANT.sub(lambda found: _instant_within(found[0], zone, language), value)
    if isinstance(value, datetime):
        return instant(value.replace(tzinfo=value.tzinfo or UTC), zone, language)
    return value


def _instant_within(text: str, zone: str, language: str) -> str:
    """An instant out of a text; what only looks like one stays, for a server's words stand there too."""
    try:
        return instant(datetime.fromisoformat(text), zone, language)
    except ValueError:
        return text


def day(at: datetime, zone: str, language: str) -> str:
    """The day alone, for tables; the zone is the topic's and named nowhere."""
    local = _local(at, zone)
    return f"{local.year}年{local.month}月{local.day}日" if language == "ja" else f"{local:%Y-%m-%d}"


def _local(at: datetime, zone: str) -> datetime:
    """An instant in a zone; in UTC at the ends of time: year 9999 is "has no end" (RFC 5280 §4.1.2.5)."""
    try:
        return at.astimezone(ZoneInfo(zone))
    except OverflowError:
        return at.astimezone(UTC)


def days(count: int, language: str) -> str:
    """Days left (`pushcert.days_left`) in words; negative counts are of something expired."""
    if count < 0:
        ago = -count - 1  # rounded down: -1 is "less than a day ago"
        key = "days.expired_today" if ago == 0 else "days.expired"
        return text(key, language, count=ago)
    key = "days.left_none" if count == 0 else "days.left"
    return text(key, language, count=count)


def age(seconds: float, language: str) -> str:
    """How long ago, in words, one unit."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return text(f"age.{unit}", language, count=int(seconds // length))
    return text("age.now", language)


def language_of(environ: Mapping[str, str]) -> str:
    """The language an environment asks for: `LC_ALL`, `LC_MESSAGES`, `LANG`, else English."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = environ.get(name)
        if value:
            return "ja" if value.lower().startswith("ja") else DEFAULT
    return DEFAULT


def has(key: str, language: str) -> bool:
    """Whether a key has a sentence."""
    return _template(key, language) != key


def _count(values: Mapping[str, object]) -> int:
    """What chooses the form of a sentence; values out of events are text."""
    given = next((str(values[name]) for name in _COUNTED if name in values), "")
    return int(given) if given.isdecimal() and len(given) < _LONG_NUMBER else _MANY


def _template(key: str, language: str, count: int = _MANY) -> str:
    """The sentence as the catalogue has it, in the form that fits the count; the key where there is none."""
    catalogue = _catalogue(language)
    found = catalogue.ngettext(key, key, count)
    return catalogue.gettext(key) if found == key else found


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, LOCALE_FOLDER, [language], fallback=True)


class _Shown(dict[str, object]):
    """Values for `str.format_map`: each as a person reads it, missing ones as a dash."""

    def __init__(self, values: Mapping[str, object], language: str) -> None:
        super().__init__(values)
        self._language = language

    def __getitem__(self, name: str) -> object:
        value = self.get(name)
        if value is None or value == "":
            return _ABSENT
        if isinstance(value, list | tuple | set | frozenset):
            if not value:
                return text("word.none", self._language)
            return ", ".join(str(readable(item, "UTC", self._language)) for item in value)
        return readable(value, "UTC", self._language)
