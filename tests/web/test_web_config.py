"""The web config file as values: what each key becomes, and that no file whatever does anything but be refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from renewctl.errors import Unusable
from renewctl.reasons import Reason
from renewctl.web.config import MAX_BYTES, ClientAuth, Rate, TlsVersion, WebConfig, load, read_file
from tests.web.corpus import CASES, HASH, furnish

TLS = "tls_server_config: {cert_file: server.pem, key_file: /etc/server.key"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "web.yml"


def test_paths_are_meant_from_the_files_folder(path: Path) -> None:
    """An absolute one stays."""
    path.write_text(f"{TLS}}}")
    tls = load(path).tls
    assert tls is not None
    assert tls.files == (path.parent / "server.pem", Path("/etc/server.key"))
    assert (tls.minimum, tls.maximum, tls.client_auth) == (
        TlsVersion.TLS12,
        TlsVersion.TLS13,
        ClientAuth.NONE,
    )
    assert (tls.ciphers, tls.server_prefers) == (None, True)


@pytest.mark.parametrize(
    ("interval", "seconds"), [("1s", 1.0), ("1m30s", 90.0), (".5s", 0.5), ("250ms", 0.25), ("2h", 7200.0), ("5us", 5e-6)]
)  # fmt: skip
def test_durations_are_gos(interval: str, seconds: float, path: Path) -> None:
    """Several units in a row, fractions."""
    path.write_text(f"rate_limit: {{interval: {interval}, burst: 3}}")
    rate = load(path).rate
    assert rate is not None
    assert (rate.interval, rate.burst) == (pytest.approx(seconds), 3)


def test_a_file_for_promises_nothing_it_does_not_say(path: Path) -> None:
    """An empty one asks for nothing; HTTP/2 has no effect."""
    path.write_text("http_server_config: {http2: true}")
    assert load(path) == WebConfig()
    path.write_text(f"basic_auth_users: {{a: {HASH}}}\nrate_limit: {{interval: 1s, burst: 2}}")
    assert load(path) == WebConfig(users={"a": HASH}, rate=Rate(1.0, 2))


def test_secrets_are_not_in_what_is_shown_of_it(path: Path) -> None:
    """A hash or an inline key in a log line would be a leak."""
    path.write_text(f"basic_auth_users: {{a: {HASH}}}\ntls_server_config: {{cert: C0ntent, key: C0ntent}}")
    shown = repr(load(path))
    assert HASH not in shown
    assert "C0ntent" not in shown


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, a folder, too large: each said as it is."""
    (tmp_path / "large").write_bytes(b"#" * (MAX_BYTES + 1))
    for name, reason in [
        ("none", Reason.FILE_NOT_FOUND),
        ("", Reason.FILE_NOT_REGULAR),
        ("large", Reason.FILE_TOO_LARGE),
        ("large/below", Reason.FILE_UNREADABLE),
    ]:
        with pytest.raises(Unusable) as unusable:
            read_file(tmp_path / name)
        assert unusable.value.reason is reason


def test_every_fault_is_named_with_its_line(path: Path) -> None:
    """All in one go."""
    path.write_text("tls_server_config:\n  min_version: SSL3\nrate_limit:\n  interval: often\nmore: 1\n")
    with pytest.raises(Unusable) as unusable:
        load(path)
    places = [fault.values["where"] for fault in (unusable.value, *unusable.value.others)]
    assert {str(place).rpartition(":")[2] for place in places} == {"1", "2", "4", "5"}


_KEYS = st.sampled_from(
    ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit", "cert_file", "key", "headers",
     "interval", "burst", "client_auth_type", "cipher_suites", "X-Frame-Options", "http2", "a"]
)  # fmt: skip
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["1s", HASH, "deny"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_KEYS | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(value=_VALUES)
def test_any_yaml_is_taken_or_refused(value: object, path: Path) -> None:
    """Whatever stands where: never another error than the one told to people."""
    path.write_text(yaml.safe_dump(value, allow_unicode=True), encoding="utf-8")
    try:
        assert isinstance(load(path), WebConfig)
    except Unusable as error:
        assert error.values  # noqa: PT017 - taken is well, too


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(data: bytes, path: Path) -> None:
    """A file that is no text, no YAML, or nearly."""
    path.write_bytes(data)
    try:
        assert isinstance(load(path), WebConfig)
    except Unusable as error:
        assert error.values  # noqa: PT017 - taken is well, too


def test_the_corpus_is_furnished(tmp_path: Path) -> None:
    """Every name a case uses for a file that should be there is there; else a bad case would be bad for nothing."""
    furnish(tmp_path)
    assert {"server.pem", "server.key", "ca.pem", "other.key", "locked.key", "junk.pem"} <= {
        file.name for file in tmp_path.iterdir()
    }
    assert len({case.name for case in CASES}) == len(CASES) == 97
