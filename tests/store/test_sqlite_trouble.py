"""What goes wrong with a store in a file: one clear reason each, nothing half-written."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from renewctl.database import sqlite_file
from renewctl.database.sql_faults import Trouble
from renewctl.database.sql_url import resolve
from renewctl.database.sqlite_read import looked_at
from renewctl.errors import NodeFault, RenewctlError, Unusable
from renewctl.reasons import Reason
from renewctl.renewal.events import Kind
from renewctl.store.read import StoreReader
from renewctl.store.write import Stamp, Store
from tests.support.crashed import crashed_writer
from tests.support.unprivileged import python

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`

OPENERS: list[Callable[[str], Any]] = [Store, lambda url: StoreReader(url).renewals()]


def _reason(open_it: Callable[[str], Any], url: str) -> Reason:
    with pytest.raises(RenewctlError) as caught:
        open_it(url)
    return caught.value.reason


def test_a_new_store_is_closed_to_others_and_leaves_nothing_beside_it(sqlite_path: Path) -> None:
    """Folder 0750, file 0640 whatever the umask; no temporary name, journal or WAL stays."""
    assert stat.S_IMODE(sqlite_path.parent.stat().st_mode) == 0o750
    assert stat.S_IMODE(sqlite_path.stat().st_mode) == 0o640
    assert [entry.name for entry in sqlite_path.parent.iterdir()] == [sqlite_path.name]
    assert sqlite_path.stat().st_nlink == 1


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    """An operator's umask of 0 opens nothing."""
    code = "import os, sys; os.umask(0); from renewctl.store.write import Store; Store.create(sys.argv[1])"
    python(code, f"sqlite:///{tmp_path}/deep/er/x.db")
    assert stat.S_IMODE((tmp_path / "deep/er").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "deep/er/x.db").stat().st_mode) == 0o640


def test_a_writer_syncs_as_far_as_sqlite_can_and_never_uses_wal(sqlite_path: Path) -> None:
    """journal_mode=DELETE, synchronous=EXTRA (3), five seconds for another's lock."""
    connection = sqlite_file.connect(sqlite_path, read_only=False)
    asked = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "busy_timeout")
    }
    connection.close()
    assert asked == {"journal_mode": "delete", "synchronous": 3, "busy_timeout": 5000}


def test_a_reader_cannot_write(sqlite_path: Path) -> None:
    """The reader's connection refuses, whoever runs it."""
    connection = sqlite_file.connect(sqlite_path, read_only=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM meta")
    connection.close()


@pytest.mark.parametrize("open_it", OPENERS)
def test_a_missing_store_is_said_to_be_missing_and_not_made(
    tmp_path: Path, open_it: Callable[[str], Any]
) -> None:
    """No file and no folder appear by looking."""
    assert _reason(open_it, f"sqlite:///{tmp_path}/none/x.db") is Reason.STORE_MISSING
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"hello\n" * 400, b"SQLite format 3\0" + b"\1" * 900])
@pytest.mark.parametrize("open_it", [*OPENERS, Store.create])
def test_a_file_that_is_no_store_is_left_as_it_is(
    tmp_path: Path, open_it: Callable[[str], Any], content: bytes
) -> None:
    """Empty, text, or a broken header: refused, byte for byte untouched."""
    path = tmp_path / "x.db"
    path.write_bytes(content)
    assert _reason(open_it, f"sqlite:///{path}") in {Reason.STORE_NOT_A_STORE, Reason.STORE_DAMAGED}
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.db"]


@pytest.mark.parametrize("open_it", OPENERS)
def test_another_programs_database_is_not_a_store(tmp_path: Path, open_it: Callable[[str], Any]) -> None:
    """A good SQLite file with other tables is named for what it is."""
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE contacts (name TEXT)")
    connection.close()
    assert _reason(open_it, f"sqlite:///{tmp_path}/x.db") is Reason.STORE_NOT_A_STORE


