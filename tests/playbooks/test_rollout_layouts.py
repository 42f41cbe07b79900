"""Real playbook runs over SSH: every layout there and back, its looks and labels, reloads in turn, old releases."""

from __future__ import annotations

import base64
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509 import load_pem_x509_certificate

from renewctl.reasons import Reason
from tests.support.certs import pkcs1
from tests.support.name_changes import name_changes
from tests.support.playbook_world import TOPIC, PairFiles, World
from tests.support.sandbox_parts import eventually, in_days
from tests.support.sshd import Sshd, sshd

pytestmark = pytest.mark.slow
PASSWORD = "the consumer's own"
LABEL = "security.selinux"
Look = tuple[int, int, int, bytes]
"""Mode, owner, group, SELinux label."""


class Consumers:
    """One node where three consumers read the pair, each in its own way and with its own reload; a fourth runs last."""

    def __init__(self, mdm: World, ssh: Sshd, script: str = "") -> None:
        self.folder = mdm.folder / "f1"
        self.folder.mkdir()
        self.certificate, self.key = self.folder / "push.pem", self.folder / "push.key"
        self.both, self.bundle = self.folder / "both.pem", self.folder / "push.p12"
        self.log = mdm.folder / "reloads"
        self._put(mdm.old)
        program = mdm.folder / "reload"
        program.write_text(f'#!/bin/sh\necho "$1" >> {self.log}\n{script}\n')
        program.chmod(0o755)
        (mdm.folder / "allowed").write_text(f"{program}\n")
        (mdm.folder / "password").write_text(PASSWORD)
        secret = {"file": str(mdm.folder / "password")}
        places: list[dict[str, Any]] = [
            {"certificate": str(self.certificate), "key": str(self.key)},
            {"pem": str(self.both)},
            {"pkcs12": str(self.bundle), "password": secret},
        ]
        for place, name in zip(places, ("two", "pem", "p12"), strict=True):
            place["reload"] = [str(program), name]
        install = {"paths": places, "reload": [str(program), "last"], "variables": ssh.variables}
        mdm.hosts["f1"] = {"renewctl_node": {"name": "f1", "product": "files", "install": install}}

    def _put(self, pair: PairFiles) -> None:
        key = pair.key.read_bytes()
        self.certificate.write_bytes(pair.pem)
        self.key.write_bytes(key)
        self.both.write_bytes(key + pair.pem)
        self.bundle.write_bytes(made(pair))
        for path in (self.key, self.both, self.bundle):
            path.chmod(0o600)

    @property
    def files(self) -> tuple[Path, ...]:
        """What consumers read."""
        return self.certificate, self.key, self.both, self.bundle

    def serve(self, pair: PairFiles) -> bool:
        """All three places hold this pair, whole."""
        key = pair.key.read_bytes()
        wanted = (pair.pem, key)
        text = self.both.read_bytes()
        return (
            (self.certificate.read_bytes(), self.key.read_bytes()) == wanted
            and text == key + pair.pem
            and opened(self.bundle) == wanted
        )

    def reloads(self) -> list[str]:
        """Who was told so far, in order; forgotten then."""
        said = self.log.read_text().split()
        self.log.unlink()
        return said

    def releases(self, path: Path) -> dict[str, Path]:
        """Serial -> folder of every release kept beside a file."""
        folder = self.folder / ".renewctl" / path.name / "releases"
        return {serial(one): one for one in folder.iterdir()}


def made(pair: PairFiles) -> bytes:
    """A PKCS#12 file as an administrator makes it."""
    certificate, key = load_pem_x509_certificate(pair.pem), pair.key.read_bytes()
    return pkcs12.serialize_key_and_certificates(
        b"push", private(key), certificate, None, BestAvailableEncryption(PASSWORD.encode())
    )


