"""What else expires, and watched folders, as sections of the page. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from xml.etree.ElementTree import Element

from exporter.metrics import FILE_EXPIRY, FILE_FAILURE, OTHER_EXPIRY
from exporter.status.others_view import (
    BEHIND,
    OTHER_DUE,
    FileStatus,
    FolderStatus,
    Others,
    OtherStatus,
    faulty,
    soonest,
)
from exporter.status.tables import Cell, table
from exporter.status.view import Level
from exporter.status.words import Words
from renewctl.markup import tag

ANCHOR = "beside"
"""The id of the first of these sections' headings."""

MOST_EXPIRING = 50
"""Rows of what else expires: the inventory names each, or tells of it by a node's address."""

MOST_FILES = 10
"""Rows of files, of each kind: a folder may hold ten thousand."""


def sections(others: Others, words: Words) -> Iterator[Element]:
    """Those that there is something to say of."""
    if others.expiring:
        yield _section("others", others.expiring[0].level, ANCHOR, words, *_expiring(others, words))
    if others.folders:
        id_ = "folders" if others.expiring else ANCHOR
        yield _section("folders", others.folders[0].level, id_, words, *_folders(others, words))


def _section(name: str, level: Level, id_: str, words: Words, *content: Element) -> Element:
    heading = tag("h2", f"{words.text(f'page.{name}')} ", words.level(level), id=id_)
    return tag("section", heading, *content, aria_labelledby=id_, class_=f"beside {level}")


def _expiring(others: Others, words: Words) -> Iterator[Element]:
    shown = others.expiring[:MOST_EXPIRING]
    rows = (
        [
            tag("div", tag("span", words.text(f"page.kind.{one.kind}")), _quiet(one.name), class_="lines"),
            words.level(one.level),
            *_date(one.facts.not_after, OTHER_DUE, words),
            one.node,
            _read(one, words),
        ]
        for one in shown
    )
    headings = _headings(words, "what", "level", "expires", "left", "node", "seen")
    yield table(words.text("page.others_all"), headings, rows)
    files = any(one.kind == BEHIND for one in others.expiring)
    told = f"{OTHER_EXPIRY.name}, {FILE_EXPIRY.name}" if files else OTHER_EXPIRY.name
    yield from _rest(len(shown), len(others.expiring), told, words)


def _folders(others: Others, words: Words) -> Iterator[Element]:
    headings = _headings(words, "node", "level", "folder", "files", "soonest", "left", "seen")
    rows = (_folder_row(folder, words) for folder in others.folders)
    yield table(words.text("page.folders_all"), headings, rows)
    files = others.files
    if first := soonest(files, MOST_FILES):
        headings = _headings(words, "file", "level", "expires", "left", "node")
        rows = (_file_row(file, words) for file in first)
        yield table(words.text("page.files_soonest"), headings, rows)
        dated = sum(file.file.not_after is not None for file in files)
        yield from _rest(len(first), dated, FILE_EXPIRY.name, words)
    if bad := faulty(files):
        headings = _headings(words, "file", "fault", "level", "expires_known", "left", "node")
        rows = (_faulty_row(file, words) for file in bad[:MOST_FILES])
        yield table(words.text("page.files_faulty"), headings, rows)
        yield from _rest(min(len(bad), MOST_FILES), len(bad), FILE_FAILURE.name, words)


def _folder_row(folder: FolderStatus, words: Words) -> list[Cell]:
    ends = folder.ends
    at = folder.facts.looked_at
    seen = [tag("span", words.text("page.up.never") if at is None else words.age(at), class_="quiet")]
    seen += [tag("span", words.fault(reason), class_="bad") for reason in folder.faults]
    return [
        folder.node.name,
        words.level(folder.level),
        tag("code", str(folder.node.folder)),
        _files(folder, words),
        *(_date(ends.file.not_after, ends.window, words) if ends else (None, None)),
        tag("div", *seen, class_="lines"),
    ]


def _files(folder: FolderStatus, words: Words) -> Element | None:
    """How many files there are of each level; None where none are known of."""
    if folder.counts:
        counted = (tag("li", words.level(level), f" {count}") for level, count in folder.counts.items())
        return tag("ul", *counted, class_="counts")
    return None


def _file_row(file: FileStatus, words: Words) -> list[Cell]:
    return [_path(file), words.level(file.level), *_date(file.file.not_after, file.window, words), file.node]


def _faulty_row(file: FileStatus, words: Words) -> list[Cell]:
    reason = file.file.reason
    fault = None if reason is None else tag("span", words.fault(reason), class_="bad")
    path, *others = _file_row(file, words)
    return [path, fault, *others]


def _path(file: FileStatus) -> Element:
    return tag("code", file.file.path)


def _date(not_after: datetime | None, window: timedelta, words: Words) -> tuple[Cell, Cell]:
    """The day, and days left in words."""
    if not_after is None:
        return None, None
    return words.day(not_after), words.left_in_colour(not_after, window)


def _read(one: OtherStatus, words: Words) -> Element:
    """How old the date is, and why it is not newer."""
    at, reason = one.facts.last_success, one.facts.reason
    age = tag("span", words.text("page.read_never")) if at is None else tag("time", words.age(at))
    if at is not None:
        age.set("datetime", at.isoformat())
    why = None if reason is None else tag("span", words.fault(reason), class_="bad")
    return tag("div", age, why, class_="lines")


def _rest(shown: int, total: int, metric: str, words: Words) -> Iterator[Element]:
    """Where the rest is told, if there is any."""
    if shown < total:
        told = words.text("page.rest", shown=shown, total=total)
        yield tag("p", f"{told} ", tag("a", "/metrics", href="/metrics"), ", ", tag("code", metric))


def _quiet(text: str) -> Element:
    return tag("span", text, class_="quiet")


def _headings(words: Words, *names: str) -> Sequence[str]:
    return [words.text("page.expires" if name == "expires" else f"page.column.{name}") for name in names]