@pytest.mark.parametrize("open_it", OPENERS)
def test_a_folder_or_a_path_through_a_file_is_not_a_store(
    tmp_path: Path, open_it: Callable[[str], Any]
) -> None:
    """A slip in the path is told, not traced back."""
    (tmp_path / "file").write_text("")
    assert _reason(open_it, f"sqlite:///{tmp_path}") is Reason.STORE_NOT_A_STORE
    assert _reason(open_it, f"sqlite:///{tmp_path}/file/x.db") is Reason.STORE_MISSING


def test_another_writer_who_stays_is_waited_for_and_then_named(
    sqlite_path: Path, stamp: Stamp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock held longer than the busy timeout: `store_busy`, and nothing written."""
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.2)
    with Store(f"sqlite:///{sqlite_path}") as store:
        other = sqlite3.connect(sqlite_path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NodeFault) as caught:
            store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1)
        assert caught.value.reason is Reason.STORE_BUSY
        assert store.renewals() == {}
        other.execute("ROLLBACK")
        other.close()


def test_a_reader_who_stays_makes_a_commit_fail_clearly(
    sqlite_path: Path, stamp: Stamp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit itself cannot be done: the writer looks, finds nothing written, and says busy."""
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.2)
    with Store(f"sqlite:///{sqlite_path}") as store:
        other = sqlite3.connect(sqlite_path, isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT * FROM meta").fetchall()
        with pytest.raises(NodeFault) as caught:
            store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1)
        assert caught.value.reason is Reason.STORE_BUSY
        other.execute("COMMIT")
        other.close()
        assert store.renewals() == {}
        store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1)


def test_a_killed_writers_journal_is_told_by_readers_and_rolled_back_by_the_owner(
    sqlite_path: Path, stamp: Stamp
) -> None:
    """The exporter says `store_needs_recovery` and changes nothing; the next writer heals the store."""
    url = f"sqlite:///{sqlite_path}"
    with Store(url) as store:
        written = store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1)
    crashed_writer(sqlite_path)
    before = sqlite_path.read_bytes()
    assert _reason(lambda url: StoreReader(url).renewals(), url) is Reason.STORE_NEEDS_RECOVERY
    assert sqlite_path.read_bytes() == before
    with Store(url) as store:
        assert store.renewals() == {"acme-1": [written]}
    assert not sqlite_path.with_name(f"{sqlite_path.name}-journal").exists()


def test_the_owners_status_heals_the_store_by_looking(sqlite_path: Path, stamp: Stamp) -> None:
    """A reader asked to recover does so where its account may write, and then reads."""
    url = f"sqlite:///{sqlite_path}"
    with Store(url) as store:
        written = store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1)
    crashed_writer(sqlite_path)
    with StoreReader(url, recover=True) as reader:
        assert reader.renewals() == {"acme-1": [written]}
        assert reader.open_run() is None


MOUNTS = """\
22 1 0:21 / / rw - ext4 /dev/vda rw
23 22 0:22 / /home rw,relatime shared:1 master:2 - nfs4 server:/home rw
24 23 0:23 / /home/me/my\\040disk rw - xfs /dev/vdb rw
25 22 0:24 / /mnt/share rw - fuse.sshfs me@there:/ rw
26 22 0:25 / /over rw - ext4 /dev/vdc rw
27 22 0:26 / /over rw - cifs //server/over rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/x.db", "ext4"), ("/home/me/x.db", "nfs4"), ("/home/me/my disk/x.db", "xfs"),
        ("/mnt/share/x.db", "fuse.sshfs"), ("/over/x.db", "cifs"), ("/homes/x.db", "ext4"),
    ],
)  # fmt: skip
def test_a_store_on_a_network_file_system_is_refused(tmp_path: Path, path: str, kind: str) -> None:
    """The innermost mount decides; locks are lost on NFS, SMB and the like."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert sqlite_file.filesystem(Path(path), mounts) == kind
    if kind in {"ext4", "xfs"}:
        sqlite_file.require_local(Path(path), mounts)
        return
    with pytest.raises(Unusable) as caught:
        sqlite_file.require_local(Path(path), mounts)
    assert caught.value.reason is Reason.STORE_ON_NETWORK
    assert caught.value.values == {"path": path, "got": kind}