def private(pem: bytes) -> rsa.RSAPrivateKey:
    """A key from its PEM."""
    key = load_pem_private_key(pem, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def opened(bundle: Path) -> tuple[bytes, bytes]:
    """Certificate and key, PEM, of a PKCS#12 file, as its consumer reads it."""
    key, certificate, _ = pkcs12.load_key_and_certificates(bundle.read_bytes(), PASSWORD.encode())
    assert isinstance(key, rsa.RSAPrivateKey)
    assert certificate is not None
    return certificate.public_bytes(Encoding.PEM), pkcs1(key)


def serial(release: Path) -> str:
    """Of the certificate in a release; of a PKCS#12 file somebody else made, the file alone is there."""
    alone, bundle = release / "cert.pem", release / "pair.p12"
    number = load_pem_x509_certificate(
        alone.read_bytes() if alone.exists() else opened(bundle)[0]
    ).serial_number
    return number.to_bytes((number.bit_length() + 7) // 8).hex()


def look(path: Path) -> Look:
    """How a file looks to those who may read it."""
    about = path.stat()
    return stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid, os.getxattr(path, LABEL)


def further(mdm: World, name: str) -> PairFiles:
    """One more pair of the same topic."""
    pair = mdm.pushes.apple.push_pair(TOPIC, ends=in_days(365))
    certificate, key = mdm.folder / f"{name}.pem", mdm.folder / f"{name}.key"
    certificate.write_bytes(pair.certificate_pem)
    key.write_bytes(pair.key_pem)
    return PairFiles(certificate, key)


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One sshd for the module."""
    with sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(autouse=True)
def controller(mdm: World, ssh: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's own way to reach hosts, and their list of programs nodes may run."""
    for name, value in ssh.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RENEWCTL_ALLOWED_COMMANDS", str(mdm.folder / "allowed"))


def test_every_layout_goes_there_and_back_and_each_consumer_is_told(mdm: World, ssh: Sshd) -> None:
    """Owner, group, mode and SELinux label of each file are the same before, with the new pair, and put back."""
    node = Consumers(mdm, ssh)
    modes = (0o640, 0o400, 0o440, 0o660)
    before: dict[Path, Look] = {}
    for number, (path, mode) in enumerate(zip(node.files, modes, strict=True)):
        os.chown(path, 41000 + number, 42000 + number)
        path.chmod(mode)
        os.setxattr(path, LABEL, b"system_u:object_r:mdm_%d_t:s0\0" % number)
        before[path] = look(path)
    assert len(set(before.values())) == len(modes)
    first = mdm.run("rollout", renewctl_run=1).results["f1"]
    assert (first.outcome, first.changed) == ("proven", True)
    assert node.serve(mdm.new)
    assert node.reloads() == ["two", "pem", "p12", "last"]
    assert {path: look(path) for path in node.files} == before
    assert mdm.run("rollback", renewctl_run=2).results["f1"].outcome == "put_back"
    assert node.serve(mdm.old)
    assert node.reloads() == ["two", "pem", "p12", "last"]
    assert {path: look(path) for path in node.files} == before
    again = mdm.run("rollout", renewctl_run=3).results["f1"]
    assert (again.outcome, again.changed) == ("proven", True)
    assert node.serve(mdm.new)
    assert {path: look(path) for path in node.files} == before


def test_folders_and_files_of_a_release_and_its_one_rename(mdm: World, ssh: Sshd) -> None:
    """Folders 0755, certificate 0644, key 0600; a place changes by one rename, its consumer's folder not at all."""
    node = Consumers(mdm, ssh)
    mdm.run("rollout", renewctl_run=1)
    third = further(mdm, "third")
    more = {"renewctl_pair": third.reference, "renewctl_previous": mdm.new.reference}
    with name_changes(node.folder) as beside, name_changes(node.folder / ".renewctl" / "push.pem") as inside:
        assert mdm.run("rollout", renewctl_run=2, **more).results["f1"].outcome == "proven"
    assert node.serve(third)
    assert beside == []
    assert [told for told in inside if told[0] == "current"] == [("current", "moved to")]
    modes = {"cert.pem": 0o644, "key.pem": 0o600, "pair.pem": 0o600, "pair.p12": 0o600}
    for path in (node.certificate, node.both, node.bundle):
        home = node.folder / ".renewctl" / path.name
        releases = node.releases(path).values()
        folders = [home.parent, home, home / "releases", *releases]
        assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o755}
        files = [file for release in releases for file in release.iterdir()]
        assert {(file.name, stat.S_IMODE(file.stat().st_mode)) for file in files} <= set(modes.items())
        assert len(files) == 2 * 2


def test_old_releases_go_but_never_the_active_or_the_previous_one(mdm: World, ssh: Sshd) -> None:
    """Three years and a roll-back: each place keeps two releases, and those two; what a killed step left goes."""
    node = Consumers(mdm, ssh)
    pairs = [mdm.old, mdm.new, further(mdm, "third"), further(mdm, "fourth")]

    def play(playbook: str, run: int, previous: PairFiles, new: PairFiles) -> None:
        more = {"renewctl_pair": new.reference, "renewctl_previous": previous.reference}
        assert mdm.run(playbook, renewctl_run=run, **more).exit_code == 0
        for path in (node.certificate, node.both, node.bundle):
            assert set(node.releases(path)) == {previous.serial, new.serial}, (playbook, run, path)

    for year, (previous, new) in enumerate(itertools.pairwise(pairs), start=1):
        play("rollout", year, previous, new)
        assert node.serve(new)
    (node.folder / ".renewctl" / "push.pem" / "releases" / ("0" * 64)).mkdir()
    node.reloads()
    play("rollback", 4, *pairs[-2:])
    assert node.serve(pairs[-2])
    assert node.reloads() == ["two", "pem", "p12", "last"]


def test_a_reload_that_hangs_is_ended_and_every_place_goes_back(mdm: World, ssh: Sshd) -> None:
    """The second of four hangs: after 30 seconds it and what it started are gone, and all have the old pair."""
    once, child = mdm.folder / "once", mdm.folder / "child"
    hangs = f'test "$1" = pem && mkdir {once} && {{ sleep 600 & echo $! > {child}; sleep 600; }}; exit 0'
    node = Consumers(mdm, ssh, hangs)
    ended = mdm.run("rollout")
    result = ended.results["f1"]
    assert (ended.exit_code != 0, result.outcome, result.reason) == (True, "failed", Reason.RELOAD_FAILED)
    assert (result.values["got"], result.values["put_back"]) == ("30 s", True)
    assert node.reloads() == ["two", "pem", "two", "pem", "p12", "last"]
    assert node.serve(mdm.old)
    eventually(lambda: not runs(int(child.read_text())), seconds=60)
    assert mdm.run("rollout", renewctl_run=2).results["f1"].outcome == "proven"
    assert node.serve(mdm.new)


def test_a_password_that_is_not_the_consumers_stops_the_roll_out_before_any_switch(
    mdm: World, ssh: Sshd, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No other node is given the pair, nobody is told to reload; under Ansible's debugging no log shows file or password."""
    monkeypatch.setenv("ANSIBLE_DEBUG", "1")
    mdm.api_node("n1")
    node = Consumers(mdm, ssh)
    bundle = node.bundle.read_bytes()
    (mdm.folder / "password").write_text("what nobody else knows")
    shown = ""
    for check in (True, False):
        ended = mdm.run("rollout", check=check)
        result = ended.results["f1"]
        assert (ended.exit_code != 0, result.outcome, result.changed) == (True, "failed", False)
        assert (result.reason, result.values["path"]) == (Reason.NODE_PASSWORD_DIFFERS, str(node.bundle))
        assert ended.results["n1"].outcome == ("would_install" if check else "fenced")
        shown += str(ended)
    assert mdm.changes() == {"n1": []}
    assert node.bundle.read_bytes() == bundle
    assert node.serve(mdm.old)
    assert not node.log.exists()
    shown += "".join(capfd.readouterr())
    hidden = (PASSWORD, "what nobody else knows", base64.b64encode(bundle).decode()[:60], bundle.hex()[:60])
    assert not [text for text in hidden if text in shown]
    (mdm.folder / "password").write_text(PASSWORD)
    assert mdm.run("rollout", renewctl_run=2).results["f1"].outcome == "proven"
    assert node.serve(mdm.new)


def runs(pid: int) -> bool:
    """Alive, and not merely waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
