"""The PKCS#12 file a consumer reads today decides what the new one is like; one it could not open is never put there."""

from __future__ import annotations

import base64
import io
import subprocess
from contextlib import redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.renewctl.mdm.plugins.module_utils import node_step
from ansible_collections.renewctl.mdm.plugins.plugin_utils.file_target import FileTarget, Said
from ansible_collections.renewctl.mdm.plugins.plugin_utils.settings import SPEC, Settings
from cryptography.hazmat.primitives.serialization import pkcs12

from renewctl.certificate import unlock
from renewctl.certificate.pushcert import Pair, PushCertificate
from renewctl.errors import RenewctlError
from renewctl.reasons import Reason
from renewctl.servers.registry import connect
from tests.support.certs import NOW, TOPIC, Issued, apple_like

PASSWORD = "geheim あ"
TOKEN = "ab" * 16


@pytest.fixture(scope="module")
def pairs() -> tuple[Issued, Issued]:
    """The old pair and the new one."""
    apple = apple_like()
    return apple.push(TOPIC, not_after=NOW + timedelta(days=42)), apple.push(TOPIC, key="new")


class Node:
    """A node whose program runs here; everything that goes there and comes back is kept."""

    def __init__(self, folder: Path, password: str = PASSWORD) -> None:
        self.path = folder / "push.p12"
        self.sent: list[bytes] = []
        self.printed: list[str] = []
        self.answers: dict[bytes, str] = {}
        (folder / "password").write_text(password)
        arguments: dict[str, Any] = {name: spec.get("default") for name, spec in SPEC.items()}
        place = {"pkcs12": str(self.path), "password": {"file": str(folder / "password")}}
        arguments |= {"state": "present", "base": str(folder), "topic": TOPIC, "run": 1, "token": TOKEN}
        self.arguments = arguments
        arguments["node"] = {"product": "files", "install": {"paths": place}}
        self.target = self.of(pair=None)
        self.target.fence(check=False)

    def of(self, pair: Path | None, run: int = 1) -> FileTarget:
        """The node as a step sees it that is told which pair is to come."""
        told = {**self.arguments, "run": run, "pair": None if pair is None else {"certificate": str(pair)}}
        settings = Settings.from_arguments(told, "f1", check=False)
        assert settings.node.install is not None
        return FileTarget(connect(settings.node), settings.node.install, settings, self)

    def python(self) -> str | None:
        """Nobody has named one."""
        return None

    def send(self, _command: str, data: bytes, _seconds: float) -> Said:
        """Carry out an order, or say what is to be said instead."""
        size, _, rest = data.partition(b"\n")
        order = rest[int(size) :]
        self.sent.append(order)
        said = next((text for op, text in self.answers.items() if b'"op": "%s"' % op in order), None)
        if said is None:
            with redirect_stdout(io.StringIO()) as out:
                node_step.main(io.BytesIO(order))
            said = out.getvalue()
        self.printed.append(said)
        return Said(0, said, "")

    def install(self, pair: Issued) -> bool:
        """As the step `present` does."""
        return self.target.install(Pair(PushCertificate.from_pem(pair.pem), pair.key_pem))

    def ops(self) -> list[str]:
        """What was asked for."""
        return [order.partition(b'"op": "')[2].partition(b'"')[0].decode() for order in self.sent]


def made(folder: Path, pair: Issued, *more: str, password: str = PASSWORD) -> bytes:
    """A PKCS#12 file of the program `openssl`, as people make it."""
    (folder / "c.pem").write_bytes(pair.pem + pair.key_pem)
    command = ["openssl", "pkcs12", "-export", "-in", str(folder / "c.pem"), "-passout", "stdin", *more]
    return subprocess.run(command, input=password.encode(), check=True, capture_output=True).stdout


def refusal(node: Node, pair: Issued) -> RenewctlError:
    """Why an installation is refused."""
    with pytest.raises(RenewctlError) as caught:
        node.install(pair)
    return caught.value


def shown(folder: Path, bundle: Path) -> str:
    """What `openssl` tells of a file's ciphers."""
    command = ["openssl", "pkcs12", "-in", str(bundle), "-passin", "stdin", "-noout", "-info"]
    done = subprocess.run(command, input=PASSWORD.encode(), check=True, capture_output=True, cwd=folder)
    return done.stderr.decode()


@pytest.mark.parametrize(
    ("more", "ciphers"),
    [
        ((), "AES-256-CBC"),
        (
            ("-legacy",),
            "pbeWithSHA1And3-KeyTripleDES",
        ),  # its certificate under 40-bit RC2, as Keychain Access
        (("-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"), "TripleDES"),
        (("-nomac",), "AES-256-CBC"),
    ],
)
def test_the_new_file_opens_as_the_one_before(
    tmp_path: Path, pairs: tuple[Issued, Issued], more: tuple[str, ...], ciphers: str
) -> None:
    """Under the same password, with ciphers its reader knows; there, and from then on each year."""
    old, new = pairs
    node = Node(tmp_path)
    node.path.write_bytes(made(tmp_path, old, *more))
    for pair in (new, old):
        assert node.install(pair) is True
        found = pkcs12.load_pkcs12(node.path.read_bytes(), PASSWORD.encode())
        assert found.cert is not None
        assert found.cert.certificate == pair.certificate
        assert ciphers in shown(tmp_path, node.path)


@pytest.mark.parametrize("name", ["mdm プッシュ", None])
def test_the_name_its_consumer_looks_for_is_kept(
    tmp_path: Path, pairs: tuple[Issued, Issued], name: str | None
) -> None:
    """The alias of a Java keystore, say; one without a name stays without."""
    old, new = pairs
    node = Node(tmp_path)
    node.path.write_bytes(made(tmp_path, old, *([] if name is None else ["-name", name])))
    for pair in (new, old):
        node.install(pair)
        found = pkcs12.load_pkcs12(node.path.read_bytes(), PASSWORD.encode())
        assert found.cert is not None
        assert found.cert.friendly_name == (None if name is None else name.encode())


