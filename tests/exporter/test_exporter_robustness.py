"""The table of bad files beside good ones, row by row, as a scraper sees it; kept in test-output/robustness.md.

The rows are those that other exporters were measured by: most of them lose certificates, stay silent or hang.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from renewctl.reasons import Reason
from tests.servers.test_certificate_files import BAD, many_names, topic
from tests.servers.test_certificate_files import ENDS as ODD_ENDS
from tests.support.certs import apple_like
from tests.support.exporter_process import TOPIC, Exporter, exporter, files_node, inventory
from tests.support.kept_output import keep

pytestmark = pytest.mark.slow  # files of 50 MB: `make test`

GOOD = 5
ENDS = datetime(2027, 1, 4, tzinfo=UTC)
LATER = ENDS + timedelta(days=365)
PAST = datetime(2025, 1, 4, tzinfo=UTC)
OWN = topic(9)

NO_RIGHT_TO_READ_ALL = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""So that modes hold for root, too."""


def certificate(not_after: datetime = ENDS, uid: str = OWN) -> bytes:
    """PEM."""
    begins = not_after - timedelta(days=365)
    return apple_like().push(uid, not_before=begins, not_after=not_after).pem


def unreadable(path: Path) -> None:
    """For everybody without a special right."""
    path.write_bytes(certificate())
    path.chmod(0)


def renewed(path: Path) -> None:
    """As `cp -p` and configuration management do it: another content, the same size and time."""
    status, new = path.stat(), path.with_suffix(".new")
    new.write_bytes(certificate(LATER).ljust(status.st_size, b"\n")[: status.st_size])
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.replace(path)


@dataclass(frozen=True)
class Row:
    """One kind of file.

    Attributes:
        make: puts it there.
        reason: why it cannot be read; None: it can.
        not_after: its date, if there is one to tell.
        first: what is there before, and was seen; None: nothing.
    """

    make: Callable[[Path], object]
    reason: Reason | None
    not_after: datetime | None = None
    first: bytes | None = None


def bad(kind: str) -> Row:
    """A row that one look is tested with, too."""
    return Row(*BAD[kind])


ROWS = {
    "empty file": bad("empty"),
    "directory named .pem": bad("folder"),
    "unreadable (mode 000)": Row(unreadable, Reason.FILE_UNREADABLE),
    "garbage base64": bad("garbage base64"),
    "good base64, not DER": bad("good base64, no DER"),
    "50 MB of zeros": bad("50 MB of zeros"),
    "certificate + 50 MB of comment": bad("certificate and 50 MB"),
    "key only": bad("key"),
    "same certificate in two files": Row(lambda path: path.write_bytes(certificate(uid=topic(0))), None, ENDS),
    "expired": Row(lambda path: path.write_bytes(certificate(PAST)), None, PAST),
    "1,000 alternative names": Row(lambda path: path.write_bytes(many_names()), None, ODD_ENDS),
    "non-UTF-8 subject": bad("no UTF-8"),
    "FIFO": bad("pipe"),
    "symlink loop": bad("link to itself"),
    "dangling symlink": bad("link to nothing"),
    "good file overwritten with garbage": Row(
        lambda path: path.write_bytes(bytes(range(256))), Reason.FILE_NOT_RECOGNISED, ENDS, certificate()
    ),
    "good file deleted": Row(Path.unlink, Reason.FILE_NOT_FOUND, ENDS, certificate()),
    "renewed, same size and time": Row(renewed, None, LATER, certificate() + b"\n" * 9),  # a serial may be short
}  # fmt: skip

Series = dict[str, float]


@dataclass(frozen=True)
class Told:
    """What a scrape says of one file.

    Attributes:
        good: how many of the good certificates are there with their date.
        readable: as a gauge, 0 or 1; None: the file is not named.
    """

    status: int
    good: int
    readable: float | None
    reasons: frozenset[str]
    dates: frozenset[float]
    peak_mib: float


