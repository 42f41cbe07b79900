"""The files `renewal request` leaves: whole or not at all, nothing else overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from renewctl.cli.request_files import RequestFiles
from renewctl.errors import Refused
from renewctl.reasons import Reason
from tests.support.cli import FULL_DISK, HEED_MODES, held, renewctl
from tests.support.desk import OLD, Desk


@pytest.fixture
def opened(desk: Desk) -> Desk:
    """A renewal has begun."""
    desk.told("renewal", "open")
    return desk


def test_out_names_the_portals_file_and_the_csr_goes_beside_it(opened: Desk) -> None:
    """Public files, readable by all: they go to a vendor, or to Apple."""
    (opened.folder / "out").mkdir()
    told = opened.told("renewal", "request", "--out", "out/for-apple.b64", code=3)
    assert told["files"] == {"csr_file": "out/for-apple.csr", "request_file": "out/for-apple.b64"}
    modes = {path.name: path.stat().st_mode & 0o777 for path in (opened.folder / "out").iterdir()}
    assert modes == {"for-apple.b64": 0o644, "for-apple.csr": 0o644}


def test_the_csr_alone_may_be_named_by_its_own_name(opened: Desk) -> None:
    """`--csr-only --out x.csr`: just that file; where the portal's file is written too, `.csr` is refused."""
    assert opened.refusal("renewal", "request", "--out", "x.csr", code=2) == "option_invalid"
    told = opened.told("renewal", "request", "--csr-only", "--out", "x.csr", code=3)
    assert told["files"] == {"csr_file": "x.csr", "request_file": None}
    assert (opened.folder / "x.csr").read_bytes().startswith(b"-----BEGIN CERTIFICATE REQUEST-----")
    assert not (opened.folder / "x.plist").exists()


def test_a_folder_that_is_missing(opened: Desk) -> None:
    """Named; no key is made for a file that cannot be written."""
    error = opened.told("renewal", "request", "--out", "nowhere/x.plist", code=1)["error"]
    assert (error["reason"], error["values"]["path"]) == ("write_failed", "nowhere/x.plist")
    assert opened.kinds() == ["opened"]


@pytest.mark.parametrize("name", ["tokyo-1.plist", "tokyo-1.csr"])
def test_a_file_in_the_way_is_not_overwritten(opened: Desk, name: str) -> None:
    """A certificate of that name stays; what this very renewal wrote is replaced."""
    opened.file(name, OLD.pem)
    error = opened.told("renewal", "request", code=1)["error"]
    assert (error["reason"], error["values"]["path"]) == ("file_in_the_way", name)
    assert (opened.folder / name).read_bytes() == OLD.pem
    (opened.folder / name).unlink()
    opened.told("renewal", "request", code=3)
    opened.told("renewal", "request", "--new-key", code=3)


@pytest.mark.parametrize("suffix", [".plist", ".csr"])
def test_somebody_elses_request_is_not_overwritten(opened: Desk, suffix: str) -> None:
    """A CSR or a request of another renewal, or of nobody here, looks like ours and is not."""
    made = opened.told("renewal", "request", "--out", "first.plist", code=3)["files"]
    kept = {name: (opened.folder / name).read_bytes() for name in made.values()}
    opened.told("renewal", "abort")
    opened.told("renewal", "open")
    name = f"first{suffix}"
    (opened.folder / f"first{'.csr' if suffix == '.plist' else '.plist'}").unlink()
    error = opened.told("renewal", "request", "--out", "first.plist", code=1)["error"]
    assert (error["reason"], error["values"]["path"]) == ("file_in_the_way", name)
    assert (opened.folder / name).read_bytes() == kept[name]
    assert opened.kinds("tokyo-2") == ["opened"]


def test_a_file_of_ours_that_was_edited_is_not_overwritten(opened: Desk) -> None:
    """What this renewal wrote is replaced byte for byte only; somebody's notes in it stay."""
    opened.told("renewal", "request", code=3)
    path = opened.folder / "tokyo-1.csr"
    path.write_bytes(path.read_bytes() + b"# sent on Monday\n")
    assert opened.refusal("renewal", "request", "--new-key", code=1) == "file_in_the_way"
    assert path.read_bytes().endswith(b"Monday\n")
    path.unlink()
    opened.told("renewal", "request", "--new-key", code=3)
    opened.told("renewal", "request", code=3)


@pytest.mark.parametrize("name", ["tokyo-1.plist", "tokyo-1.csr"])
@pytest.mark.parametrize("target", ["nowhere", "ours", "/dev/null"])
def test_a_symbolic_link_is_neither_followed_nor_replaced(opened: Desk, name: str, target: str) -> None:
    """Dangling, to a file of ours, to a device: refused as a link, and it stays one."""
    link = opened.folder / name
    if target == "ours":
        opened.told("renewal", "request", code=3)
        link.rename(opened.folder / "ours")
    link.symlink_to(target)
    before = held(opened.folder)
    done = opened.run("renewal", "request")
    assert done.code == 1
    assert f"{name} is there already" in done.err
    assert "a symbolic link" in done.err
    assert str(link.readlink()) == target
    assert {path: what for path, what in held(opened.folder).items() if "state" not in path} == {
        path: what for path, what in before.items() if "state" not in path
    }


def test_a_folder_in_the_way(opened: Desk) -> None:
    """`--out` names a folder: refused, nothing in it."""
    (opened.folder / "out").mkdir()
    assert opened.refusal("renewal", "request", "--out", "out", code=1) == "file_in_the_way"
    assert list((opened.folder / "out").iterdir()) == []


def test_a_read_only_folder(opened: Desk) -> None:
    """As an unprivileged account: told, nothing half-written, no key made."""
    folder = opened.folder / "closed"
    folder.mkdir(mode=0o555)
    done = renewctl("renewal", "request", "--out", "closed/x.plist", cwd=opened.folder, under=HEED_MODES)
    assert done.code == 1
    assert "closed/x.plist could not be written" in done.err
    assert list(folder.iterdir()) == []
    assert opened.kinds() == ["opened"]


def test_a_full_disk(opened: Desk) -> None:
    """Nothing can be written anywhere: one message, exit 1, folders as before."""
    before = held(opened.folder)
    done = renewctl("renewal", "request", cwd=opened.folder, under=FULL_DISK)
    assert done.code == 1
    assert "Traceback" not in done.err
    after = held(opened.folder)
    assert {name for name in after if name.endswith((".plist", ".csr"))} == set()
    assert set(before) <= set(after)
    assert opened.told("renewal", "request", code=3)["renewal"]["phase"] == "requested"


def test_a_disk_that_fills_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the file nor the one beside it stays; the earlier file is whole."""
    files = RequestFiles.at(tmp_path / "x.plist")
    files.write(b"csr", b"first")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Refused) as caught:
        files.write(b"csr", b"second")
    assert caught.value.reason is Reason.WRITE_FAILED
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "x.plist": b"first",
        "x.csr": b"csr",
    }
