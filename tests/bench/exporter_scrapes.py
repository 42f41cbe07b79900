"""What a scrape costs, and what the exporter costs between scrapes, at 10, 1,000 and 10,000 certificates.

One run, every contender by turns, block by block, over one connection each, with Prometheus's own headers.
x509-certificate-exporter (Go) is not to be had from a package registry, so nothing is measured against it here. Its
rows are computed: our ratio to the naive exporter in this run, times the naive exporter's ratio to it, which was measured
once, in another run on another machine. exporter/DEPLOY.md says what that is worth.
"""

from __future__ import annotations

import gzip
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.bench.exporter_contenders import Contender, naive, ours, query_exporter
from tests.bench.table import Measured

SIZES = (10, 1_000, 10_000)
_BLOCKS = {10: 15, 1_000: 8, 10_000: 6}
_BLOCK = {10: 20, 1_000: 5, 10_000: 2}
"""Scrapes of one contender before the next one's turn."""

_WALL = {10: 0.18, 1_000: 0.008, 10_000: 0.0013}
_CPU = {10: 0.18, 1_000: 0.008, 10_000: 0.001}
_RSS = 1.5

NAIVE_TO_X509 = {
    10: {"wall p50": 2.65, "CPU": 2.16},
    1_000: {"wall p50": 1.81, "CPU": 1.54},
    10_000: {"wall p50": 1.47, "CPU": 1.22},
}
"""The naive exporter / x509-certificate-exporter 4.2.0-rc.1, both scraped by turns in one run (not this one)."""

X509 = {10: 0.5, 1_000: 0.015, 10_000: 0.002}
"""Ours / x509-certificate-exporter, wall and CPU alike."""

_START_SECONDS = {10: 0.7, 10_000: 4.0}
_IDLE_SECONDS = {10: 0.030, 10_000: 0.300}
"""CPU a minute while nothing changes."""

_IDLE_WINDOW = 120.0
_STARTS = {10: 5, 10_000: 2}


@dataclass
class Taken:
    """What one contender's scrapes took."""

    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    mebibytes: float = 0.0


def measure(folder: Path) -> Iterator[Measured]:
    """Scrapes and memory against the naive exporter, then ours alone: start and idling."""
    for size in SIZES:
        certificates = folder / f"certificates-{size}"
        certificates.mkdir()
        issue(certificates, size)
        time.sleep(2.5)  # what was changed a moment ago is read again at the next poll
        place = folder / f"run-{size}"
        place.mkdir()
        yield from _scrapes(certificates, place, size)
        if size in _START_SECONDS:
            yield from _start(certificates, place, size)
            yield from _idle(certificates, place, size)


def _scrapes(certificates: Path, place: Path, size: int) -> Iterator[Measured]:
    makers = (ours, naive, query_exporter)
    taken = by_blocks([make(certificates, place / make.__name__) for make in makers], complete(size), size)
    for rival in ("naive", "query-exporter"):
        bars = (_WALL[size], _CPU[size], _RSS) if rival == "naive" else (math.inf,) * 3
        rows = list(compared(taken, rival, f"scrape, {size} certificates", bars, size))
        yield from rows
        if rival == "naive":
            yield from computed(rows, size)


def by_blocks(running: Sequence[Contender], whole: Callable[[bytes], bool], size: int) -> dict[str, Taken]:
    """Scrape all by turns once each tells everything, then let them go; by name."""
    taken = {one.name: Taken() for one in running}
    try:
        for one in running:
            one.until(whole)
        for number in range(_BLOCKS[size]):
            for one in running if number % 2 == 0 else reversed(running):
                _block(one, taken[one.name], _BLOCK[size])
        for one in running:
            taken[one.name].mebibytes = one.rss()
    finally:
        for one in running:
            one.end()
    return taken


def compared(
    taken: Mapping[str, Taken], rival: str, what: str, bars: Sequence[float], size: int
) -> Iterator[Measured]:
    """Wall time, CPU and memory of ours to a rival's."""
    mine, theirs = taken["ours"], taken[rival]
    pairs = (
        ("wall p50", statistics.median(mine.walls), statistics.median(theirs.walls)),
        ("CPU", statistics.fmean(mine.cpus), statistics.fmean(theirs.cpus)),
        ("MiB after scrapes", mine.mebibytes, theirs.mebibytes),
    )
    for (measured, own, other), bar in zip(pairs, bars, strict=True):
        yield Measured(f"{what}, {measured} / {rival}", own, other, bar, len(mine.walls))


def computed(rows: Sequence[Measured], size: int) -> Iterator[Measured]:
    """From rows against the naive exporter, those against x509-certificate-exporter: no round of it was run."""
    for row in rows:
        for measured, ratio in NAIVE_TO_X509[size].items():
            if row.what.endswith(f", {measured} / naive"):
                what = f"{row.what.removesuffix('naive')}x509 (computed)"
                yield Measured(what, row.ours, row.rival / ratio, X509[size], 0)


def _block(one: Contender, taken: Taken, times: int) -> None:
    one.scrape()  # the first after a pause finds cold caches, whoever's turn it is
    cpu = one.cpu()
    for _ in range(times):
        begun = time.perf_counter()
        one.scrape()
        taken.walls.append(time.perf_counter() - begun)
    taken.cpus.append((one.cpu() - cpu) / times)


def _start(certificates: Path, place: Path, size: int) -> Iterator[Measured]:
    times = []
    for number in range(_STARTS[size]):
        one = ours(certificates, place / f"start-{number}")
        try:
            times.append(one.until(complete(size)))
        finally:
            one.end()
    bar = _START_SECONDS[size]
    yield Measured(
        f"start to first complete answer, {size} certificates / {bar} s",
        statistics.median(times),
        bar,
        1.0,
        len(times),
    )


def _idle(certificates: Path, place: Path, size: int) -> Iterator[Measured]:
    one = ours(certificates, place / "idle")
    try:
        one.until(complete(size))
        time.sleep(5)
        before, begun = one.cpu(), time.perf_counter()
        time.sleep(_IDLE_WINDOW)
        spent = (one.cpu() - before) * 60 / (time.perf_counter() - begun)
    finally:
        one.end()
    bar = _IDLE_SECONDS[size]
    yield Measured(f"CPU a minute, idle, {size} certificates / {bar} s", spent, bar, 1.0, 1)


def complete(size: int) -> Callable[[bytes], bool]:
    """Whether a body tells of every certificate."""
    names = (b"\nmdm_push_certificate_expiry_timestamp_seconds{", b"\ncert_not_after_timestamp_seconds{")

    def whole(body: bytes) -> bool:
        text = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        return max(map(text.count, names)) >= size

    return whole


def issue(folder: Path, count: int) -> None:
    """Certificates: self-signed, RSA-2048, UID + CN + C, each of its own topic; one key for all, since keys take long."""
    key = rsa.generate_private_key(65537, 2048)
    now = datetime.now(UTC)
    for number in range(count):
        topic = f"com.apple.mgmt.External.{number:08x}-2222-4333-8444-555555555555"
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.USER_ID, topic),
                x509.NameAttribute(NameOID.COMMON_NAME, f"APSP:{topic[24:]}"),
                x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            ]
        )
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30 + number % 300))
            .sign(key, hashes.SHA256())
        )
        (folder / f"{number:05}.pem").write_bytes(made.public_bytes(Encoding.PEM))
