"""Bad files beside good ones, as a scraper sees it: 200, every good certificate, the bad one by name and reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exporter.snapshot import FORGET_AFTER, NodeFacts, Snapshot
from renewctl.inventory.reading import Product
from renewctl.observation import Failure, Observation, SeenFile, Source
from renewctl.reasons import Reason
from renewctl.servers.files import Files
from tests.servers.test_certificate_files import topic
from tests.support.certs import apple_like
from tests.support.exporter_process import TOPIC, Exporter, exporter, files_node, inventory
from tests.support.exporter_values import NOW, folder_node, node, seen, served, value
from tests.support.exporter_values import inventory as values_inventory

ENDS = datetime(2027, 1, 4, tzinfo=UTC)
LATER = ENDS + timedelta(days=365)


def certificate(number: int, not_after: datetime = ENDS) -> bytes:
    """A certificate of a topic of its own, PEM."""
    return apple_like().push(topic(number), not_after=not_after).pem


def replaced(path: Path, content: bytes) -> None:
    """A file put in place whole."""
    path.with_name(f"{path.name}.new").write_bytes(content)
    path.with_name(f"{path.name}.new").replace(path)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Path, Exporter]]:
    """An exporter that watches a folder of five good certificates, and a file that the inventory names."""
    folder = tmp_path / "pki"
    folder.mkdir()
    for number in range(5):
        # With room at the end: a serial, and so a file, may be a byte longer or shorter than another.
        (folder / f"{number}.pem").write_bytes(certificate(number) + b"\n" * 9)
    (tmp_path / "push.pem").write_bytes(apple_like().push(TOPIC, not_after=ENDS).pem)
    nodes = [
        files_node("mdm-1", tmp_path / "push.pem"),
        {"name": "pki", "product": "files", "folder": str(folder)},
    ]
    inventory(tmp_path, nodes)
    with exporter(tmp_path, interval="200ms") as running:
        running.wait_for(f'mdm_certificate_file_readable{{file="{folder}/4.pem",node="pki"}}', 1)
        yield folder, running


def good(series: dict[str, float], folder: Path) -> bool:
    """Whether all five are there with their date."""
    return all(
        series.get(
            f'mdm_certificate_file_expiry_timestamp_seconds{{file="{folder}/{n}.pem",node="pki",topic="{topic(n)}"}}'
        )
        == series.get(
            f'mdm_push_certificate_expiry_timestamp_seconds{{node="pki",source="file",topic="{topic(n)}"}}'
        )
        == ENDS.timestamp()
        for n in range(5)
    )


def test_a_certificate_overwritten_with_garbage_keeps_its_date(watched: tuple[Path, Exporter]) -> None:
    """A botched renewal must not resolve the alert: by file and by topic, and both say so."""
    folder, running = watched
    replaced(folder / "2.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    replaced(folder.parent / "push.pem", b"")
    series = running.wait(
        lambda s: (
            s['mdm_certificate_file_readable{file="%s",node="pki"}' % (folder / "2.pem")] == 0
            and s.get('mdm_node_failures{node="mdm-1",reason="node_certificate_unreadable"}') == 1
        )
    )
    assert good(series, folder)
    assert (
        series[f'mdm_push_certificate_expiry_timestamp_seconds{{node="mdm-1",source="file",topic="{TOPIC}"}}']
        == ENDS.timestamp()
    )
    push = folder.parent / "push.pem"
    assert series[f'mdm_certificate_file_failure{{file="{push}",node="mdm-1",reason="file_empty"}}'] == 1
    replaced(folder / "2.pem", certificate(2, LATER))
    dated = f'mdm_certificate_file_expiry_timestamp_seconds{{file="{folder}/2.pem",node="pki",topic="{topic(2)}"}}'
    series = running.wait_for(dated, LATER.timestamp())
    assert (
        f'mdm_certificate_file_failure{{file="{folder}/2.pem",node="pki",reason="certificate_unreadable"}}'
        not in series
    )


def test_a_deleted_file_is_0_and_stays_named(watched: tuple[Path, Exporter]) -> None:
    """In a folder and where the inventory names it; over a restart too."""
    folder, running = watched
    (folder / "1.pem").unlink()
    (folder.parent / "push.pem").unlink()
    gone = f'mdm_certificate_file_readable{{file="{folder}/1.pem",node="pki"}}'
    named = f'mdm_certificate_file_readable{{file="{folder.parent}/push.pem",node="mdm-1"}}'
    series = running.wait(lambda s: s[gone] == 0 and s[named] == 0)
    assert series['mdm_node_failures{node="pki",reason="node_file_missing"}'] == 1
    assert good(series, folder)
    assert running.stop() == 0
    with exporter(folder.parent, interval="200ms") as again:
        first = again.series()
        assert (first[gone], first[named]) == (0, 0)
        assert good(first, folder)
        later = again.wait(lambda s: s['mdm_node_polls_total{node="pki"}'] >= 2)
        assert (later[gone], good(later, folder)) == (0, True)


def test_a_renewed_file_of_the_same_size_and_time_is_seen(watched: tuple[Path, Exporter]) -> None:
    """As configuration management puts it there."""
    folder, running = watched
    path, new = folder / "3.pem", folder / "3.new"
    status = path.stat()
    new.write_bytes(certificate(3, LATER).ljust(status.st_size, b"\n")[: status.st_size])
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.replace(path)
    dated = f'mdm_certificate_file_expiry_timestamp_seconds{{file="{path}",node="pki",topic="{topic(3)}"}}'
    running.wait_for(dated, LATER.timestamp())


def look(*files: SeenFile, minutes: float = 0) -> Observation:
    """A look at a folder that holds just these."""
    certificates = tuple(
        served(Source.FILE, uid=file.topic) for file in files if file.not_after is not None and file.topic
    )
    return seen(*certificates, minutes=int(minutes), up=None, files=files)


FILE = SeenFile("/pki/a.pem", "t", NOW)


def test_a_file_gone_from_a_folder_is_told_of_for_a_week() -> None:
    """Then it is forgotten: names that change every day must not pile up."""
    facts = NodeFacts().after(look(FILE)).after(look(minutes=1))
    assert facts.files == (SeenFile("/pki/a.pem", "t", NOW, Reason.FILE_NOT_FOUND),)
    assert facts.gone == {"/pki/a.pem": NOW + timedelta(minutes=1)}
    assert facts.failures == (Reason.NODE_FILE_MISSING,)
    assert [known.served.topic for known in facts.certificates] == ["t"]
    for day in range(7):
        facts = facts.after(look(minutes=day * 1440 + 2))
        assert facts.files == (SeenFile("/pki/a.pem", "t", NOW, Reason.FILE_NOT_FOUND),)
    assert timedelta(days=7) == FORGET_AFTER
    forgotten = facts.after(look(minutes=7 * 1440 + 1))
    assert (forgotten.files, forgotten.failures, forgotten.certificates) == ((), (), ())


@pytest.mark.parametrize(("days", "counted"), [(8, 1), (-8, 0), (3650, 1), (-20_000, 0)])
def test_a_clock_that_jumps_makes_no_week(days: int, counted: int) -> None:
    """A jump ahead counts for a day of the week in which a file that is gone is told of, one back for nothing."""
    facts = NodeFacts().after(look(FILE)).after(look(minutes=1))
    facts = facts.after(look(minutes=days * 1440)).after(look(minutes=days * 1440 + 1))
    for day in range(7 - counted):
        facts = facts.after(look(minutes=(days + day) * 1440 + 2))
        assert facts.failures == (Reason.NODE_FILE_MISSING,)
    assert facts.after(look(minutes=(days + 7 - counted) * 1440 + 2)).files == ()


def test_long_intervals_forget_a_file_as_well() -> None:
    """Looks 25 hours apart: of each day's pause a day counts, and on the eighth day the file is forgotten."""
    facts = NodeFacts().after(look(FILE)).after(look())
    for number in range(1, 7):
        facts = facts.after(look(minutes=number * 25 * 60))
        assert facts.failures == (Reason.NODE_FILE_MISSING,)
    assert facts.after(look(minutes=7 * 25 * 60)).files == ()


