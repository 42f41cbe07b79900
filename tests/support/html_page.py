"""An HTML page read as a browser would, as a tree; every element must be closed."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree.ElementTree import Element, TreeBuilder

_VOID = {"meta", "link", "br", "hr", "img", "input"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.builder = TreeBuilder()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in _VOID:
            self.builder.end(tag)
        else:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag
        self.builder.end(tag)

    def handle_data(self, data: str) -> None:
        if self.open:
            self.builder.data(data)


def read(page: bytes) -> Element:
    """The page's root element."""
    reader = _Reader()
    reader.feed(page.decode("utf-8"))
    reader.close()
    assert reader.open == []
    return reader.builder.close()


def text(element: Element) -> str:
    """What it says, a blank between its parts."""
    return " ".join(" ".join(element.itertext()).split())


def of_class(root: Element, name: str) -> list[Element]:
    """The elements of a class."""
    return [found for found in root.iter() if name in found.get("class", "").split()]


def facts(section: Element) -> dict[str, str]:
    """Terms of its first list of terms, and what they are."""
    [entries] = section.findall("dl")
    return {text(term): text(value) for term, value in zip(entries[::2], entries[1::2], strict=True)}


def rows(table: Element) -> list[dict[str, str]]:
    """The rows of a table, by the heading of each column."""
    headings = [text(heading) for heading in table.iter("th") if heading.get("scope") == "col"]
    body = table.find("tbody")
    assert body is not None
    return [dict(zip(headings, map(text, row), strict=True)) for row in body]
