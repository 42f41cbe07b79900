"""A store in a file between accounts, and on full disks: real modes, real file systems."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from renewctl.store.write import Store
from tests.support.crashed import crashed_writer
from tests.support.unprivileged import NOBODY, as_nobody, python

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`

APPEND = """
import sys
from renewctl.errors import RenewctlError
from renewctl.renewal.events import Kind
from renewctl.store.write import Stamp, Store
path, size = sys.argv[1], int(sys.argv[2])
try:
    with Store(f"sqlite:///{path}") as store:
        seen = len(store.renewals().get("acme-1", []))
        body, stamp = {"n": "x" * size}, Stamp("a", "h", "0", "d")
        store.append("acme-1", Kind.OPENED, body, stamp=stamp, expected_seq=seen + 1)
        print("written")
except RenewctlError as error:
    print(error.reason.value)
"""

READ = """
import sys
from renewctl.errors import RenewctlError
from renewctl.store.read import StoreReader
try:
    print(len(StoreReader(f"sqlite:///{sys.argv[1]}").renewals()))
except RenewctlError as error:
    print(error.reason.value)
"""


def test_an_exporter_in_the_group_reads_and_cannot_write(open_folder: Path) -> None:
    """Another account with the folder's group reads; it gets `store_read_only` for trying to write."""
    path = open_folder / "store" / "x.db"
    Store.create(f"sqlite:///{path}")
    assert python(APPEND, path, 10) == "written"
    if as_nobody():
        for item in (path.parent, path):
            os.chown(item, 0, NOBODY)
    else:
        path.chmod(0o440)
        path.parent.chmod(0o550)
    assert python(READ, path, prefix=as_nobody()) == "1"
    assert python(APPEND, path, 10, prefix=as_nobody()) == "store_read_only"
    assert python(READ, path) == "1"
    path.parent.chmod(0o750)


def test_a_hot_journal_that_may_not_be_read_is_told_too(open_folder: Path) -> None:
    """The exporter's account beside a killed owner: `store_needs_recovery`, not `denied`."""
    path = open_folder / "store" / "x.db"
    Store.create(f"sqlite:///{path}")
    crashed_writer(path)
    journal = path.with_name("x.db-journal")
    if as_nobody():
        for item in (path.parent, path):
            os.chown(item, 0, NOBODY)
    journal.chmod(0o600 if as_nobody() else 0)
    assert python(READ, path, prefix=as_nobody()) == "store_needs_recovery"


def test_a_stranger_is_denied(open_folder: Path) -> None:
    """Neither in the folder nor at the file: `store_denied`."""
    path = open_folder / "store" / "x.db"
    Store.create(f"sqlite:///{path}")
    if not as_nobody():
        path.chmod(0)
    assert python(READ, path, prefix=as_nobody()) == "store_denied"
    path.parent.chmod(0o755)
    path.chmod(0o600 if as_nobody() else 0)
    assert python(READ, path, prefix=as_nobody()) == "store_denied"


def test_a_store_is_not_made_where_one_may_not_write(open_folder: Path) -> None:
    """A read-only folder: one reason, and nothing left in it."""
    folder = open_folder / "closed"
    folder.mkdir(mode=0o555)
    code = (
        "import sys; from renewctl.errors import *; from renewctl.store.write import Store\n"
        "try: Store.create(sys.argv[1])\nexcept RenewctlError as error: print(error.reason.value)"
    )
    assert python(code, f"sqlite:///{folder}/x.db", prefix=as_nobody()) == "store_denied"
    assert python(code, f"sqlite:///{folder}/deeper/x.db", prefix=as_nobody()) == "store_denied"
    assert list(folder.iterdir()) == []


_IN_TINY = """
import sys
from renewctl.errors import RenewctlError
from renewctl.renewal.events import Kind
from renewctl.store.write import Stamp, Store
from renewctl.store.read import StoreReader
path, written = sys.argv[-1] + "/x.db", 0
with Store("sqlite:///" + path) as store:
    try:
        for seq in range(1, 200):
            stamp = Stamp("a", "h", "0", "d")
            store.append("acme-1", Kind.OPENED, {"n": "x" * 2000}, stamp=stamp, expected_seq=seq)
            written = seq
    except RenewctlError as error:
        print(error.reason.value)
    print(len(store.renewals()["acme-1"]) - written)
"""


def _in_tiny_filesystem(folder: Path, code: str, size: str) -> list[str]:
    """Run code with a small tmpfs mounted at `folder`, in a mount namespace that ends with it."""
    folder.mkdir()
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    mount = f'mount -t tmpfs -o size={size} none "$1"; shift; exec "$@"'
    return python(code, folder, prefix=[*unshare, "sh", "-c", mount, "sh", str(folder)]).split()


def test_a_full_disk_is_named_and_every_event_told_written_is_there(tmp_path: Path) -> None:
    """Appending until the disk is full: `disk_full`; what was said to be written is there, and no more."""
    code = _IN_TINY.replace("with Store", 'Store.create("sqlite:///" + path)\nwith Store')
    assert _in_tiny_filesystem(tmp_path / "tiny", code, "200k") == ["disk_full", "0"]


def test_a_store_that_does_not_fit_is_not_made_by_half(tmp_path: Path) -> None:
    """`create` on a full disk leaves neither a store nor a temporary file."""
    code = (
        "import os, sys; from renewctl.errors import *; from renewctl.store.write import Store\n"
        "try: Store.create(f'sqlite:///{sys.argv[1]}/x.db')\nexcept RenewctlError as e: print(e.reason.value)\n"
        "print(len(os.listdir(sys.argv[1])))"
    )
    assert _in_tiny_filesystem(tmp_path / "tiny", code, "16k") == ["disk_full", "0"]


def test_a_write_error_is_told_and_leaves_the_store_as_it_was(sqlite_path: Path) -> None:
    """A file size limit makes SQLite's writes fail: one reason, nothing changed."""
    assert python(APPEND, sqlite_path, 10) == "written"
    before = sqlite_path.read_bytes()
    limit = ["prlimit", f"--fsize={len(before)}"]
    assert python(APPEND, sqlite_path, 200_000, prefix=limit) == "store_failed"
    assert sqlite_path.read_bytes() == before
    assert python(APPEND, sqlite_path, 10) == "written"