def test_a_file_that_comes_back_is_as_good_as_new() -> None:
    """Put away and put back."""
    facts = NodeFacts().after(look(FILE)).after(look()).after(look(FILE))
    assert (facts.files, facts.failures) == ((FILE,), ())


def test_a_folder_that_was_emptied_is_never_well_again(tmp_path: Path) -> None:
    """Not even when its files are forgotten, nor after a restart that knows of none: the node is silent till one is there."""
    server = Files(folder_node(str(tmp_path)))
    (tmp_path / "a.pem").write_bytes(certificate(1))
    full = NodeFacts().after(server.observe(NOW))
    (tmp_path / "a.pem").unlink()
    emptied = full.after(server.observe(NOW + timedelta(days=1)))
    for day in range(2, 30):
        emptied = emptied.after(server.observe(NOW + timedelta(days=day)))
    month = NOW + timedelta(days=30)
    for before in (emptied, NodeFacts()):
        facts = before.after(server.observe(month))
        assert (facts.files, facts.up, facts.failures) == ((), False, (Reason.FOLDER_EMPTY,))
        assert facts.last_success == before.last_success != month
    (tmp_path / "a.pem").write_bytes(certificate(1))
    assert emptied.after(server.observe(month)).up is True


def unlisted() -> Observation:
    """A look at a folder that nobody may look into."""
    return seen(up=None, files=None, failures=(Failure(Reason.FOLDER_UNREADABLE),))


