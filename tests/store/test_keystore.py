"""Sealing and opening: one suite for both homes, and the real `age` beside us."""

from __future__ import annotations

import base64
import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from renewctl.errors import NodeFault, Refused, Unusable
from renewctl.inventory.reading import Keys
from renewctl.keys import keystore, unseal
from renewctl.keys.keystore import KeyFolder, KeyHome, KeyTable
from renewctl.reasons import Reason
from renewctl.store.write import Store
from tests.support.identities import Identity, new_key, pem
from tests.support.postgres import Database
from tests.support.unprivileged import as_nobody, python

pytestmark = pytest.mark.slow  # processes, databases or deadlines: `make test`


def _spki(key: rsa.RSAPrivateKey) -> str:
    """The name openssl would compute: SHA-256 of the public key, DER."""
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, capture_output=True, check=True
    ).stdout
    done = subprocess.run(["sha256sum"], input=der, capture_output=True, check=True)
    return done.stdout.decode().split()[0]


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    """One operator's."""
    return Identity(tmp_path, "age")


@pytest.fixture(params=["folder", "table"])
def make_home(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., KeyHome]:
    """A key home for some recipients; called twice it is the same place."""
    if request.param == "folder":
        return lambda *recipients: KeyFolder(tmp_path / "keys", recipients)
    database: Database = request.getfixturevalue("database")
    Store.create(database.url)
    return lambda *recipients: KeyTable(database.url, recipients)


def test_a_sealed_key_is_found_by_the_name_of_its_public_half(
    make_home: Callable[..., KeyHome], identity: Identity
) -> None:
    """The name is what openssl computes over the public key; what comes out is PKCS#1."""
    key, home = new_key(), make_home(identity.recipient)
    assert home.names() == []
    name = home.seal(pem(key, "PKCS8"))
    assert name == _spki(key)
    assert (home.has(name), home.has("0" * 64), home.names()) == (True, False, [name])
    assert unseal.open_key(home.sealed(name), identity.ref) == pem(key)


def test_age_itself_opens_a_sealed_key(
    make_home: Callable[..., KeyHome], identity: Identity, tmp_path: Path
) -> None:
    """`age -d` needs nothing of ours: the way out if this program is gone."""
    key, home = new_key(), make_home(identity.recipient)
    path = tmp_path / "copy.age"
    path.write_bytes(home.sealed(home.seal(pem(key))))
    done = subprocess.run(["age", "-d", "-i", str(identity.file), str(path)], capture_output=True, check=True)
    assert done.stdout == pem(key)


def test_every_recipient_opens_alone(make_home: Callable[..., KeyHome], tmp_path: Path) -> None:
    """An age key, two kinds of SSH keys and an escrow: each is enough, for us and for `age`."""
    identities = [Identity(tmp_path, kind) for kind in ("age", "ed25519", "rsa")]
    key, home = new_key(), make_home(*(identity.recipient for identity in identities))
    sealed = home.sealed(home.seal(pem(key)))
    for identity in identities:
        assert unseal.open_key(sealed, identity.ref) == pem(key)
        done = subprocess.run(
            ["age", "-d", "-i", str(identity.file)], input=sealed, capture_output=True, check=True
        )
        assert done.stdout == pem(key)


def test_a_key_is_written_once(make_home: Callable[..., KeyHome], identity: Identity, tmp_path: Path) -> None:
    """Sealing the same key again, even to others, keeps what is there; other keys stay beside it."""
    key = new_key()
    name = make_home(identity.recipient).seal(pem(key))
    before = make_home().sealed(name)
    again = make_home(Identity(tmp_path, "ed25519").recipient)
    assert again.seal(pem(key)) == name
    assert again.sealed(name) == before
    second = again.seal(pem(new_key()))
    assert again.names() == sorted([name, second])


def test_a_key_that_is_not_there_is_named(make_home: Callable[..., KeyHome]) -> None:
    """Reading needs no recipients; a missing key says which, and where it was looked for."""
    with pytest.raises(Refused) as caught:
        make_home().sealed("ab" * 32)
    assert caught.value.reason is Reason.SEALED_KEY_MISSING
    assert caught.value.values["fingerprint"] == "ab" * 32


