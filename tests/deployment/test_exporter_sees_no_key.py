"""What the unit lets the exporter see: certificates and their dates, and no key, whatever its mode.

A real systemd sets the unit's namespaces up, the NanoMDM is a real one, and who looks is the exporter's own account.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from renewctl.sandbox.authority import Issued
from tests.support.deployment import Site
from tests.support.exporter_process import TOPIC, inventory
from tests.support.nanomdm import NanoMDM, nanomdm
from tests.support.sandbox_parts import Pushes, eventually, in_days
from tests.support.scripted_nanomdm import new_store

pytestmark = pytest.mark.slow

EXPIRY = "mdm_push_certificate_expiry_timestamp_seconds"
OFTEN = ["--poll.interval=500ms"]
STORE = "sqlite:////srv/store/store.db"


def test_a_world_readable_key_of_nanomdm_is_not_there(site: Site, pushes: Pushes) -> None:
    """NanoMDM's file storage leaves the key 0644: the account could read it, the exporter cannot; it tells the date.

    A renewal through the server's API is told as well, and the new key is not there either.
    """
    old, new = (pushes.apple.push_pair(TOPIC, ends=in_days(days)) for days in (42, 365))
    with nanomdm(site.folder / "mdm" / "nano", pushes) as server:
        _put(server, old)
        certificate, key = (_stored(site, f"*.{kind}") for kind in ("pem", "key"))
        inventory(
            site.folder, [server.inventory_entry("n1", devices={"folder": "/srv/mdm/nano/storage"})], STORE
        )
        for place in ("/etc/mdm", "/var/lib/mdm", "/run/mdm", "/home/mdm", "/mdm"):
            site.host.path(place).mkdir()
            site.host.path(f"{place}/push.key").write_bytes(old.key_pem)
        site.play(exporter_certificates=[certificate], exporter_flags=OFTEN)
        assert "PRIVATE KEY" in site.as_exporter("cat", key, shown_only=False)
        _sees_no_key(site, key)
        assert site.series(EXPIRY) == {_ends(old)}
        _put(server, new)
        eventually(lambda: site.series(EXPIRY) == {_ends(new)})
        _sees_no_key(site, key)
        assert "PRIVATE KEY" in site.as_exporter("cat", key, shown_only=False)


def _by_rename(folder: Path, pair: Issued) -> None:
    """As careful programs replace a file."""
    for name, content in (("push.pem", pair.certificate_pem), ("push.key", pair.key_pem)):
        (folder / f"{name}.new").write_bytes(content)
        (folder / f"{name}.new").replace(folder / name)


def _by_roll_out(folder: Path, pair: Issued) -> None:
    """As the collection leaves it: links into a release, and one link of those that is switched."""
    home = folder / ".renewctl" / "push.pem"
    release = home / f"{pair.certificate.serial_number:x}"
    release.mkdir(parents=True)
    (release / "cert.pem").write_bytes(pair.certificate_pem)
    (release / "key.pem").write_bytes(pair.key_pem)
    (home / "current.new").symlink_to(release.name)
    (home / "current.new").replace(home / "current")
    for name, leaf in (("push.pem", "cert.pem"), ("push.key", "key.pem")):
        if not os.path.lexists(folder / name):
            (folder / name).symlink_to(f".renewctl/push.pem/current/{leaf}")


@pytest.mark.parametrize("replace", [_by_rename, _by_roll_out])
def test_a_certificate_that_is_replaced_is_shown(
    site: Site, pushes: Pushes, replace: Callable[[Path, Issued], None]
) -> None:
    """A file mount keeps the old file after a rename: a timer starts the exporter again, and the date is new."""
    old, new, newest = (pushes.apple.push_pair(TOPIC, ends=in_days(days)) for days in (42, 365, 400))
    replace(site.folder / "mdm", old)
    site.play(exporter_certificates=["/srv/mdm/push.pem"], exporter_flags=OFTEN)
    eventually(lambda: site.series(EXPIRY) == {_ends(old)})
    replace(site.folder / "mdm", new)
    eventually(lambda: site.series(EXPIRY) == {_ends(new)}, 120)
    _sees_no_key(site, "/srv/mdm/push.key")
    assert "PRIVATE KEY" in site.as_exporter("cat", "/srv/mdm/push.key", shown_only=False)
    site.host.run("systemctl", "stop", "renewctl-exporter-shown.timer")  # without it the old date stays
    pid = site.property("MainPID")
    site.host.run("systemctl", "start", "renewctl-exporter-shown.service")
    assert site.property("MainPID") == pid  # nothing differed
    replace(site.folder / "mdm", newest)
    with pytest.raises(AssertionError, match="it never happened"):
        eventually(lambda: site.series(EXPIRY) == {_ends(newest)}, 4)
    site.host.run("systemctl", "start", "renewctl-exporter-shown.service")
    eventually(lambda: site.series(EXPIRY) == {_ends(newest)})


def test_a_certificate_that_comes_later_is_shown(site: Site, pushes: Pushes) -> None:
    """The unit starts without the file; once it is there, its date is told."""
    site.play(exporter_certificates=["/srv/mdm/push.pem"], exporter_flags=OFTEN)
    assert site.series(EXPIRY) == set()
    pair = pushes.apple.push_pair(TOPIC, ends=in_days(42))
    _by_rename(site.folder / "mdm", pair)
    eventually(lambda: site.series(EXPIRY) == {_ends(pair)}, 120)


def test_a_password_comes_from_systemd_and_a_folder_is_shown_by_name(site: Site, pushes: Pushes) -> None:
    """The file is root's alone, the exporter gets its content as a credential; of all folders it sees the one named."""
    pair = pushes.apple.push_pair(TOPIC, ends=in_days(42))
    database = site.folder / "mdm" / "database"
    for folder in (database, site.folder / "mdm" / "other"):
        folder.mkdir()
        (folder / "push.key").write_text("PRIVATE KEY")
    new_store(database / "mdm.sqlite", TOPIC, pair.certificate_pem)
    secret = site.host.path("/etc/main-database.url")
    secret.touch(mode=0o600)
    secret.write_text("sqlite:////srv/mdm/database/mdm.sqlite")
    node = {"name": "n1", "product": "nanomdm", "url": "http://127.0.0.1:9"}
    inventory(site.folder, [{**node, "devices": {"sql": {"credential": "main-database"}}}], STORE)
    site.play(
        exporter_credentials={"main-database": "/etc/main-database.url"},
        exporter_folders=["/srv/mdm/database"],
        exporter_flags=OFTEN,
    )
    eventually(lambda: site.series(EXPIRY) == {_ends(pair)})
    assert "No such file" in site.as_exporter("cat", "/etc/main-database.url")
    assert "No such file" in site.as_exporter("ls", "/srv/mdm/other")
    assert "Read-only file system" in site.as_exporter("touch", "/srv/mdm/database/new")