def test_files_of_a_folder_that_cannot_be_listed_are_not_readable() -> None:
    """They are not known to be gone and keep their dates, and none counts as read; the next look heals that."""
    other = SeenFile("/pki/b.pem", "u", NOW)
    facts = NodeFacts().after(look(FILE, other)).after(look(FILE)).after(unlisted())
    hidden = (replace(FILE, reason=Reason.FOLDER_UNREADABLE), replace(other, reason=Reason.FILE_NOT_FOUND))
    assert facts.files == hidden
    assert facts.after(unlisted()).files is facts.files
    assert facts.after(look(FILE, other)).files == (FILE, other)


def test_a_look_that_tells_nothing_of_files_leaves_them() -> None:
    """As that of an API does."""
    facts = NodeFacts().after(look(FILE))
    assert facts.after(seen(files=None)).files is facts.files


def test_a_folder_closed_to_us_shows_in_each_of_its_files(watched: tuple[Path, Exporter]) -> None:
    """As root everybody is let in, so it is taken away here; the dates stay, readable is 0, the reason is told."""
    folder, running = watched
    away = folder.rename(folder.with_name("away"))
    series = running.wait_for(f'mdm_certificate_file_readable{{file="{folder}/1.pem",node="pki"}}', 0)
    assert good(series, folder)
    for number in range(5):
        labels = f'file="{folder}/{number}.pem",node="pki"'
        assert series[f"mdm_certificate_file_readable{{{labels}}}"] == 0
        assert series[f'mdm_certificate_file_failure{{{labels},reason="folder_unreadable"}}'] == 1
    away.rename(folder)
    running.wait_for(f'mdm_certificate_file_readable{{file="{folder}/1.pem",node="pki"}}', 1)


def test_facts_that_a_look_did_not_change_are_the_very_same() -> None:
    """With ten thousand files that is what a look may cost."""
    files, certificates = (FILE,), (served(),)
    facts = NodeFacts().after(seen(*certificates, files=files))
    again = facts.after(seen(*certificates, minutes=1, files=files))
    assert (again.files is facts.files, again.told is facts.told) == (True, True)
    assert again.told_at != facts.told_at
    changed = again.after(seen(*certificates, files=(FILE, SeenFile("/pki/b.pem", "u", NOW))))
    assert len(changed.files) == 2


def test_files_are_shown_with_their_node() -> None:
    """Date, readable or not, and why."""
    facts = NodeFacts().after(look(FILE, SeenFile("/pki/b.pem", reason=Reason.FILE_EMPTY)))
    known = values_inventory(node("pki", product=Product.FILES))
    shown = Snapshot().with_node("pki", facts)
    labels = {"node": "pki", "file": "/pki/a.pem"}
    assert (
        value(known, shown, "mdm_certificate_file_expiry_timestamp_seconds", topic="t", **labels)
        == NOW.timestamp()
    )
    assert value(known, shown, "mdm_certificate_file_readable", **labels) == 1
    assert value(known, shown, "mdm_certificate_file_failure", **labels) is None
    assert value(known, shown, "mdm_certificate_file_readable", file="/pki/b.pem") == 0
    assert value(known, shown, "mdm_certificate_file_failure", file="/pki/b.pem", reason="file_empty") == 1
