"""Families -> bytes, for each encoding scrapers ask for: byte for byte what prometheus_client writes.

An answer is several pieces: the snapshot's and the configuration's, each rendered and compressed when it
changed, and the process's own metrics, rendered when asked. Compressed, these are gzip members one after the
other (RFC 1952), which Prometheus and the usual readers take as one text.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import islice

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

from exporter import process
from exporter.definition import Definition
from exporter.families import Family
from renewctl.web.pieces import PIECE_BYTES

_EOF = b"# EOF\n"

_GZIP_LEVEL = 6
"""Level 9 takes twice the time for 5 % fewer bytes."""

_STORED = 0
"""Level of what each answer makes anew: half a kilobyte less is not worth a twentieth of a scrape."""

_GZIP_WITH_HEADER = 31
"""zlib's `wbits` for a gzip member."""

_HEADERS_KEPT = 16
"""A scraper sends the same ones each time; there are few scrapers."""

_UNPACKED_AT_ONCE = 4096
"""Compressed bytes, some ten times as many as text."""

_LINES_AT_ONCE = 2000
"""Of a large family: it is never in memory as one text."""


class Format(Enum):
    """What scrapers can be given; the value is the Content-Type."""

    TEXT = CONTENT_TYPE_PLAIN_0_0_4
    OPENMETRICS = CONTENT_TYPE_LATEST


class Part:
    """Some families, whole, as bytes in every format.

    Kept compressed alone: ten thousand certificates are half a megabyte so, and four as text.

    Attributes:
        packed: one gzip member.
        sizes: bytes of the text.
    """

    def __init__(self, families: Iterable[Family]) -> None:
        packing = {format_: zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WITH_HEADER) for format_ in Format}
        packed: dict[Format, list[bytes]] = {format_: [] for format_ in Format}
        self.sizes = dict.fromkeys(Format, 0)

        def add(text: bytes, format_: Format) -> None:
            packed[format_].append(packing[format_].compress(text))
            self.sizes[format_] += len(text)

        for family in families:
            for format_ in Format:
                add(_head(family.definition, format_), format_)
            for piece in _pieces(family.lines()):
                for format_ in Format:
                    add(piece, format_)
        self.packed = {format_: b"".join((*packed[format_], packing[format_].flush())) for format_ in Format}


@dataclass(frozen=True)
class Body:
    """What a scraper is answered with.

    Attributes:
        members: gzip members, each shared by all who are given it.
        size: bytes of the answer.
        compressed: whether the members themselves are the answer.
    """

    members: tuple[bytes, ...]
    size: int
    compressed: bool

    def whole(self) -> bytes:
        """All of it: for a small one."""
        joined = b"".join(self.members)
        return joined if self.compressed else gzip.decompress(joined)

    def pieces(self) -> Iterator[bytes]:
        """One after the other, unpacked when it is asked for: a large one is never in memory as text."""
        for member in self.members:
            yield from (member,) if self.compressed else _unpacked(member)


class Page:
    """One snapshot's bytes in every format.

    Args:
        parts: together all families, each once.
        of_process: whether the process's own metrics follow in each answer.
    """

    def __init__(self, parts: Sequence[Part], *, of_process: bool = True) -> None:
        self._of_process = of_process
        self._parts = tuple(parts)

    def body(self, format_: Format, *, compressed: bool, own: Part | None = None) -> Body:
        """This snapshot, then what is told as it is now.

        Args:
            own: further families.
        """
        lines = zip(*_PROCESS[format_], process.values(), strict=True) if self._of_process else ()
        tail = b"".join(b"%b%b %b\n" % line for line in lines)
        if format_ is Format.OPENMETRICS:
            tail += _EOF
        parts = (*self._parts, own) if own else self._parts
        members = (*(part.packed[format_] for part in parts), gzip.compress(tail, _STORED, mtime=0))
        text = sum(part.sizes[format_] for part in parts) + len(tail)
        return Body(members, sum(map(len, members)) if compressed else text, compressed)


def _unpacked(member: bytes) -> Iterator[bytes]:
    unpacking = zlib.decompressobj(_GZIP_WITH_HEADER)
    for start in range(0, len(member), _UNPACKED_AT_ONCE):
        rest = member[start : start + _UNPACKED_AT_ONCE]
        while rest:
            if piece := unpacking.decompress(rest, PIECE_BYTES):
                yield piece
            rest = unpacking.unconsumed_tail
    if piece := unpacking.flush():
        yield piece


@lru_cache(_HEADERS_KEPT)
def choose_format(accept: str) -> Format:
    """OpenMetrics to a scraper whose first choice it is, text to everybody else.

    Formats we do not serve (protobuf, OpenMetrics 2) do not matter, except that a scraper that
    prefers protobuf is given text: that is what it falls back to.
    """
    first = max(_ranked(accept), default=None)
    return Format.OPENMETRICS if first and first[2] == "application/openmetrics-text" else Format.TEXT


@lru_cache(_HEADERS_KEPT)
def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header lets us answer with gzip."""
    quality = {coding.lower(): header_quality(values) for coding, values in header_entries(accept_encoding)}
    return quality.get("gzip", quality.get("*", 0)) > 0


def _ranked(accept: str) -> Iterator[tuple[float, int, str]]:
    """Quality, earlier first, media type: for each entry that could be meant for us."""
    for place, (media_type, values) in enumerate(header_entries(accept)):
        if media_type == "application/openmetrics-text" and values.get("version", "1.0.0") != "1.0.0":
            continue
        if (quality := header_quality(values)) > 0:
            yield quality, -place, media_type


def header_entries(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each entry of an `Accept…` header, in order: what is named, in lower case, and its parameters."""
    for entry in header.split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        yield name.lower(), {key.strip().lower(): value.strip() for key, _, value in pairs}


def header_quality(values: dict[str, str]) -> float:
    """How much an entry is wanted, 0 to 1 (`q`); 1 where it does not say."""
    try:
        return min(max(float(values.get("q", "1")), 0), 1)
    except ValueError:
        return 0


def _head(definition: Definition, format_: Format) -> bytes:
    """HELP, TYPE and UNIT: all that differs between the formats."""
    escaped = definition.help.replace("\\", r"\\").replace("\n", r"\n")
    if format_ is Format.TEXT:
        kind = "gauge" if definition.kind == "info" else definition.kind
        return f"# HELP {definition.name} {escaped}\n# TYPE {definition.name} {kind}\n".encode()
    name, escaped = definition.family, escaped.replace('"', r"\"")
    unit = f"# UNIT {name} {definition.unit}\n" if definition.unit else ""
    return f"# HELP {name} {escaped}\n# TYPE {name} {definition.kind}\n{unit}".encode()


def _pieces(lines: Iterator[str]) -> Iterator[bytes]:
    while piece := "".join(islice(lines, _LINES_AT_ONCE)):
        yield piece.encode()


_PROCESS = {
    format_: (
        [_head(one, format_) for one in process.PROCESS],
        [one.name.encode() for one in process.PROCESS],
    )
    for format_ in Format
}
