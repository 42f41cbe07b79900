"""What a person gets wrong: each fault names the field's path and line, all are told at once, no secret is repeated."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewctl import messages
from renewctl.errors import Unusable
from renewctl.inventory import reading as inventory
from renewctl.reasons import Reason
from tests.support.inventories import TOPIC, right, spoilt, write


def faults(path: Path) -> list[Unusable]:
    """Every fault of an inventory."""
    with pytest.raises(Unusable) as caught:
        inventory.load(path)
    return [caught.value, *caught.value.others]  # type: ignore[list-item]


NODE = {"name": "n2", "product": "nanomdm", "url": "https://n2"}
R = Reason

SPOILT: list[tuple[str, Any, Reason, str]] = [
    ("version", 2, R.INVENTORY_VERSION, "version"),
    ("version", True, R.INVENTORY_VERSION, "version"),
    ("version", ..., R.INVENTORY_MISSING_KEY, "version"),
    ("colour", "red", R.INVENTORY_UNKNOWN_KEY, "colour"),
    ("store", ..., R.INVENTORY_MISSING_KEY, "store"),
    ("store", "renewctl.db", R.INVENTORY_BAD_VALUE, "store"),
    ("store", "mysql://db/x", R.INVENTORY_BAD_VALUE, "store"),
    ("store", "postgresql://me:hunter2@db/x", R.INVENTORY_SECRET_IN_CLEAR, "store"),
    ("store", "postgresql://db/x?password=hunter2", R.INVENTORY_SECRET_IN_CLEAR, "store"),
    ("store", 7, R.INVENTORY_SECRET_IN_CLEAR, "store"),
    ("keys", ..., R.INVENTORY_MISSING_KEY, "keys"),
    ("keys.recipients", ..., R.INVENTORY_MISSING_KEY, "keys.recipients"),
    ("keys.recipients", "age1x", R.INVENTORY_WRONG_TYPE, "keys.recipients"),
    ("keys.recipients", ["nobody"], R.INVENTORY_BAD_VALUE, "keys.recipients[0]"),
    ("keys.recipients", ["AGE-SECRET-KEY-1HUNTER2"], R.INVENTORY_SECRET_IN_CLEAR, "keys.recipients[0]"),
    ("keys.recipients", [7], R.INVENTORY_WRONG_TYPE, "keys.recipients[0]"),
    ("keys.folder", 7, R.INVENTORY_WRONG_TYPE, "keys.folder"),
    ("keys.folder", " ", R.INVENTORY_BAD_VALUE, "keys.folder"),
    ("keys.shared", "yes", R.INVENTORY_WRONG_TYPE, "keys.shared"),
    ("keys.identity", "hunter2", R.INVENTORY_SECRET_IN_CLEAR, "keys.identity"),
    ("keys.identity", {"fiel": "hunter2"}, R.INVENTORY_BAD_VALUE, "keys.identity"),
    ("keys.identity", {"file": "a", "env": "b"}, R.INVENTORY_BAD_VALUE, "keys.identity"),
    ("keys.identity", {"command": []}, R.INVENTORY_MISSING_KEY, "keys.identity.command"),
    ("keys.identity", {"command": "pass show x"}, R.INVENTORY_WRONG_TYPE, "keys.identity.command"),
    ("keys.identity", {"file": None}, R.INVENTORY_MISSING_KEY, "keys.identity.file"),
    ("keys.identity", {"env": "A", "x": 1}, R.INVENTORY_UNKNOWN_KEY, "keys.identity.x"),
    ("keys.identity", True, R.INVENTORY_WRONG_TYPE, "keys.identity"),
    ("apns", {"url": "http://localhost:2197"}, R.INVENTORY_BAD_VALUE, "apns.url"),
    ("vendor", {"certificate": "v.pem"}, R.INVENTORY_MISSING_KEY, "vendor.chain"),
    ("vendor", {"chain": ["v.pem"]}, R.INVENTORY_MISSING_KEY, "vendor.certificate"),
    ("trust", "ca.pem", R.INVENTORY_WRONG_TYPE, "trust"),
    ("topics", ..., R.INVENTORY_MISSING_KEY, "topics"),
    ("topics", [], R.INVENTORY_MISSING_KEY, "topics"),
    ("topics", {"a": 1}, R.INVENTORY_WRONG_TYPE, "topics"),
    ("topics.0", "tokyo", R.INVENTORY_WRONG_TYPE, "topics[0]"),
    ("topics.0.id", ..., R.INVENTORY_MISSING_KEY, "topics[0].id"),
    ("topics.0.id", "a b", R.INVENTORY_BAD_VALUE, "topics[0].id"),
    ("topics.0.id", 7, R.INVENTORY_WRONG_TYPE, "topics[0].id"),
    ("topics.0.topic", "com.example.app", R.INVENTORY_BAD_VALUE, "topics[0].topic"),
    ("topics.0.name", 2024, R.INVENTORY_WRONG_TYPE, "topics[0].name"),
    ("topics.0.account", ..., R.INVENTORY_MISSING_KEY, "topics[0].account"),
    ("topics.0.account", "mdm", R.INVENTORY_WRONG_TYPE, "topics[0].account"),
    ("topics.0.account", {}, R.INVENTORY_MISSING_KEY, "topics[0].account.alias"),
    ("topics.0.account.kind", "shared", R.INVENTORY_BAD_VALUE, "topics[0].account.kind"),
    ("topics.0.zone", "Asia/Tokio", R.INVENTORY_BAD_VALUE, "topics[0].zone"),
    ("topics.0.zone", "America", R.INVENTORY_BAD_VALUE, "topics[0].zone"),
    ("topics.0.zone", "../../etc/passwd", R.INVENTORY_BAD_VALUE, "topics[0].zone"),
    ("topics.0.window", "2 months", R.INVENTORY_BAD_VALUE, "topics[0].window"),
    ("topics.0.window", 60, R.INVENTORY_BAD_VALUE, "topics[0].window"),
    ("topics.0.window", "900d", R.INVENTORY_BAD_VALUE, "topics[0].window"),
    ("topics.0.language", "de", R.INVENTORY_BAD_VALUE, "topics[0].language"),
    ("topics.0.labels", {"a-b": "x"}, R.INVENTORY_BAD_VALUE, "topics[0].labels.a-b"),
    ("topics.0.labels", {"__x": "x"}, R.INVENTORY_BAD_VALUE, "topics[0].labels.__x"),
    ("topics.0.labels", {"a": 7}, R.INVENTORY_WRONG_TYPE, "topics[0].labels.a"),
    ("nodes", ..., R.INVENTORY_TOPIC_WITHOUT_NODES, "topics[0]"),
    ("nodes.0.topics", ["osaka"], R.INVENTORY_DANGLING, "nodes[0].topics[0]"),
    ("nodes.0.product", ..., R.INVENTORY_MISSING_KEY, "nodes[0].product"),
    ("nodes.0.product", "intune", R.INVENTORY_BAD_VALUE, "nodes[0].product"),
    ("nodes.0.url", ..., R.INVENTORY_MISSING_KEY, "nodes[0].url"),
    ("nodes.0.url", "mdm.example.com", R.INVENTORY_BAD_VALUE, "nodes[0].url"),
    ("nodes.0.url", "https://", R.INVENTORY_BAD_VALUE, "nodes[0].url"),
    ("nodes.0.url", "https://h:port", R.INVENTORY_BAD_VALUE, "nodes[0].url"),
    ("nodes.0.url", "https://a b", R.INVENTORY_BAD_VALUE, "nodes[0].url"),
    ("nodes.0.url", "https://[::1", R.INVENTORY_BAD_VALUE, "nodes[0].url"),
    ("nodes.0.url", "https://me:hunter2@h", R.INVENTORY_SECRET_IN_CLEAR, "nodes[0].url"),
    ("nodes.0.url", "http://mdm.example.com", R.INVENTORY_INSECURE_HTTP, "nodes[0].url"),
    ("nodes.0.password", "hunter2", R.INVENTORY_SECRET_IN_CLEAR, "nodes[0].password"),
    ("nodes.0.password", 12345678, R.INVENTORY_SECRET_IN_CLEAR, "nodes[0].password"),
    ("nodes.0.install", "ssh", R.INVENTORY_WRONG_TYPE, "nodes[0].install"),
    ("nodes.0.devices", {}, R.INVENTORY_BAD_VALUE, "nodes[0].devices"),
    (
        "nodes.0.devices",
        {"sql": "mysql://u:hunter2@h/d"},
        R.INVENTORY_SECRET_IN_CLEAR,
        "nodes[0].devices.sql",
    ),
    (
        "nodes.0.devices",
        {"sql": "sqlite:///d", "series": -1},
        R.INVENTORY_BAD_VALUE,
        "nodes[0].devices.series",
    ),
    (
        "nodes.0.devices",
        {"sql": "sqlite:///d", "series": True},
        R.INVENTORY_BAD_VALUE,
        "nodes[0].devices.series",
    ),
    ("nodes.0.devices", {"folder": "/d", "series": 9}, R.INVENTORY_BAD_VALUE, "nodes[0].devices"),
    ("nodes.0.insecure_http", 1, R.INVENTORY_WRONG_TYPE, "nodes[0].insecure_http"),
    ("nodes.1.install", ..., R.INVENTORY_MISSING_KEY, "nodes[1].install"),
    ("nodes.1.install", "api", R.INVENTORY_MISSING_KEY, "nodes[1].install"),
    ("nodes.1.folder", "/etc/mdm/certificates", R.INVENTORY_BAD_VALUE, "nodes[1].folder"),
    ("nodes.0.folder", "/etc/mdm/certificates", R.INVENTORY_BAD_VALUE, "nodes[0].folder"),
    ("nodes.1.install.paths", ..., R.INVENTORY_MISSING_KEY, "nodes[1].install.paths"),
    ("nodes.1.install.paths.key", "relative", R.INVENTORY_BAD_VALUE, "nodes[1].install.paths.key"),
    ("nodes.1.install.paths.key", "/etc/../p.key", R.INVENTORY_BAD_VALUE, "nodes[1].install.paths.key"),
    ("nodes.1.install.paths.pem", "/etc/both.pem", R.INVENTORY_BAD_VALUE, "nodes[1].install.paths"),
    ("nodes.1.install.paths.password", "hunter2", R.INVENTORY_UNKNOWN_KEY, "nodes[1].install.paths.password"),
    (
        "nodes.1.install.paths.certificate",
        "/etc/mdm/push.key",
        R.INVENTORY_DUPLICATE,
        "nodes[1].install.paths",
    ),
    ("nodes.1.install.paths", "/etc/p.pem", R.INVENTORY_WRONG_TYPE, "nodes[1].install.paths"),
    ("nodes.1.install.paths", [], R.INVENTORY_BAD_VALUE, "nodes[1].install.paths"),
    ("nodes.1.install.paths", ["/etc/p.pem"], R.INVENTORY_WRONG_TYPE, "nodes[1].install.paths[0]"),
    ("nodes.1.install.paths", {}, R.INVENTORY_BAD_VALUE, "nodes[1].install.paths"),
    (
        "nodes.1.install.paths",
        [{"pem": "/a"}, {"pem": "b"}],
        R.INVENTORY_BAD_VALUE,
        "nodes[1].install.paths[1].pem",
    ),
    (
        "nodes.1.install.paths",
        [{"pem": "/a"}, {"pem": "/a"}],
        R.INVENTORY_DUPLICATE,
        "nodes[1].install.paths",
    ),
    (
        "nodes.1.install.paths",
        {"pkcs12": "/a.p12"},
        R.INVENTORY_MISSING_KEY,
        "nodes[1].install.paths.password",
    ),
    (
        "nodes.1.install.paths",
        {"pkcs12": "/a.p12", "password": "hunter2"},
        R.INVENTORY_SECRET_IN_CLEAR,
        "nodes[1].install.paths.password",
    ),
    (
        "nodes.1.install.variables",
        {"ansible_port": [1]},
        R.INVENTORY_WRONG_TYPE,
        "nodes[1].install.variables.ansible_port",
    ),
    ("nodes.1.install.paths.chmod", "600", R.INVENTORY_UNKNOWN_KEY, "nodes[1].install.paths.chmod"),
    ("nodes.1.name", "n1", R.INVENTORY_DUPLICATE, "nodes[1].name"),
]


@pytest.mark.parametrize(
    ("path", "value", "reason", "at"), SPOILT, ids=[f"{path}={value}"[:40] for path, value, _, _ in SPOILT]
)
def test_each_fault_names_its_field_and_line(
    tmp_path: Path, path: str, value: Any, reason: Reason, at: str
) -> None:
    """One thing wrong gives that reason at that path, with a line that exists, and never a secret."""
    file = write(tmp_path, spoilt(path, value))
    found = {(fault.reason, fault.values["path"]): fault for fault in faults(file)}
    assert (reason, at) in found
    fault = found[reason, at]
    line = fault.values["line"]
    assert line is None or 1 <= int(str(line)) <= len(file.read_text().splitlines())
    for each in found.values():
        for language in messages.LANGUAGES:
            told = "".join(messages.sentence(each.reason, language, each.values)) + str(each)
            assert "hunter2" not in told.lower()
            assert "12345678" not in told


def test_two_topics_of_one_uid(tmp_path: Path) -> None:
    """One push certificate is one topic; a second entry would send two people to the portal."""
    topics = [*right()["topics"], {"id": "b", "topic": TOPIC, "name": "B", "account": {"alias": "x"}}]
    (fault,) = faults(write(tmp_path, right(topics=topics)))
    assert (fault.reason, fault.values["path"]) == (Reason.INVENTORY_DUPLICATE, "topics[1].topic")


def test_a_topic_no_node_serves(tmp_path: Path) -> None:
    """A topic without nodes would look fine for ever."""
    topics = [
        *right()["topics"],
        {"id": "b", "topic": TOPIC + "2", "name": "B", "account": {"alias": "x"}},
    ]
    nodes = [{**NODE, "topics": ["tokyo"]}]
    (fault,) = faults(write(tmp_path, right(topics=topics, nodes=nodes)))
    assert (fault.reason, fault.values["topic"]) == (Reason.INVENTORY_TOPIC_WITHOUT_NODES, "b")


def test_all_faults_are_told_at_once_in_the_files_order(tmp_path: Path) -> None:
    """A person mends an inventory in one go, from top to bottom."""
    whole = spoilt("nodes.0.url", "ftp://x") | {"colour": "red"}
    whole["topics"][0]["zone"] = "Mars"
    found = faults(write(tmp_path, whole))
    assert {fault.reason for fault in found} == {Reason.INVENTORY_UNKNOWN_KEY, Reason.INVENTORY_BAD_VALUE}
    lines = [int(str(fault.values["line"])) for fault in found]
    assert len(lines) == 3
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("path", "key", "misspelt", "at"),
    [
        ("keys", "keys", "keyz", "keyz"),
        ("topics.0.account", "account", "acount", "topics[0].acount"),
        ("nodes.0.product", "product", "Product", "nodes[0].Product"),
    ],
)
def test_a_misspelt_key_is_one_fault(tmp_path: Path, path: str, key: str, misspelt: str, at: str) -> None:
    """Unknown, and nearly a key that is missing: that is what was meant; said once, in both languages."""
    whole = right()
    below: Any = whole
    for part in path.split(".")[:-1]:
        below = below[int(part) if part.isdecimal() else part]
    below[misspelt] = below.pop(key)
    (fault,) = faults(write(tmp_path, whole))
    assert (fault.reason, fault.values["path"]) == (Reason.INVENTORY_MISSPELT_KEY, at)
    for language, word in (("en", f"did you mean {key}?"), ("ja", f"{key} の間違いではありませんか")):
        assert word in messages.text(fault.reason.value, language, **fault.values)


def test_an_unknown_key_that_is_like_none_stands_beside_what_is_missing(tmp_path: Path) -> None:
    """Two faults are two."""
    whole = spoilt("keys", ...) | {"colour": "red"}
    found = {fault.reason for fault in faults(write(tmp_path, whole))}
    assert found == {Reason.INVENTORY_MISSING_KEY, Reason.INVENTORY_UNKNOWN_KEY}


def test_lines_are_those_of_the_fields(tmp_path: Path) -> None:
    """The line told is the line of the key, as an editor counts."""
    path = write(tmp_path, spoilt("topics.0.zone", "Mars"))
    (fault,) = faults(path)
    number = int(str(fault.values["line"]))
    assert "zone: Mars" in path.read_text().splitlines()[number - 1]
    assert fault.values["where"] == f"{path}:{number}"


def test_a_key_written_twice(tmp_path: Path) -> None:
    """YAML would silently take the last one."""
    path = tmp_path / "renewctl.yaml"
    path.write_text(write(tmp_path, right()).read_text() + "version: 1\n")
    (fault,) = faults(path)
    assert (fault.reason, fault.values["got"]) == (Reason.INVENTORY_DUPLICATE, "version")
    assert str(fault.values["expected"]).endswith(":1")


BYTES: list[tuple[str, bytes, Reason]] = [
    ("empty", b"", R.INVENTORY_EMPTY),
    ("blank", b" \n\n", R.INVENTORY_EMPTY),
    ("comments", b"# nothing\n", R.INVENTORY_WRONG_TYPE),
    ("list", b"- a\n", R.INVENTORY_WRONG_TYPE),
    ("latin1", b"version: 1\nname: caf\xe9\n", R.FILE_NOT_TEXT),
    ("binary", bytes(range(256)), R.FILE_NOT_TEXT),
    ("nul", b"version: 1\x00", R.FILE_NOT_TEXT),
    ("utf16", "version: 1\n".encode("utf-16"), R.FILE_NOT_TEXT),
    ("tab", b"version: 1\n\tstore: x\n", R.INVENTORY_SYNTAX),
    ("open-quote", b'version: "1\n', R.INVENTORY_SYNTAX),
    ("control", b"version: \x07\n", R.INVENTORY_SYNTAX),
    ("two-documents", b"version: 1\n---\nversion: 1\n", R.INVENTORY_SYNTAX),
    ("python", b"version: !!python/object/apply:os.system [id]\n", R.INVENTORY_TAG),
    ("vault", b"version: 1\nstore: !vault x\n", R.INVENTORY_TAG),
    ("bad-number", b"version: !!int x\n", R.INVENTORY_TAG),
    ("list-as-key", b"? [a, b]\n: 1\n", R.INVENTORY_SYNTAX),
    ("endless", b"a: &a [*a]\n", R.INVENTORY_TOO_MUCH),
    ("unknown-alias", b"a: *b\n", R.INVENTORY_SYNTAX),
    ("anchor-twice", b"a: &x 1\nb: &x 2\n", R.INVENTORY_SYNTAX),
    ("alias-as-key", b"a: &x k\n*x : 1\n", R.INVENTORY_SYNTAX),
    ("long-key", b"? " + b"k" * 201 + b"\n: 1\n", R.INVENTORY_TOO_MUCH),
    ("long-number", b"version: 0x" + b"f" * 200 + b"\n", R.INVENTORY_TAG),
    ("deeper-than-a-stack", b"[" * 100_000, R.INVENTORY_TOO_MUCH),
    ("deep", b"[" * 3000 + b"]" * 3000, R.INVENTORY_TOO_MUCH),
]


@pytest.mark.parametrize(("data", "reason"), [row[1:] for row in BYTES], ids=[row[0] for row in BYTES])
def test_bytes_that_are_no_inventory(tmp_path: Path, data: bytes, reason: Reason) -> None:
    """Whatever the bytes are, it is an explained error."""
    path = tmp_path / "renewctl.yaml"
    path.write_bytes(data)
    assert faults(path)[0].reason is reason


def test_a_bomb_of_aliases(tmp_path: Path) -> None:
    """Nine lines that would be a billion values are stopped."""
    names = "abcdefghi"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{n}: &{n} [{', '.join([f'*{b}'] * 10)}]" for b, n in itertools.pairwise(names)]
    path = tmp_path / "renewctl.yaml"
    path.write_text("\n".join(lines))
    (fault,) = faults(path)
    assert (fault.reason, fault.values["got"]) == (Reason.INVENTORY_TOO_MUCH, "> 250000")


@pytest.mark.parametrize(
    ("data", "got"),
    [("version: !vault x\n", "!vault"), ("version: !!int x\n", "!!int"), ("a: !!set {b}\n", "!!set")],
)
def test_a_tag_is_named_as_it_is_written(tmp_path: Path, data: str, got: str) -> None:
    """And the hint speaks of values, not of tabs."""
    path = tmp_path / "renewctl.yaml"
    path.write_text(data)
    fault = faults(path)[0]
    assert (fault.reason, fault.values["got"]) == (Reason.INVENTORY_TAG, got)


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_a_zone_is_asked_for_by_an_example(tmp_path: Path, language: str) -> None:
    """One example, named as such: a list of three would read as all there are."""
    (fault,) = faults(write(tmp_path, spoilt("topics.0.zone", "Mars")))
    told, _ = messages.sentence(fault.reason, language, fault.values)
    assert "Asia/Tokyo" in told
    assert "IANA" in told
    assert "UTC" not in told


def test_files_that_are_none(tmp_path: Path) -> None:
    """Missing, a device, too large, a folder without inventories."""
    assert faults(tmp_path / "no.yaml")[0].reason is Reason.INVENTORY_NOT_FOUND
    assert faults(Path("/dev/null"))[0].reason is Reason.FILE_NOT_REGULAR
    assert faults(tmp_path)[0].reason is Reason.INVENTORY_NOT_FOUND
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    assert faults(large)[0].reason is Reason.FILE_TOO_LARGE


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says is passed on (root may read everything, hence the stand-in)."""
    path = write(tmp_path, right())

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    (fault,) = faults(path)
    assert (fault.reason, fault.values["got"]) == (Reason.FILE_UNREADABLE, "Permission denied")


