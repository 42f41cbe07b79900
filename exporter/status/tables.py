"""A table that becomes a list of cards on a narrow screen and stays a table for a screen reader. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element

from renewctl.markup import Content, tag

Cell = Content | Sequence[Content]


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Element:
    """A table whose first column names its rows.

    Roles are spelled out: a browser takes them away from a table whose rows the style sheet stacks.
    There each cell shows its heading (`data-label`), which is only for the eye.
    """
    columns = [tag("th", heading, scope="col", role="columnheader") for heading in headings]
    body = tag("tbody", role="rowgroup")
    for first, *others in rows:
        cells = [
            tag("td", *_content(cell), role="cell", data_label=heading)
            for heading, cell in zip(headings[1:], others, strict=True)
        ]
        body.append(tag("tr", tag("th", *_content(first), scope="row", role="rowheader"), *cells, role="row"))
    return tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *columns, role="row"), role="rowgroup"),
        body,
        role="table",
    )


def _content(cell: Cell) -> Sequence[Content]:
    if cell is None or cell == "":
        return ["–"]
    return [cell] if isinstance(cell, str | Element) else cell