def test_it_writes_nowhere_but_in_its_state(site: Site) -> None:
    """Its state folder takes a file; its programs, /etc, /srv, the root, and shared memory do not."""
    assert site.as_exporter("touch", "/var/lib/renewctl-exporter/new") == ""
    for place in ("/opt/renewctl-exporter/new", "/etc/new", "/new", "/run/new", "/usr/new", "/var/lib/new"):
        assert "Read-only file system" in site.as_exporter("touch", place)
    eventually(site.host.path("/var/lib/renewctl-exporter/snapshot.json").exists)


def _put(server: NanoMDM, pair: Issued) -> None:
    body = pair.certificate_pem + pair.key_pem
    answer = httpx.put(
        f"{server.url}/v1/pushcert", content=body, auth=("nanomdm", server.api_key), trust_env=False
    )
    answer.raise_for_status()


def _stored(site: Site, pattern: str) -> str:
    """The one file that NanoMDM wrote, as the host names it; everybody may read it."""
    [path] = (site.folder / "mdm" / "nano" / "storage" / "push_cert").rglob(pattern)
    assert path.stat().st_mode & 0o004
    return f"/srv/{path.relative_to(site.folder)}"


def _ends(pair: Issued) -> float:
    return pair.certificate.not_valid_after_utc.timestamp()


def _sees_no_key(site: Site, key: str) -> None:
    """Not by its name, not through another process's root, and nowhere else below the root."""
    assert "No such file" in site.as_exporter("cat", key)
    assert site.as_exporter("cat", f"/proc/1/root{key}").startswith("cat: ")
    places = site.as_exporter(
        "sh", "-c", "ls -d /[a-z]* | grep -vxE '/(proc|sys|dev|usr|bin|lib|lib64|sbin|opt)'"
    )
    found = site.as_exporter("grep", "-rls", "PRIVATE KEY", *places.split())
    assert found == ""
