"""HTML out of elements, never out of strings: what a text holds stays text. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, tostring

from renewctl.visible import visible

Content = Element | str | None
"""What an element may hold: texts stay texts."""


def tag(name: str, /, *content: Content, **attributes: str) -> Element:
    """An element; texts among its content are escaped when written, None is left out.

    Args:
        name: of the element.
        content: texts and elements, in order.
        attributes: a trailing underscore keeps Python's words apart (`class_`).
    """
    made = Element(name, {key.rstrip("_").replace("_", "-"): text for key, text in attributes.items()})
    for one in content:
        if isinstance(one, Element):
            made.append(one)
        elif one is not None:
            _append_text(made, visible(one))
    return made


def terms(pairs: Iterable[tuple[str, Content]]) -> Element:
    """Terms and what they are; those without a value are left out."""
    made = tag("dl")
    for term, value in pairs:
        if value is not None and value != "":
            made.extend((tag("dt", term), tag("dd", value)))
    return made


def style(text: str) -> Element:
    """A style sheet of ours: it stands as it is, line ends too."""
    made = Element("style")
    made.text = text
    return made


def page(root: Element) -> bytes:
    """The document as a file: UTF-8, with its doctype."""
    return f"<!doctype html>\n{tostring(root, encoding='unicode', method='html')}\n".encode()


def _append_text(to: Element, text: str) -> None:
    if len(to):
        to[-1].tail = (to[-1].tail or "") + text
    else:
        to.text = (to.text or "") + text