def told(running: Exporter, path: Path) -> Told:
    """By a scrape now."""
    status = running.get("/metrics").status
    series = running.series()

    def named(metric: str) -> dict[str, float]:
        return {one: value for one, value in series.items() if one.startswith(f'{metric}{{file="{path}",')}

    files = [f'mdm_certificate_file_expiry_timestamp_seconds{{file="{path.parent}/{n}.pem",node="pki",topic="{topic(n)}"}}' for n in range(GOOD)]  # fmt: skip
    failures = named("mdm_certificate_file_failure")
    peak = Path(f"/proc/{running.process.pid}/status").read_text().partition("VmHWM:")[2].split()[0]
    return Told(
        status=status,
        good=sum(series.get(file) == ENDS.timestamp() for file in files),
        readable=next(iter(named("mdm_certificate_file_readable").values()), None),
        reasons=frozenset(one.partition('reason="')[2].partition('"')[0] for one in failures),
        dates=frozenset(named("mdm_certificate_file_expiry_timestamp_seconds").values()),
        peak_mib=int(peak) / 1024,
    )


def as_it_should_be(row: Row, found: Told) -> bool:
    """200, every good certificate, the bad one by name with its reason, and its date where it has one."""
    dates = {row.not_after.timestamp()} if row.not_after is not None else set()
    readable, reasons = float(row.reason is None), {str(row.reason)} - {"None"}
    return (found.status, found.good, found.readable) == (200, GOOD, readable) and (
        (found.reasons, found.dates) == (reasons, dates)
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five good certificates, watched by the exporter of `watching`."""
    place = tmp_path / "pki"
    place.mkdir()
    for number in range(GOOD):
        (place / f"{number}.pem").write_bytes(certificate(uid=topic(number)))
    (tmp_path / "push.pem").write_bytes(certificate(uid=TOPIC))
    nodes = [
        files_node("mdm", tmp_path / "push.pem"),
        {"name": "pki", "product": "files", "folder": str(place)},
    ]
    inventory(tmp_path, nodes)
    return place


@contextmanager
def watching(folder: Path) -> Iterator[Exporter]:
    """The exporter at work, with no more rights than a usual account has."""
    under = NO_RIGHT_TO_READ_ALL if os.geteuid() == 0 else ()
    with exporter(folder.parent, interval="200ms", under=under) as running:
        running.wait_for('mdm_node_up{node="pki",product="files"}', 1)
        yield running
        assert running.stop() == 0
        assert "Traceback" not in running.log.read_text()


def seen(running: Exporter, path: Path, row: Row) -> Told:
    """What it says once it looked; or the last it said."""
    end = time.monotonic() + 60
    while not as_it_should_be(row, found := told(running, path)) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_every_row_of_the_table(folder: Path) -> None:
    """One after the other in a running exporter, then all that are left at the start of another."""
    lines, wrong, peak = [], [], 0.0
    with watching(folder) as running:
        for number, (name, row) in enumerate(ROWS.items()):
            path = folder / f"row-{number:02}.pem"
            if row.first is not None:
                path.write_bytes(row.first)
                before = Row(row.make, None, ENDS)
                assert as_it_should_be(before, seen(running, path, before))
            peak = peak or told(running, path).peak_mib
            row.make(path)
            found = seen(running, path, row)
            lines.append(_line(name, found, found.peak_mib - peak))
            peak = found.peak_mib
            wrong += [] if as_it_should_be(row, found) else [(name, found)]
    keep("robustness.md", _HEADING + "".join(lines))
    assert wrong == []
    with watching(folder) as running:
        for number, (name, row) in enumerate(ROWS.items()):
            found = seen(running, folder / f"row-{number:02}.pem", row)
            wrong += [] if as_it_should_be(row, found) else [(name, found)]
    assert wrong == []


_HEADING = """\
| one file beside five good certificates | answer | good certificates | the file itself | its date | peak memory |
| --- | --- | --- | --- | --- | --- |
"""


def _line(name: str, found: Told, grown: float) -> str:
    said = ", ".join(sorted(found.reasons)) or "read"
    named = "not named" if found.readable is None else f"named: {said}"
    dates = ", ".join(f"{datetime.fromtimestamp(date, UTC):%Y-%m-%d}" for date in sorted(found.dates)) or "-"
    return f"| {name} | {found.status} | {found.good} of {GOOD} | {named} | {dates} | {grown:+.1f} MiB |\n"
