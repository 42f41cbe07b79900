"""What an age file tells of its recipients, compared with what `age` itself writes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from renewctl.keys import agefile
from tests.support.identities import Identity


def _sealed(tmp_path: Path, recipients: list[str], *options: str) -> bytes:
    (tmp_path / "recipients").write_text("\n".join(recipients))
    command = ["age", "-R", str(tmp_path / "recipients"), *options]
    return subprocess.run(command, input=b"a key", capture_output=True, check=True).stdout


@pytest.mark.parametrize("options", [(), ("-a",)], ids=["binary", "armored"])
def test_recipients_are_counted_and_ssh_keys_told_apart(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Two age recipients are a number; SSH recipients are recognised, whatever their comment."""
    age, ed25519, rsa = (Identity(tmp_path, kind).recipient for kind in ("age", "ed25519", "rsa"))
    (tmp_path / "other").mkdir()
    other = Identity(tmp_path / "other", "age").recipient
    everybody = [age, other, ed25519.strip(), rsa.strip()]
    found = agefile.header(_sealed(tmp_path, everybody, *options))
    assert found == agefile.expected([agefile.plain(one) for one in everybody])
    assert (found.x25519, len(set(found.ssh))) == (2, 2)
    assert found != agefile.expected(everybody[:3])
    assert agefile.header(_sealed(tmp_path, [age], *options)) == agefile.header(
        _sealed(tmp_path, [other], *options)
    )


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"junk",
        b"age-encryption.org/v1\n-> X25519 abc\n",
        b"-----BEGIN AGE ENCRYPTED FILE-----\n%%%%\n-----END AGE ENCRYPTED FILE-----\n",
        b"age-encryption.org/v1\xff\n--- x",
    ],
)
def test_what_is_no_age_file_is_a_value_error(damaged: bytes) -> None:
    """Empty, something else, cut in its header, not base64."""
    with pytest.raises(ValueError, match=r"."):
        agefile.header(damaged)


def test_stanzas_without_words_are_nobody(tmp_path: Path) -> None:
    """An odd header is counted as far as it says something."""
    assert agefile.header(
        b"age-encryption.org/v1\n-> \n-> ssh-rsa\n-> grease x\n--- mac\n"
    ) == agefile.Header(0, ())