def test_one_broken_file_of_a_folder_does_not_hide_the_others(tmp_path: Path) -> None:
    """Faults of all files are told together."""
    (tmp_path / "a.yaml").write_text("x: [")
    write(tmp_path, spoilt("topics.0.zone", "Mars"), "b.yaml")
    assert [fault.reason for fault in faults(tmp_path)] == [
        Reason.INVENTORY_SYNTAX,
        Reason.INVENTORY_BAD_VALUE,
    ]


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_explained(data: bytes) -> None:
    """No bytes at all bring anything but an inventory or an explained error."""
    with pytest.raises(Unusable):
        inventory.from_bytes(b"version: 1\n" + data, Path("x.yaml"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=6,
    )
)
def test_any_value_as_a_node_is_explained(value: Any) -> None:
    """Host variables come from Ansible: whatever they are, it is an explained error."""
    with pytest.raises(Unusable) as caught:
        inventory.node_from_mapping({"name": "n", "product": value, "install": value}, Path())
    assert not re.search(r"Traceback|object at", str(caught.value))


def test_types_are_named_in_the_readers_language(tmp_path: Path) -> None:
    """A list where a text belongs."""
    found = faults(write(tmp_path, spoilt("topics", {})))
    told = [messages.sentence(one.reason, "ja", one.values)[0] for one in found]
    assert any("マッピング（期待する型: リスト）" in sentence for sentence in told)