def test_without_a_list_of_mounts_nothing_is_refused(tmp_path: Path) -> None:
    """A container that hides /proc must not make the tool useless."""
    sqlite_file.require_local(tmp_path, tmp_path / "none")
    assert sqlite_file.is_full(tmp_path / "none" / "x.db") is False


def test_a_path_with_odd_characters_is_opened(tmp_path: Path) -> None:
    """Blanks, percent signs, question marks and Japanese in a path are a path."""
    folder = tmp_path / "更新 50%?#"
    folder.mkdir()
    url = resolve("sqlite:///a%20b.db", folder)
    Store.create(url)
    assert [entry.name for entry in folder.iterdir()] == ["a b.db"]
    with Store(url) as store:
        assert store.renewals() == {}


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, Reason.DISK_FULL),
        (errno.EDQUOT, Reason.DISK_FULL),
        (errno.EROFS, Reason.STORE_READ_ONLY),
        (errno.EACCES, Reason.STORE_DENIED),
        (errno.EIO, Reason.STORE_DENIED),
    ],
)
def test_the_systems_refusals_have_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: Reason
) -> None:
    """Making a store and looking for one, with each error injected: one reason, nothing left."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    url = f"sqlite:///{tmp_path}/x.db"
    with monkeypatch.context() as broken:
        broken.setattr(os, "link", fail)
        assert _reason(Store.create, url) is reason
    assert list(tmp_path.iterdir()) == []
    Store.create(url)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "is_file", fail)
        found = _reason(Store, url)
    assert found is reason


def test_what_access_forbids_is_told_before_sqlite_is_asked(
    sqlite_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No right to read: denied; no right to write beside the file: read-only, for writers alone."""
    url = f"sqlite:///{sqlite_path}"
    with Store(url) as store:
        with monkeypatch.context() as closed:
            closed.setattr(os, "access", lambda _path, mode: mode == os.R_OK)
            assert store.renewals() == {}
            assert _reason(lambda _url: store.put_document(b"x"), url) is Reason.STORE_READ_ONLY
        monkeypatch.setattr(os, "access", lambda _path, _mode: False)
        assert _reason(lambda _url: store.renewals(), url) is Reason.STORE_DENIED


def test_an_input_output_error_on_a_full_disk_is_a_full_disk(
    sqlite_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite calls some full disks an I/O error; and an unreadable journal a file it cannot open."""
    assert looked_at(Trouble.FAILED, sqlite_path) is Trouble.FAILED
    monkeypatch.setattr(sqlite_file, "is_full", lambda _path: True)
    assert looked_at(Trouble.FAILED, sqlite_path) is Trouble.FULL
    assert looked_at(Trouble.DENIED, sqlite_path) is Trouble.DENIED
    sqlite_path.with_name(f"{sqlite_path.name}-journal").write_bytes(b"")
    assert looked_at(Trouble.DENIED, sqlite_path) is Trouble.NEEDS_RECOVERY


def test_an_account_without_a_name_writes_by_its_number(
    sqlite_path: Path, stamp: Stamp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers run as numbers nobody has named."""
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_123_456)
    with Store(f"sqlite:///{sqlite_path}") as store:
        event = store.append("acme-1", Kind.OPENED, {}, stamp=stamp, expected_seq=1)
    assert event.authenticated == "4000123456"


def test_what_is_mounted_over_a_folder_later_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same path on another device is looked at anew, though each statement asks and answers are kept."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 1 8:1 / {tmp_path} rw - ext4 /dev/sda1 rw\n", encoding="utf-8")
    sqlite_file.require_local(tmp_path, mounts)
    mounts.write_text(f"1 1 0:50 / {tmp_path} rw - nfs4 server:/export rw\n", encoding="utf-8")
    monkeypatch.setattr(sqlite_file, "_device", lambda _: -1)
    with pytest.raises(Unusable) as caught:
        sqlite_file.require_local(tmp_path, mounts)
    assert caught.value.reason is Reason.STORE_ON_NETWORK