def test_where_no_file_is_there_is_nothing_to_compare(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """A new consumer: the file is made under the inventory's password."""
    node = Node(tmp_path)
    assert node.install(pairs[1]) is True
    found = pkcs12.load_pkcs12(node.path.read_bytes(), PASSWORD.encode())
    assert found.cert is not None
    assert found.cert.friendly_name == b"push"


@pytest.mark.parametrize("more", [(), ("-legacy",)])
def test_a_password_that_is_not_the_consumers_is_refused_before_the_switch(
    tmp_path: Path, pairs: tuple[Issued, Issued], more: tuple[str, ...]
) -> None:
    """Nothing is sent and nothing changed: the consumer reads the same file, by the same name, and it is no link."""
    old, new = pairs
    node = Node(tmp_path)
    before = made(tmp_path, old, *more, password="another")
    node.path.write_bytes(before)
    error = refusal(node, new)
    assert (error.reason, error.values) == (
        Reason.NODE_PASSWORD_DIFFERS,
        {"node": "f1", "path": str(node.path)},
    )
    assert node.path.read_bytes() == before
    assert not node.path.is_symlink()
    assert node.ops() == ["fence", "bundles"]
    node.path.unlink()  # as the hint says
    assert node.install(new) is True


def test_the_fence_and_a_dry_run_find_a_password_that_is_not_the_consumers(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """Where a pair is to come; a way back may need no password, and a step that was cut off is undone and told first."""
    old, new = pairs
    node = Node(tmp_path)
    node.path.write_bytes(made(tmp_path, old, password="another"))
    (tmp_path / "new.pem").write_bytes(new.pem)
    coming, back = node.of(tmp_path / "new.pem"), node.of(None)
    for step in (coming.require_ready, lambda: coming.fence(check=False)):
        node.sent.clear()
        with pytest.raises(RenewctlError) as caught:
            step()
        assert caught.value.reason is Reason.NODE_PASSWORD_DIFFERS
        assert node.ops()[-1] == "bundles"
    node.sent.clear()
    back.require_ready()
    back.fence(check=False)
    assert node.ops() == ["fence"]
    node.path.write_bytes(made(tmp_path, old))
    coming.require_ready()
    assert node.of(tmp_path / "new.pem", run=2).fence(check=False) == (False, {"run": 2, "undone": False})
    node.answers[b"fence"] = 'renewctl-answer {"done": true}\n'
    node.sent.clear()
    assert coming.fence(check=False)[0] is True
    assert "bundles" not in node.ops()


@pytest.mark.parametrize("password", ["", "\n", " "])
def test_an_empty_password_is_refused_as_such(
    tmp_path: Path, pairs: tuple[Issued, Issued], password: str
) -> None:
    """Also where the file that is there has none: no library makes such a file, and none of its errors is shown."""
    old, new = pairs
    node = Node(tmp_path, password)
    node.path.write_bytes(made(tmp_path, old, password="\n"))
    error = refusal(node, new)
    assert (error.reason, error.values["node"]) == (Reason.SECRET_EMPTY, "f1")
    assert not node.path.is_symlink()


def test_what_cannot_be_opened_at_all_is_refused_with_its_own_reason(
    tmp_path: Path, pairs: tuple[Issued, Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key in clear never leaves the node; a file that would take for ever to open is given up."""
    old, new = pairs
    node = Node(tmp_path)
    node.path.write_bytes(old.key_pem)
    assert refusal(node, new).reason is Reason.NODE_FILE_NOT_PKCS12
    assert old.key_pem.decode() not in str(node.printed)
    node.path.write_bytes(made(tmp_path, old))
    monkeypatch.setattr(unlock, "_WALL_SECONDS", 0.001)
    error = refusal(node, new)
    assert (error.reason, error.values["node"]) == (Reason.LOCKED_TOO_COSTLY, "f1")
    assert node.ops() == ["fence", "bundles", "bundles"]


def test_the_file_is_told_to_nobody_on_its_way(tmp_path: Path, pairs: tuple[Issued, Issued]) -> None:
    """Ansible writes answers into its debug log: nothing of the file is in one, and the password leaves in none."""
    old, new = pairs
    node = Node(tmp_path)
    content = made(tmp_path, old, "-keypbe", "NONE", "-certpbe", "NONE", "-nomac")  # a key in clear, in DER
    node.path.write_bytes(content)
    for _ in range(2):
        node.sent.clear()
        node.target._bundles_before()
    answers = [base64.b64decode(printed.split('"')[3]) for printed in node.printed[-2:]]
    assert [len(answer) for answer in answers] == [len(content)] * 2
    assert answers[0] != answers[1]
    for start in range(len(content) - 8):
        assert all(content[start : start + 8] not in answer for answer in answers)
    assert node.install(new) is True
    assert all(PASSWORD.encode() not in sent and b"geheim" not in sent for sent in node.sent)


@pytest.mark.parametrize("done", ["true", "[]", "[null, null]", "[5]", '["?"]', '["あ"]', "[{}]", "null"])
def test_an_answer_that_is_none(tmp_path: Path, pairs: tuple[Issued, Issued], done: str) -> None:
    """A node can say anything: no pair is sent to one that is not understood."""
    node = Node(tmp_path)
    node.answers[b"bundles"] = f'renewctl-answer {{"done": {done}}}\n'
    assert refusal(node, pairs[1]).reason is Reason.NODE_ANSWER_UNREADABLE
    assert node.ops() == ["fence", "bundles"]