def test_a_key_is_not_sealed_to_more_than_can_be_opened_soon(tmp_path: Path) -> None:
    """Opening takes the square of their number; 200 are taken, one more is refused before anything is made."""
    recipient = unseal.new_identity()[1]
    assert len(KeyFolder(tmp_path, [recipient] * 200).recipients) == 200
    with pytest.raises(Unusable) as caught:
        KeyFolder(tmp_path, [recipient] * 201)
    assert (caught.value.reason, caught.value.values["got"]) == (Reason.RECIPIENTS_TOO_MANY, 201)


def test_without_recipients_nothing_is_sealed(make_home: Callable[..., KeyHome]) -> None:
    """A key nobody could open is not written."""
    home = make_home()
    with pytest.raises(Unusable) as caught:
        home.seal(pem(new_key()))
    assert caught.value.reason is Reason.RECIPIENTS_NONE
    assert home.names() == []


def test_a_wrong_identity_is_told(
    make_home: Callable[..., KeyHome], identity: Identity, tmp_path: Path
) -> None:
    """Sealed to somebody else: refused, naming the reference and nothing of the key."""
    home = make_home(identity.recipient)
    sealed = home.sealed(home.seal(pem(new_key())))
    for kind in ("ed25519", "rsa"):
        other = Identity(tmp_path, kind)
        with pytest.raises(Refused) as caught:
            unseal.open_key(sealed, other.ref)
        assert caught.value.reason is Reason.IDENTITY_CANNOT_OPEN
        assert caught.value.values == {"where": f"file:{other.file}"}


