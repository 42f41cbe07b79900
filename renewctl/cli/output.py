"""The only place that prints: data to stdout, talk to stderr, in the reader's language."""

from __future__ import annotations

import json
import os
import sys
import threading
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from renewctl import messages
from renewctl.errors import Attention, PersonsTurn, RenewctlError
from renewctl.visible import visible

if TYPE_CHECKING:
    from renewctl.guidance import Step
    from renewctl.reasons import Reason

PATIENCE = 2.0
"""Seconds after which silence is explained."""

_MOST_FAULTS = 20
_SERIAL_WHOLE = 16  # digits that fit beside the other columns
_NEVER_FOLDED = {"column.not_after", "column.serial"}
_GAP = "  "


class Output:
    """Speaks one language, and JSON where asked.

    Attributes:
        language: `en` or `ja`.
        as_json: data is JSON; talk is left out but for errors.
        zone: the zone instants are shown in where a line belongs to no topic.
    """

    def __init__(self, language: str, *, as_json: bool = False, zone: str = "UTC") -> None:
        self.language = language
        self.as_json = as_json
        self.zone = zone

    def text(self, key: str, /, **values: object) -> str:
        """A sentence, its instants shown in `zone`."""
        return messages.text(key, self.language, **self._readable(values))

    def sentence(self, reason: Reason, values: Mapping[str, object]) -> tuple[str, str]:
        """What happened and what to do, instants shown in `zone`."""
        return messages.sentence(reason, self.language, self._readable(values))

    def _readable(self, values: Mapping[str, object]) -> dict[str, object]:
        return {name: messages.readable(value, self.zone, self.language) for name, value in values.items()}

    def instant(self, at: datetime) -> str:
        """An instant in this topic's zone, the zone named."""
        return messages.instant(at, self.zone, self.language)

    def fitting(self, whole: str, short: str) -> str:
        """What goes into a cell: the short form on a terminal, where the whole one would fold."""
        return short if sys.stdout.isatty() else whole

    def serial(self, serial: str | None) -> str | None:
        """A serial number in a table: its ends on a terminal, where 40 digits would fold; else whole."""
        if serial is None or len(serial) <= _SERIAL_WHOLE:
            return serial
        return self.fitting(serial, f"{serial[:8]}…{serial[-4:]}")

    def finding(self, reason: Reason, values: Mapping[str, object]) -> None:
        """A warning of a check: what was found, and what to make of it."""
        if self.as_json:
            return
        happened, hint = self.sentence(reason, values)
        _write(sys.stderr, f"{self.text('label.warning')}: {happened}")
        _write(sys.stderr, f"  {self.text('label.hint')}: {hint}")

    def show(self, key: str, /, **values: object) -> None:
        """A line of data for people; nothing where JSON was asked for."""
        if not self.as_json:
            _write(sys.stdout, self.text(key, **values))

    def show_red(self, key: str, /, **values: object) -> None:
        """A line of data that must not be overlooked: red on a terminal (unless `NO_COLOR` is set)."""
        if not self.as_json:
            line = self.text(key, **values)
            coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
            _write(sys.stdout, f"\x1b[1;31m{line}\x1b[0m" if coloured else line)

    def raw(self, text: str) -> None:
        """A line of data that is in no language: a path, a name."""
        if not self.as_json:
            _write(sys.stdout, text)

    def say(self, key: str, /, **values: object) -> None:
        """A line of talk; nothing where JSON was asked for."""
        if not self.as_json:
            _write(sys.stderr, self.text(key, **values))

    def json(self, value: object) -> None:
        """A JSON document; nothing where people read."""
        if self.as_json:
            text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True, default=plain)
            _write(sys.stdout, text)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table on stdout: lines and colours on a terminal, plain columns elsewhere.

        Args:
            columns: keys of the headings.
            rows: cells, what moves a cursor spelled out; a dash where None.
        """
        if self.as_json:
            return
        headings = [self.text(key) for key in columns]
        cells = [["–" if cell is None else visible(str(cell)) for cell in row] for row in rows]
        if sys.stdout.isatty():
            _rich_table(headings, cells, [key in _NEVER_FOLDED for key in columns])
        else:
            _plain_table(headings, cells)

    def next_steps(self, steps: Sequence[Step], zone: str | None = None) -> None:
        """What a person has to do now, numbered, on stderr."""
        if self.as_json or not steps:
            return
        _write(sys.stderr, "\n" + self.text("next.heading"))
        for number, step in enumerate(steps, start=1):
            values = {
                name: messages.instant(value, zone, self.language)
                if zone and isinstance(value, datetime)
                else value
                for name, value in step.values.items()
            }
            _write(sys.stderr, f"  {number}. {self.text(step.key, **values)}")
            if step.command is not None:
                _write(sys.stderr, f"       {step.command}")

    @contextmanager
    def working(self, key: str, /, **values: object) -> Iterator[None]:
        """Say what is going on if it takes longer than `PATIENCE`."""
        timer = threading.Timer(PATIENCE, self.say, (key,), values)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def error(self, error: RenewctlError, head: str = "", *, dry_run: bool = False) -> None:
        """What happened, got, expected, what to do; as an object on stdout where JSON was asked for.

        Args:
            head: of the store, where the command wrote to it before it ended.
            dry_run: say that nothing was written.
        """
        more = {**({"head": head} if head else {}), **({"dry_run": True} if dry_run else {})}
        self.json({"error": self.error_object(error), **more})
        if self.as_json:
            return
        faults = [error, *error.others]
        for fault in faults[:_MOST_FAULTS]:
            self._error_lines(fault)
        if len(faults) > _MOST_FAULTS:
            _write(sys.stderr, self.text("label.more", count=len(faults) - _MOST_FAULTS))

    def _error_lines(self, error: RenewctlError) -> None:
        values = self._readable(error.values)
        happened, hint = self.sentence(error.reason, error.values)
        keys = (error.reason.value, f"{error.reason.value}.hint")
        told = {name for key in keys for name in messages.placeholders(key, self.language)}
        _write(sys.stderr, f"{self.text(_label(error))}: {happened}")
        for name in ("got", "expected"):
            if name not in told and values.get(name) not in (None, ""):
                _write(sys.stderr, f"  {self.text(f'label.{name}')}: {values[name]}")
        _write(sys.stderr, f"  {self.text('label.hint')}: {hint}")

    def error_object(self, error: RenewctlError) -> dict[str, object]:
        """An error for programs: its reason and values, and the sentences a person would read."""
        happened, hint = self.sentence(error.reason, error.values)
        found: dict[str, object] = {
            "reason": error.reason.value,
            "exit_code": int(error.exit_code),
            "message": happened,
            "hint": hint,
            "values": dict(error.values),
        }
        if error.others:
            found["others"] = [self.error_object(other) for other in error.others]
        return found


def steps_json(steps: Sequence[Step], output: Output, zone: str) -> list[dict[str, object]]:
    """Next steps as JSON: the key for programs, the sentence for people."""
    speaking = Output(output.language, zone=zone)
    return [
        {
            "key": step.key,
            "text": speaking.text(step.key, **step.values),
            "command": step.command,
        }
        for step in steps
    ]


def plain(value: object) -> object:
    """What JSON has no form for: instants (UTC, `…Z`), paths, sets, values of ours."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: getattr(value, entry.name) for entry in fields(value)}
    return str(value)


def _label(error: RenewctlError) -> str:
    if isinstance(error, PersonsTurn):
        return "label.persons_turn"
    return "label.attention" if isinstance(error, Attention) else "label.error"


def _write(stream: TextIO, line: str) -> None:
    stream.write(line + "\n")
    stream.flush()


def _rich_table(headings: Sequence[str], rows: Sequence[Sequence[str]], whole: Sequence[bool]) -> None:
    from rich import box  # noqa: PLC0415 - slow to import; wanted on a terminal only
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD)
    for heading, in_one in zip(headings, whole, strict=True):
        table.add_column(heading, overflow="fold", no_wrap=in_one)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=sys.stdout, highlight=False).print(table)


def _plain_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(_width, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        padded = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        _write(sys.stdout, _GAP.join(padded).rstrip())


def _width(text: str) -> int:
    """Columns on a terminal: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