def _needles(key: rsa.RSAPrivateKey) -> list[bytes]:
    """What must not be found: the key's numbers and lines, in usual encodings."""
    numbers = key.private_numbers()
    raw = [n.to_bytes((n.bit_length() + 7) // 8) for n in (numbers.p, numbers.q, numbers.d)]
    lines = [line for pem in (pem(key), pem(key, "PKCS8")) for line in pem.splitlines()[2:-2]]
    return [*raw, *(n.hex().encode() for n in raw), *lines, *(base64.b64encode(n)[:-4] for n in raw)]


def test_no_byte_of_a_key_reaches_a_disk(
    make_home: Callable[..., KeyHome], identity: Identity, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Neither in the home nor in any file beside it, in the usual encodings."""
    key, home = new_key(), make_home(identity.recipient)
    name = home.seal(pem(key))
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    written.append(home.sealed(name))
    if isinstance(home, KeyTable):
        cluster = request.getfixturevalue("cluster")
        written += [path.read_bytes() for path in cluster.folder.rglob("*") if path.is_file()]
    assert not [needle for needle in _needles(key) for content in written if needle in content]


# The folder


def test_the_folder_is_closed_and_holds_nothing_but_keys(tmp_path: Path, identity: Identity) -> None:
    """0700, 0600, whatever the umask; no temporary name stays; strangers' files are no keys."""
    path, before = tmp_path / "deep" / "keys", os.umask(0)
    try:
        name = KeyFolder(path, [identity.recipient]).seal(pem(new_key()))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert [entry.name for entry in path.iterdir()] == [f"{name}.age"]
    assert stat.S_IMODE((path / f"{name}.age").stat().st_mode) == 0o600
    (path / "notes.txt").write_text("")
    (path / f".{name}.age.0a0a0a0a.new").write_text("")
    assert KeyFolder(path, []).names() == [name]


@pytest.mark.parametrize(("mode", "shared"), [(0o750, False), (0o701, False), (0o705, True)])
def test_a_folder_others_may_enter_takes_no_key(
    tmp_path: Path, identity: Identity, mode: int, shared: bool
) -> None:
    """Said with the mode found, and nothing written."""
    path = tmp_path / "keys"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(Refused) as caught:
        KeyFolder(path, [identity.recipient], shared=shared).seal(pem(new_key()))
    assert caught.value.reason is Reason.KEYS_FOLDER_OPEN
    assert caught.value.values["got"] == f"{mode:04o}"
    assert list(path.iterdir()) == []


def test_a_shared_folder_may_be_entered_by_its_group(tmp_path: Path, identity: Identity) -> None:
    """`keys.shared: true`: several operators' accounts, one group."""
    path = tmp_path / "keys"
    path.mkdir()
    path.chmod(0o770)
    home = KeyFolder(path, [identity.recipient], shared=True)
    name = home.seal(pem(new_key()))
    assert home.names() == [name]
    assert stat.S_IMODE((path / f"{name}.age").stat().st_mode) == 0o640


_SEAL = """
import sys
from pathlib import Path
from renewctl.errors import RenewctlError
from renewctl.keys.keystore import KeyFolder
try:
    print(KeyFolder(Path(sys.argv[1]), [sys.argv[2]]).seal(sys.stdin.buffer.read()))
except RenewctlError as error:
    print(error.reason.value)
"""


def _seal(prefix: list[str], path: Path, identity: Identity, key: rsa.RSAPrivateKey) -> str:
    return python(_SEAL, path, identity.recipient, prefix=prefix, stdin=pem(key))


def test_a_folder_one_may_not_write_is_told(open_folder: Path, identity: Identity) -> None:
    """Another account's folder, and a place where none can be made: `keys_denied`, nothing left."""
    path = open_folder / "keys"
    path.mkdir(mode=0o700 if as_nobody() else 0o500)
    assert _seal(as_nobody(), path, identity, new_key()) == "keys_denied"
    assert list(path.iterdir()) == []
    open_folder.chmod(0o555)
    assert _seal(as_nobody(), open_folder / "new", identity, new_key()) == "keys_denied"
    open_folder.chmod(0o755)


def test_a_full_disk_leaves_no_half_key(tmp_path: Path, identity: Identity) -> None:
    """`disk_full`, and neither a key nor a temporary file."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    mount = (
        'mount -t tmpfs -o size=8k none "$1"; mkdir -m 700 "$1/keys"; '
        'head -c 8192 /dev/zero > "$1/filler" 2>/dev/null; shift; "$@"; ls -A "$DIR/keys" | wc -l'
    )
    prefix = ["env", f"DIR={folder}", *unshare, "sh", "-c", mount, "sh", str(folder)]
    assert _seal(prefix, folder / "keys", identity, new_key()) == "disk_full\n0"


def test_two_processes_may_seal_the_same_key(tmp_path: Path, identity: Identity) -> None:
    """One file, whole, and both are told its name."""
    key, path = new_key(), tmp_path / "keys"
    command = [sys.executable, "-W", "error", "-c", _SEAL, str(path), identity.recipient]
    sealers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    answers = {sealer.communicate(pem(key), timeout=60)[0].decode().strip() for sealer in sealers}
    assert answers == {_spki(key)}
    assert [entry.name for entry in path.iterdir()] == [f"{_spki(key)}.age"]
    assert unseal.open_key(KeyFolder(path, []).sealed(_spki(key)), identity.ref) == pem(key)


# The table


def test_a_role_that_may_only_insert_can_seal_and_not_read(database: Database, identity: Identity) -> None:
    """The desk adds keys; it can neither list nor fetch them."""
    Store.create(database.url)
    key, desk = new_key(), KeyTable(database.role("INSERT ON keys"), [identity.recipient])
    name = desk.seal(pem(key))
    assert desk.seal(pem(key)) == name
    for ask in (desk.names, lambda: desk.has(name), lambda: desk.sealed(name)):
        with pytest.raises(NodeFault) as caught:
            ask()
        assert caught.value.reason is Reason.STORE_DENIED
    assert unseal.open_key(KeyTable(database.url, []).sealed(name), identity.ref) == pem(key)


def test_a_table_out_of_reach_is_told(database: Database, identity: Identity) -> None:
    """No server: unreachable, after a few tries; no table: no store."""
    with pytest.raises(Unusable) as missing:
        KeyTable(database.url, [identity.recipient]).seal(pem(new_key()))
    assert missing.value.reason is Reason.STORE_MISSING
    gone = KeyTable(database.url.replace(f":{database.cluster.port}/", ":1/"), [identity.recipient])
    with pytest.raises(NodeFault) as caught:
        gone.seal(pem(new_key()))
    assert caught.value.reason is Reason.STORE_UNREACHABLE


# What the inventory says


@pytest.mark.parametrize(
    ("folder", "shared", "url", "expected"),
    [
        ("/k", False, "sqlite:////s.db", KeyFolder),
        (None, False, "sqlite:////s.db", Reason.KEYS_NO_HOME),
        (None, False, "postgresql://u@localhost/d", KeyTable),
        ("/k", False, "postgresql://u@localhost/d", Reason.KEYS_NOT_SHARED),
        ("/k", True, "postgresql://u@localhost/d", KeyFolder),
    ],
)
def test_the_inventory_decides_where_keys_are(
    folder: str | None, shared: bool, url: str, expected: type[KeyHome] | Reason, identity: Identity
) -> None:
    """A folder beside a shared store must be said to be shared; a SQLite store has no key table."""
    keys = Keys((identity.recipient,), None if folder is None else Path(folder), shared=shared)
    if isinstance(expected, Reason):
        with pytest.raises(Unusable) as caught:
            keystore.home(keys, url)
        assert caught.value.reason is expected
        return
    assert isinstance(keystore.home(keys, url), expected)


def test_a_recipient_that_is_none_is_told_by_its_place(identity: Identity) -> None:
    """A cut line, another kind of key, and the worst slip: the secret half in the inventory."""
    secret = next(line for line in identity.file.read_text().splitlines() if line.startswith("AGE"))
    for text, reason in (
        (identity.recipient[:-1], Reason.RECIPIENT_INVALID),
        ("ssh-dss AAAAB3NzaC1kc3M operator", Reason.RECIPIENT_INVALID),
        ("operator@example.com", Reason.RECIPIENT_INVALID),
        ("", Reason.RECIPIENT_INVALID),
        (secret, Reason.RECIPIENT_IS_IDENTITY),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", Reason.RECIPIENT_IS_IDENTITY),
    ):
        with pytest.raises(Unusable) as caught:
            KeyFolder(Path("/nowhere"), [identity.recipient, text])
        assert caught.value.reason is reason
        assert caught.value.values["position"] == 2
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.ENOSPC, Reason.DISK_FULL), (errno.EIO, Reason.KEYS_DENIED)]
)
def test_a_key_that_cannot_be_synced_is_not_told_as_written(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch, number: int, reason: Reason
) -> None:
    """Fsync fails: one reason, and no file under any name."""

    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    home = KeyFolder(tmp_path / "keys", [identity.recipient])
    home.path.mkdir(mode=0o700)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(NodeFault) as caught:
        home.seal(pem(new_key()))
    assert caught.value.reason is reason
    assert list(home.path.iterdir()) == []


def test_a_folder_appears_with_its_mode_or_not_at_all(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the mode is set, a strict umask would shut a group out for good."""

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    folder = KeyFolder(tmp_path / "keys", [identity.recipient])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "chmod", dies)
        with pytest.raises(KeyboardInterrupt):
            folder.seal(pem(new_key()))
    assert not folder.path.exists()
    folder.seal(pem(new_key()))
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_somebody_quicker_keeps_their_folder(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two make the folder at once: the keys of the first stay, the second's goes beside them."""
    folder = KeyFolder(tmp_path / "keys", [identity.recipient])
    real = Path.chmod

    def meanwhile(path: Path, mode: int) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "chmod", real)
            folder.seal(pem(new_key()))
        real(path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "chmod", meanwhile)
        folder.seal(pem(new_key()))
    assert len(folder.names()) == 2
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []
